"""A plugin of pytest that keeps what parsers are given in real runs: the corpus' seeds (`make fuzz-corpus`)."""

import hashlib
import sys
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pydantic import BaseModel

from pourparler_crypto.mls.codec import Codec

from .beside import codecs
from .parsers import modules, parsers

CORPUS = Path(__file__).parent / "corpus"
KEPT = 4  # samples of a parser, of different lengths
LARGEST = 8 * 1024  # bytes: larger ones are kept only where there is no other

_found: dict[str, dict[int, bytes]] = defaultdict(dict)
_by_code = {one.code: one for one in parsers() if one.code is not None}
_codecs = {id(codec): name for name, codec in codecs(modules())}
_by_kind = {one.name: one for one in parsers() if one.code is None}


def _keep(name: str, value: Any) -> None:
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    _found[name].setdefault(len(data), data)


def _profile(frame: FrameType, event: str, _argument: object) -> None:
    if event == "call" and frame.f_code in _by_code:
        parser = _by_code[frame.f_code]
        _keep(parser.name, frame.f_locals[parser.argument])
    elif event == "call" and frame.f_code is Codec.decode.__code__ and id(frame.f_locals["self"]) in _codecs:
        _keep(_codecs[id(frame.f_locals["self"])], frame.f_locals["data"])


_validate = BaseModel.model_validate_json.__func__  # type: ignore[attr-defined]


def _recorded(cls: type[BaseModel], json_data: Any, **options: Any) -> Any:
    name = f"{cls.__module__}.{cls.__name__}"
    if name in _by_kind:
        _keep(name, json_data)
    return _validate(cls, json_data, **options)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Watch one test."""
    BaseModel.model_validate_json = classmethod(_recorded)  # type: ignore[method-assign,assignment]
    sys.setprofile(_profile)
    try:
        return (yield)
    finally:
        sys.setprofile(None)


def pytest_sessionfinish() -> None:
    """Write the corpus anew, as far as something was found."""
    for name, samples in sorted(_found.items()):
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        small = [samples[size] for size in sorted(samples) if size <= LARGEST]
        step = max(1, len(small) // KEPT)
        for data in small[::step][:KEPT] or [samples[min(samples)]]:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
