"""An attachment opens whole or not at all, in constant memory, and shows nothing but its size class."""

import io
import secrets
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pourparler_crypto.attachment import (
    HEAD_LENGTH,
    HEADER_LENGTH,
    KEPT_LENGTH,
    KEY_LENGTH,
    MAX_NAME,
    TAG_LENGTH,
    FileHead,
    Keeper,
    Opener,
    Sealer,
    capacity,
)
from pourparler_crypto.encoding import lp, pad
from pourparler_crypto.errors import Malformed, NotAuthentic, ProtocolError, UsageError
from pourparler_policies.limits import ATTACHMENT_CHUNK, ATTACHMENT_SIZES, chunk_of

CHUNK = 1024  # bytes: the format is the same, and tests are quick
ID = bytes(range(16))


def sealed_file(key: bytes, data: bytes, size: int = 4 * CHUNK, name: str = "map.png") -> list[bytes]:
    sealer, file = Sealer(key, ID, FileHead(name, "image/png", len(data)), size, CHUNK), io.BytesIO(data)
    chunks = []
    while not sealer.done:
        chunks.append(sealer.seal(file.read(sealer.wants)))
    return chunks


def opened(key: bytes, chunks: list[bytes], size: int = 4 * CHUNK, attachment: bytes = ID) -> bytes:
    opener = Opener(key, attachment, size, CHUNK)
    data = b"".join(opener.open(chunk) for chunk in chunks)
    opener.finish()
    return data


ROOM = capacity(4 * CHUNK, CHUNK)


@given(length=st.integers(0, ROOM))
@example(0)
@example(1)
@example(CHUNK - HEADER_LENGTH - TAG_LENGTH - HEAD_LENGTH)
@example(CHUNK - HEADER_LENGTH - TAG_LENGTH - HEAD_LENGTH + 1)
@example(ROOM)
def test_a_file_of_any_length_comes_back_and_looks_like_any_other_of_its_class(length: int) -> None:
    key, data = secrets.token_bytes(32), secrets.token_bytes(length)
    chunks = sealed_file(key, data)
    assert [len(chunk) for chunk in chunks] == [CHUNK] * 4
    assert opened(key, chunks) == data


def test_name_type_and_length_are_sealed_inside() -> None:
    key = secrets.token_bytes(32)
    chunks = sealed_file(key, b"x" * 700, name="Entwurf 3 – vertraulich.pdf")
    assert b"Entwurf" not in b"".join(chunks)
    assert b"image" not in b"".join(chunks)
    opener = Opener(key, ID, 4 * CHUNK, CHUNK)
    assert opener.head is None
    opener.open(chunks[0])
    assert opener.head == FileHead("Entwurf 3 – vertraulich.pdf", "image/png", 700)


def naive(chunks: list[bytes]) -> list[bytes]:
    """Each chunk sealed by itself under one key, as one would without a stream: the attacks below work on it."""
    from nacl.secret import SecretBox

    box = SecretBox(bytes(32))
    return [box.encrypt(chunk) for chunk in chunks]


ATTACKS = {
    "cut short": lambda c: c[:-1],
    "only the first": lambda c: c[:1],
    "swapped": lambda c: [c[0], c[2], c[1], c[3]],
    "one left out": lambda c: [c[0], c[2], c[3]],
    "one repeated": lambda c: [c[0], c[1], c[1], c[3]],
    "one more": lambda c: [*c, c[3]],
    "the end moved": lambda c: [c[0], c[3], c[1], c[2]],
}


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_cut_moved_repeated_and_added_chunks_are_noticed(attack: str) -> None:
    from nacl.secret import SecretBox

    spoiled = ATTACKS[attack](naive([b"1", b"2", b"3", b"4"]))
    assert [SecretBox(bytes(32)).decrypt(one) for one in spoiled] != [b"1", b"2", b"3", b"4"]  # it opens, and lies

    key = secrets.token_bytes(32)
    with pytest.raises(ProtocolError):
        opened(key, ATTACKS[attack](sealed_file(key, secrets.token_bytes(ROOM))))


