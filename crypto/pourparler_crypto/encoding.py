"""Unambiguous concatenation: two different lists of parts never encode to the same bytes."""

from pourparler_crypto.errors import Malformed, UsageError


def lp(*parts: bytes | str) -> bytes:
    """Length-prefixed concatenation: each part as 4 bytes of length (big endian) and its bytes; str is UTF-8."""
    out = []
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        out.append(len(data).to_bytes(4, "big"))
        out.append(data)
    return b"".join(out)


def unlp(data: bytes, count: int) -> list[bytes]:
    """The `count` parts that `lp` joined. Raises Malformed on a wrong number of parts or trailing bytes."""
    parts = []
    offset = 0
    for _ in range(count):
        length = int.from_bytes(data[offset : offset + 4], "big")
        offset += 4
        if offset + length > len(data):
            raise Malformed("a length-prefixed part is cut short")
        parts.append(data[offset : offset + length])
        offset += length
    if offset != len(data):
        raise Malformed("bytes follow the last part")
    return parts


def pad(data: bytes, size: int) -> bytes:
    """`data` with its length in front and zeros behind, `size` bytes in all."""
    if len(data) + 4 > size:
        raise UsageError(f"{len(data)} bytes do not fit {size} with their length")
    return len(data).to_bytes(4, "big") + data + bytes(size - 4 - len(data))


def unpad(padded: bytes) -> bytes:
    """What `pad` took. Raises Malformed when the length is wrong or the padding is not zero."""
    length = int.from_bytes(padded[:4], "big")
    if len(padded) < 4 or length > len(padded) - 4:
        raise Malformed("a padded text is shorter than it says")
    if any(padded[4 + length :]):
        raise Malformed("the padding is not zero")
    return padded[4 : 4 + length]
