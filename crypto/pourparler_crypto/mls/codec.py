"""The TLS presentation language as RFC 9420 uses it (section 2.1): one codec object for each type.

A length has exactly one encoding, a vector ends where its last element ends, and nothing may follow a message:
whatever decodes encodes to the same bytes. Structs that are hashed or signed keep the bytes they were read from.
"""

import struct as _struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.mls.limits import MAX_MESSAGE

T = TypeVar("T")

Read = Callable[[bytes, int], tuple[T, int]]  # (data, where to begin) -> (value, where it ended)
Write = Callable[[T], bytes]


@dataclass(slots=True)
class Codec(Generic[T]):
    """How one type is read and written."""

    read: Read[T]
    write: Write[T]

    def decode(self, data: bytes, what: str) -> T:
        """Read the whole of ``data``. Raises Malformed, naming ``what``, when it is anything else."""
        if len(data) > MAX_MESSAGE:
            raise Malformed(f"{what} is longer than {MAX_MESSAGE} bytes")
        value, end = self.read(data, 0)
        if end != len(data):
            raise Malformed(f"bytes follow the {what}")
        return value


def _cut() -> Malformed:
    return Malformed("cut short")


def _uint(size: int) -> Codec[int]:
    def read(data: bytes, at: int) -> tuple[int, int]:
        end = at + size
        if end > len(data):
            raise _cut()
        return int.from_bytes(data[at:end]), end

    def write(value: int) -> bytes:
        try:
            return value.to_bytes(size)
        except OverflowError:
            raise UsageError(f"{value} does not fit in {size} bytes") from None

    return Codec(read, write)


UINT8 = _uint(1)
UINT16 = _uint(2)
UINT32 = _uint(4)
UINT64 = _uint(8)


def write_length(length: int) -> bytes:
    """The shortest variable-size length header (RFC 9420, 2.1.2): 1, 2 or 4 bytes."""
    if length < 0x40:
        return length.to_bytes(1)
    if length < 0x4000:
        return (length | 0x4000).to_bytes(2)
    if length < 0x40000000:
        return (length | 0x80000000).to_bytes(4)
    raise UsageError("a vector has at most 2**30 - 1 bytes")


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """Read a length header; refuses one that is not minimal, and the prefix 11."""
    if at >= len(data):
        raise _cut()
    first = data[at]
    if first < 0x40:
        return first, at + 1
    if first < 0x80 and at + 1 < len(data):  # most of the others, in fewer steps
        length = (first & 0x3F) << 8 | data[at + 1]
        if length >= 0x40:
            return length, at + 2
    if first >= 0xC0:
        raise Malformed("a length header with the prefix 11")
    size = 2 if first < 0x80 else 4
    end = at + size
    if end > len(data):
        raise _cut()
    length = int.from_bytes(data[at:end]) & ((1 << (8 * size - 2)) - 1)
    if length < (0x40 if size == 2 else 0x4000):
        raise Malformed("a length header that is not minimal")
    return length, end


_SHORT = tuple(bytes((length,)) for length in range(0x40))


def vl(data: bytes) -> bytes:
    """``opaque data<V>``: the length header, then the bytes."""
    length = len(data)
    if length < 0x40:
        return _SHORT[length] + data
    if length < 0x4000:
        return (length | 0x4000).to_bytes(2) + data
    return write_length(length) + data


def read_opaque(data: bytes, at: int) -> tuple[bytes, int]:
    """Read ``opaque data<V>``."""
    size = len(data)
    if at < size and (length := data[at]) < 0x40:  # most are short
        start = at + 1
    else:
        length, start = read_length(data, at)
    end = start + length
    if end > size:
        raise _cut()
    return data[start:end], end


OPAQUE: Codec[bytes] = Codec(read_opaque, vl)
NOTHING: Codec[None] = Codec(lambda data, at: (None, at), lambda value: b"")


def vector(element: Codec[T], at_most: int = MAX_MESSAGE) -> Codec[tuple[T, ...]]:
    """``element items<V>``. The header counts bytes; the last element must end exactly there.

    ``at_most`` elements are read, for those that cost far more in memory than on the wire.
    """
    read_element, write_element = element.read, element.write

    def read(data: bytes, at: int) -> tuple[tuple[T, ...], int]:
        length, at = read_length(data, at)
        end = at + length
        if end > len(data):
            raise _cut()
        items = []
        while at < end:
            item, at = read_element(data, at)
            items.append(item)
            if len(items) > at_most:
                raise Malformed(f"a vector with more than {at_most} elements")
        if at != end:
            raise Malformed("a vector ends inside an element")
        return tuple(items), end

    def write(items: tuple[T, ...]) -> bytes:
        return vl(b"".join(map(write_element, items)))

    return Codec(read, write)