def test_any_altered_byte_is_noticed() -> None:
    key = secrets.token_bytes(32)
    chunks = sealed_file(key, b"short")
    for place in [*range(0, 4 * CHUNK, 97), 0, HEADER_LENGTH - 1, HEADER_LENGTH, 4 * CHUNK - 1]:
        spoiled = [bytearray(chunk) for chunk in chunks]
        spoiled[place // CHUNK][place % CHUNK] ^= 1
        with pytest.raises(NotAuthentic):
            opened(key, [bytes(chunk) for chunk in spoiled])


def test_chunks_of_another_attachment_size_or_key_do_not_open() -> None:
    key = secrets.token_bytes(32)
    chunks = sealed_file(key, b"short")
    with pytest.raises(NotAuthentic):
        opened(secrets.token_bytes(32), chunks)
    with pytest.raises(NotAuthentic):
        opened(key, chunks, attachment=bytes(16))
    with pytest.raises(NotAuthentic):
        opened(key, chunks[:2], size=2 * CHUNK)
    other = sealed_file(key, b"short")
    with pytest.raises(NotAuthentic):
        opened(key, [chunks[0], *other[1:]])


def test_a_broken_attachment_stays_broken_and_is_never_called_whole() -> None:
    key = secrets.token_bytes(32)
    chunks = sealed_file(key, b"short")
    opener = Opener(key, ID, 4 * CHUNK, CHUNK)
    with pytest.raises(NotAuthentic):
        opener.open(chunks[1])
    with pytest.raises(UsageError):
        opener.open(chunks[0])
    with pytest.raises(Malformed):
        opener.finish()


def forged(head: bytes, rest: bytes, size: int = 2 * CHUNK, last: bool = True) -> tuple[bytes, list[bytes]]:
    """What a member who plays false can seal: any text at all in a valid stream."""
    from nacl.bindings import (
        crypto_secretstream_xchacha20poly1305_init_push,
        crypto_secretstream_xchacha20poly1305_push,
        crypto_secretstream_xchacha20poly1305_state,
    )

    from pourparler_crypto.attachment import _FINAL, _MESSAGE, _bound

    key, state = secrets.token_bytes(32), crypto_secretstream_xchacha20poly1305_state()
    header = crypto_secretstream_xchacha20poly1305_init_push(state, key)
    text = head + rest + bytes(capacity(size, CHUNK) - len(rest))
    cut = CHUNK - HEADER_LENGTH - TAG_LENGTH
    pieces = [text[:cut], text[cut:]]
    tags = [_MESSAGE, _FINAL if last else _MESSAGE]
    sealed = [
        crypto_secretstream_xchacha20poly1305_push(state, piece, _bound(ID, size, CHUNK), tag)
        for piece, tag in zip(pieces, tags, strict=True)
    ]
    return key, [header + sealed[0], sealed[1]]


def head(name: bytes = b"a", kind: bytes = b"", length: bytes = bytes(8)) -> bytes:
    return pad(lp(name, kind, length), HEAD_LENGTH)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (head(b"../../.ssh/authorized_keys"), b""),
        (head(b".."), b""),
        (head(b"a\\b"), b""),
        (head(b"a\x00b"), b""),
        (head(b"a\nb"), b""),
        (head(b""), b""),
        (head(b"n" * (MAX_NAME + 1)), b""),
        (head(b"\xff"), b""),
        (head(kind=b"text/html; charset=x"), b""),
        (head(kind=b"\xff/x"), b""),
        (head(length=bytes(7)), b""),
        (head(length=b"\xff" * 8), b""),
        (head(length=(2 * CHUNK).to_bytes(8, "big")), b""),
        (bytes(HEAD_LENGTH), b""),
        (b"\xff" * HEAD_LENGTH, b""),
        (head(), b"hidden behind the file"),
        (head(), bytes(900) + b"hidden in the last chunk"),
    ],
)
def test_what_no_honest_sealer_makes_is_malformed(text: bytes, rest: bytes) -> None:
    key, chunks = forged(text, rest)
    with pytest.raises(Malformed):
        opened(key, chunks, size=2 * CHUNK)


def test_a_stream_without_an_end_is_malformed() -> None:
    key, chunks = forged(head(), b"", last=False)
    with pytest.raises(Malformed):
        opened(key, chunks, size=2 * CHUNK)
    key, chunks = forged(head(), b"")
    assert opened(key, chunks, size=2 * CHUNK) == b""  # the forger is not what fails above


