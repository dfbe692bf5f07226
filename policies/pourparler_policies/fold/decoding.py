"""From canonical bytes back to plain data: how events, commits and the folded state travel between devices.

What is read is what `encoding.encode` writes, and nothing else reads alike: the value found must encode to the very
bytes. The type decides what may stand where, so nesting is as deep as the types are, and no deeper.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from pourparler_policies.charter.rules import MAX_CHARTER
from pourparler_policies.errors import Unknown, Void

from .encoding import encode
from .events import Commit, Event
from .facts import State

MAX_EVENT: Final = MAX_CHARTER + 1024  # bytes: an amendment is the largest event
MAX_COMMIT: Final = 16 * 1024  # bytes: the leaves of a whole channel, renewed at once
# bytes: 128 devices that have all attested each other take 630 KB, sixteen parties' tables 68 KiB each (facts.py). A
# state that is valid must never be larger: no vault could read it again.
MAX_STATE: Final = 2 * 1024 * 1024

# What a name means has one size (bytes) wherever it stands; a device outside the group has no credential, and some
# grounds of an Add need no approval.
_SIZES: Final[Mapping[str, frozenset[int]]] = {
    "digest": frozenset({0, 32}),
    "card": frozenset({32}),
    "old": frozenset({32}),
    "new": frozenset({32}),
    "seat": frozenset({32}),
    "id": frozenset({16, 32}),
    "credential": frozenset({0, 16}),
}
_NUMBER: Final = re.compile(rb"-?[0-9]{1,16}")
_CLASS: Final = re.compile(r"[A-Z][A-Za-z]{0,31}")


def decode_event(data: bytes) -> Event:
    """A procedure event, at most MAX_EVENT bytes. Raises Unknown for a class of another version, Void else."""
    event: Event = decode(Event, data, MAX_EVENT)
    return event


def decode_commit(data: bytes) -> Commit:
    """What an MLS commit does, at most MAX_COMMIT bytes. Raises Void or Unknown."""
    commit: Commit = decode(Commit, data, MAX_COMMIT)
    return commit


def decode_state(data: bytes, limit: int = MAX_STATE) -> State:
    """A folded state, at most `limit` bytes. That it is *the* state, its digest must show. Raises Void, Unknown."""
    state: State = decode(State, data, limit)
    return state


def decode(kind: Any, data: bytes, limit: int) -> Any:
    """A value of a type, from at most `limit` bytes of its canonical form. Raises Void, or Unknown for a class of
    another version where several could stand.
    """
    if len(data) > limit:
        raise Void("this is larger than anything of its kind")
    tag, body, rest = _item(data)
    value = _read(kind, tag, body)
    if rest or encode(value) != data:
        raise Void("this is not in its canonical form")
    return value


def _item(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Tag, body, and what follows."""
    length = int.from_bytes(data[1:5], "big")
    if len(data) < 5 + length:
        raise Void("this is cut short")
    return data[:1], data[5 : 5 + length], data[5 + length :]


def _items(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    while body:
        tag, inner, body = _item(body)
        yield tag, inner


def _read(kind: Any, tag: bytes, body: bytes) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(arguments, tag, body)
    if is_dataclass(kind):
        return _read_dataclass(kind, tag, body)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        try:
            return kind(_read_str(tag, body))
        except ValueError:
            raise Void("this is none of the words that may stand here") from None
    if origin is tuple:
        return tuple(_read(arguments[0], *item) for item in _all(b"t", tag, body))
    if origin is frozenset:
        return frozenset(_read(arguments[0], *item) for item in _all(b"f", tag, body))
    if origin is Mapping:
        pairs = list(_all(b"m", tag, body))
        if len(pairs) % 2:
            raise Void("a key has no value")
        return {
            _read(arguments[0], *key): _read(arguments[1], *value)
            for key, value in zip(pairs[::2], pairs[1::2], strict=True)
        }
    return _PLAIN[kind](tag, body)


def _all(wanted: bytes, tag: bytes, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    if tag != wanted:
        raise Void("this is of another kind than what may stand here")
    return _items(body)


def _read_union(kinds: tuple[Any, ...], tag: bytes, body: bytes) -> Any:
    if tag == b"d":
        head, name, _ = _item(body)
        word = _read_str(head, name)
        for kind in kinds:
            if is_dataclass(kind) and getattr(kind, "__name__", "") == word:
                return _read(kind, tag, body)
        if _CLASS.fullmatch(word):
            raise Unknown("an event of a kind that this version of Pourparler does not know")
    elif tag == b"n" and NoneType in kinds:
        return None
    else:
        (plain,) = [kind for kind in kinds if kind is not NoneType and not is_dataclass(kind)] or [None]
        if plain is not None:
            return _read(plain, tag, body)
    raise Void("this is of another kind than what may stand here")


def _read_dataclass(kind: Any, tag: bytes, body: bytes) -> Any:
    items = list(_all(b"d", tag, body))
    hints = _hints(kind)
    if not items or _read_str(*items[0]) != kind.__name__ or len(items) != len(hints) + 1:
        raise Void("this has other parts than its kind")
    values = {}
    for (name, hint), item in zip(hints.items(), items[1:], strict=True):
        value = _read(hint, *item)
        if hint is bytes and len(value) not in _SIZES.get(name, (len(value),)):
            raise Void(f"a {name} has another size")
        values[name] = value
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _read_str(tag: bytes, body: bytes) -> str:
    try:
        return body.decode() if tag == b"s" else _other()
    except UnicodeDecodeError:
        raise Void("this is not text") from None


def _read_int(tag: bytes, body: bytes) -> int:
    return int(body) if tag == b"i" and _NUMBER.fullmatch(body) else _other()


def _read_bool(tag: bytes, body: bytes) -> bool:
    return body == b"\x01" if tag == b"b" and body in (b"\x00", b"\x01") else _other()


def _read_bytes(tag: bytes, body: bytes) -> bytes:
    return body if tag == b"y" else _other()


def _other() -> Any:
    raise Void("this is of another kind than what may stand here")


_PLAIN: Final[Mapping[Any, Callable[[bytes, bytes], Any]]] = {
    str: _read_str,
    int: _read_int,
    bool: _read_bool,
    bytes: _read_bytes,
}