def _integers(size: int, letter: str) -> Codec[tuple[int, ...]]:
    """A vector of integers, read in one step: capabilities and unmerged leaves are many."""

    def read(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
        body, at = read_opaque(data, at)
        if len(body) % size:
            raise Malformed("a vector ends inside an integer")
        return _struct.unpack(f">{len(body) // size}{letter}", body), at

    def write(items: Sequence[int]) -> bytes:
        return vl(_struct.pack(f">{len(items)}{letter}", *items))

    return Codec(read, write)


UINT16S = _integers(2, "H")
UINT32S = _integers(4, "I")


def optional(codec: Codec[T]) -> Codec[T | None]:
    """``optional<T>``: the octet 0, or the octet 1 and the value; no other octet."""
    read_value, write_value = codec.read, codec.write

    def read(data: bytes, at: int) -> tuple[T | None, int]:
        if at >= len(data):
            raise _cut()
        present = data[at]
        if present == 0:
            return None, at + 1
        if present != 1:
            raise Malformed("an optional that is neither absent nor present")
        return read_value(data, at + 1)

    def write(value: T | None) -> bytes:
        return b"\x00" if value is None else b"\x01" + write_value(value)

    return Codec(read, write)


def struct(build: Callable[..., T], **fields: Codec[Any]) -> Codec[T]:
    """A struct: ``build`` is called with the fields' values in the order given here."""
    if len(fields) == 2:
        return _pair(build, attrgetter(*fields), *fields.values())
    reads = tuple(field.read for field in fields.values())
    writes = tuple(field.write for field in fields.values())
    values_of: Callable[[T], Any] = attrgetter(*fields)
    if len(fields) == 1:
        (name,) = fields

        def values_of(value: T) -> tuple[Any, ...]:
            return (getattr(value, name),)

    def read(data: bytes, at: int) -> tuple[T, int]:
        values = []
        for read_field in reads:
            value, at = read_field(data, at)
            values.append(value)
        return build(*values), at

    def write(value: T) -> bytes:
        return b"".join([write_field(part) for write_field, part in zip(writes, values_of(value), strict=True)])

    return Codec(read, write)


def _pair(
    build: Callable[..., T], values_of: Callable[[T], Any], first: Codec[Any], second: Codec[Any]
) -> Codec[T]:
    """A struct of two fields, without a loop: a path is made of dozens."""
    read_first, read_second = first.read, second.read
    write_first, write_second = first.write, second.write

    def read(data: bytes, at: int) -> tuple[T, int]:
        one, at = read_first(data, at)
        two, at = read_second(data, at)
        return build(one, two), at

    def write(value: T) -> bytes:
        one, two = values_of(value)
        return write_first(one) + write_second(two)

    return Codec(read, write)


def keeping_raw(codec: Codec[T]) -> Codec[T]:
    """The same struct; its attribute ``raw`` becomes the bytes it was read from or is written as."""
    read_value, write_value = codec.read, codec.write

    def read(data: bytes, at: int) -> tuple[T, int]:
        value, end = read_value(data, at)
        value.raw = data[at:end]  # type: ignore[attr-defined]  # every struct given here has the slot
        return value, end

    def write(value: T) -> bytes:
        raw: bytes = value.raw  # type: ignore[attr-defined]
        if not raw:
            raw = value.raw = write_value(value)  # type: ignore[attr-defined]
        return raw

    return Codec(read, write)


def tagged(tag: Codec[int], cases: Mapping[int, Codec[Any]], what: str) -> Codec[tuple[int, Any]]:
    """``select (tag)``: the pair (tag, value). An unknown tag cannot be skipped, so it is Malformed."""

    def read(data: bytes, at: int) -> tuple[tuple[int, Any], int]:
        kind, at = tag.read(data, at)
        case = cases.get(kind)
        if case is None:
            raise Malformed(f"an unknown {what}: {kind}")
        value, at = case.read(data, at)
        return (kind, value), at

    def write(pair: tuple[int, Any]) -> bytes:
        kind, value = pair
        return tag.write(kind) + cases[kind].write(value)

    return Codec(read, write)


def interned(codec: Codec[T], keep: int = 8) -> Codec[T]:
    """The same type, where values repeat: an encoding just seen gives the same object, without parsing.

    An encoding that is complete in one place is complete in every place, so comparing bytes is enough. Only for
    values that are public and never changed; the last ``keep`` different ones are remembered.
    """
    seen: list[tuple[bytes, T]] = []
    read_value = codec.read

    def read(data: bytes, at: int) -> tuple[T, int]:
        for raw, value in seen:
            if data.startswith(raw, at):
                return value, at + len(raw)
        value, end = read_value(data, at)
        if len(seen) >= keep:
            del seen[0]
        seen.append((data[at:end], value))
        return value, end

    return Codec(read, codec.write)