@given(st.lists(st.binary(max_size=CHUNK + 1), max_size=5))
def test_random_chunks_are_refused_as_the_other_sides_fault(chunks: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        opened(bytes(32), chunks)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a\\b", "a\x00", "\x7f", "n" * 256, "ü" * 128, "\ud800"])
def test_a_bad_name_is_the_callers_fault(name: str) -> None:
    with pytest.raises(UsageError):
        FileHead(name, "", 0).encode()


def test_sizes_and_lengths_that_do_not_fit_are_refused() -> None:
    for size, chunk in ((CHUNK + 1, CHUNK), (0, CHUNK), (553, 553)):
        with pytest.raises(UsageError):
            capacity(size, chunk)
    with pytest.raises(UsageError):
        Sealer(bytes(32), ID, FileHead("a", "", ROOM + 1), 4 * CHUNK, CHUNK)
    for make in (
        lambda: Sealer(bytes(31), ID, FileHead("a", "", 0), CHUNK, CHUNK),
        lambda: Opener(bytes(31), ID, CHUNK, CHUNK),
    ):
        with pytest.raises(UsageError):
            make()
    sealer = Sealer(bytes(32), ID, FileHead("a", "", 5), CHUNK, CHUNK)
    with pytest.raises(UsageError):
        sealer.seal(b"four")
    sealer.seal(b"fives")
    assert sealer.wants == 0
    with pytest.raises(UsageError):
        sealer.seal(b"")


def test_every_size_class_holds_its_files_and_the_largest_holds_100_mib() -> None:
    rooms = [capacity(size, chunk_of(size)) for size in ATTACHMENT_SIZES]
    assert rooms == sorted(rooms)
    assert rooms[-1] >= 100 * 1024 * 1024
    assert all(size % chunk_of(size) == 0 and chunk_of(size) <= ATTACHMENT_CHUNK for size in ATTACHMENT_SIZES)


def test_sealing_and_opening_a_hundred_mib_takes_constant_memory() -> None:
    size, length = ATTACHMENT_SIZES[-1], 100 * 1024 * 1024
    key = secrets.token_bytes(32)
    piece = secrets.token_bytes(ATTACHMENT_CHUNK)
    tracemalloc.start()
    try:
        sealer = Sealer(key, ID, FileHead("film", "", length), size, ATTACHMENT_CHUNK)
        opener = Opener(key, ID, size, ATTACHMENT_CHUNK)
        total = 0
        while not sealer.done:
            total += len(opener.open(sealer.seal(piece[: sealer.wants])))
        opener.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == length
    assert peak < 16 * ATTACHMENT_CHUNK


# --- kept chunks


def test_a_kept_chunk_opens_in_its_place_and_nowhere_else() -> None:
    key, chunk = secrets.token_bytes(KEY_LENGTH), secrets.token_bytes(100)
    keeper = Keeper(key, ID)
    kept = keeper.keep(chunk, 7)
    assert len(kept) == len(chunk) + KEPT_LENGTH
    assert Keeper(key, ID).take(kept, 7) == chunk
    assert keeper.keep(chunk, 7) != kept
    for other, place in (
        (keeper, 8),
        (Keeper(key, bytes(16)), 7),
        (Keeper(secrets.token_bytes(KEY_LENGTH), ID), 7),
    ):
        with pytest.raises(NotAuthentic):
            other.take(kept, place)
    for torn in (kept[:-1], kept[:50] + bytes(50) + kept[100:], bytes(len(kept)), kept + b"x"):
        with pytest.raises(NotAuthentic):
            keeper.take(torn, 7)
    with pytest.raises(Malformed):
        keeper.take(kept[: KEPT_LENGTH - 1], 7)
    with pytest.raises(UsageError):
        Keeper(key[:-1], ID)


def test_a_kept_chunk_shows_nothing_of_what_the_service_has() -> None:
    key, chunk = secrets.token_bytes(KEY_LENGTH), secrets.token_bytes(CHUNK)
    kept = Keeper(key, ID).keep(chunk, 0)
    assert not any(chunk[start : start + 8] in kept for start in range(0, CHUNK - 8, 8))
