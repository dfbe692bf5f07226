"""Every parser of the product, found by its form: what takes one argument of bytes or text and makes something of it.

A new parser is found by itself, as long as its name begins as theirs do. What takes more than bytes is in `beside`.
"""

import contextlib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

from pydantic import ValidationError

import pourparler_crypto
import pourparler_policies
from pourparler_clients.errors import PourparlerError
from pourparler_crypto.errors import CryptoError
from pourparler_policies import wire
from pourparler_policies.errors import PolicyError

from .beside import beside

_NAME = re.compile(r"(decode|parse|load|from_bytes|read)(_\w+)?")
_NOT_OURS = re.compile(r"\.(testing|forging|exploring|vectors)\b")
LARGEST = 1 << 16  # bytes of one try

# What a parser may raise: never anything else, whatever the bytes.
REFUSALS = (CryptoError, PolicyError, ValidationError, PourparlerError)


@dataclass(frozen=True)
class Parser:
    """`function` takes bytes or text; `code` is what it runs, by which a real run's arguments are recognised."""

    name: str
    function: Callable[[Any], object]
    text: bool
    argument: str = ""
    code: CodeType | None = None

    def __call__(self, data: bytes) -> None:
        """Parse. Anything but a refusal is a defect."""
        with contextlib.suppress(REFUSALS):
            self.function(data.decode("utf-8", "surrogateescape") if self.text else data)


def modules() -> Iterator[ModuleType]:
    """Every module of the two layers that parse."""
    for package in (pourparler_crypto, pourparler_policies):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not _NOT_OURS.search(found.name):
                yield importlib.import_module(found.name)


def _candidates(module: ModuleType) -> Iterator[tuple[str, Callable[..., object]]]:
    for name, one in vars(module).items():
        if inspect.isfunction(one) and one.__module__ == module.__name__:
            yield name, one
        elif inspect.isclass(one) and one.__module__ == module.__name__:
            for inner, method in vars(one).items():
                if isinstance(method, (classmethod, staticmethod)):
                    yield f"{name}.{inner}", getattr(one, inner)


def parsers() -> list[Parser]:
    """All of them, in a fixed order."""
    found = []
    for module in modules():
        for name, function in _candidates(module):
            if not _NAME.fullmatch(name.rpartition(".")[2]):
                continue
            required = [
                one
                for one in inspect.signature(function).parameters.values()
                if one.default is one.empty and one.kind is not one.VAR_KEYWORD
            ]
            if len(required) == 1 and required[0].annotation in (bytes, str, "bytes", "str"):
                text = required[0].annotation in (str, "str")
                code = getattr(function, "__func__", function).__code__
                found.append(Parser(f"{module.__name__}.{name}", function, text, required[0].name, code))
    found += [Parser(name, function, text=False) for name, function in beside(modules())]
    for kind in vars(wire).values():
        if inspect.isclass(kind) and issubclass(kind, (wire.Request, wire.Reply)):
            found.append(Parser(f"{kind.__module__}.{kind.__name__}", kind.model_validate_json, text=False))
    return sorted(found, key=lambda one: one.name)
