"""HPKE and libsodium at their edges: official key pairs, and what is refused before a library sees it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pourparler_crypto import errors, hpke, sodium
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError

ROOT = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("POURPARLER_VECTORS", ROOT.parent / "shared" / "vectors"))

KEMS = {0x0010: hpke.P256, 0x0020: hpke.X25519, 0x647A: hpke.MLKEM768_X25519}
every_kem = pytest.mark.parametrize("kem", KEMS.values(), ids=lambda kem: kem.name)


@pytest.mark.parametrize("number", KEMS, ids=hex)
def test_key_pairs_are_those_of_the_official_vectors(number: int) -> None:
    path = VECTORS / "hpke-pq" / "test-vectors.json"
    if not path.is_file():
        pytest.skip(f"no {path}; set POURPARLER_VECTORS to the folder of the official vectors")
    kem = KEMS[number]
    entries = [entry for entry in json.loads(path.read_text()) if entry["kem_id"] == number]
    assert entries
    for entry in entries:
        private, public = kem.derive(bytes.fromhex(entry["ikmR"]))
        assert private.hex() == entry["skRm"]
        assert public.hex() == entry["pkRm"]
        assert kem.public_of(private) == public


@every_kem
def test_what_is_sealed_opens_and_has_the_promised_length(kem: hpke.Kem) -> None:
    private, public = kem.generate(os.urandom)
    assert (len(private), len(public)) == (kem.private_length, kem.public_length)
    sealed = hpke.seal(kem, public, b"info", b"text")
    assert len(sealed) == kem.enc_length + 4 + 16
    assert hpke.open_(kem, private, b"info", sealed) == b"text"


@every_kem
@pytest.mark.parametrize("where", ["first", "enc", "ciphertext", "last"])
def test_an_altered_bit_is_noticed(kem: hpke.Kem, where: str) -> None:
    private, public = kem.generate(os.urandom)
    sealed = bytearray(hpke.seal(kem, public, b"info", b"text"))
    at = {"first": 0, "enc": kem.enc_length - 1, "ciphertext": kem.enc_length, "last": len(sealed) - 1}[where]
    sealed[at] ^= 1
    with pytest.raises((NotAuthentic, Malformed)):
        hpke.open_(kem, private, b"info", bytes(sealed))


@every_kem
def test_another_info_another_key_and_truncation_are_noticed(kem: hpke.Kem) -> None:
    private, public = kem.generate(os.urandom)
    sealed = hpke.seal(kem, public, b"info", b"text")
    with pytest.raises(NotAuthentic):
        hpke.open_(kem, private, b"other", sealed)
    with pytest.raises(NotAuthentic):
        hpke.open_(kem, kem.generate(os.urandom)[0], b"info", sealed)
    for length in (0, 1, kem.enc_length, kem.enc_length + 15):
        with pytest.raises(Malformed):
            hpke.open_(kem, private, b"info", sealed[:length])


def test_the_cut_between_encapsulation_and_ciphertext_cannot_be_moved() -> None:
    suite, kem = hpke.X25519_AES128, hpke.X25519
    private, public = kem.generate(os.urandom)
    enc, ciphertext = suite.seal(kem.load_public(public), b"", b"text")
    with pytest.raises(Malformed):
        suite.open(kem.load_private(private), b"", enc + ciphertext[:1], ciphertext[1:])


@every_kem
@pytest.mark.parametrize("resize", [lambda key: key[:-1], lambda key: key + b"\x00", lambda key: b""])
def test_keys_of_another_size_are_refused(kem: hpke.Kem, resize: Callable[[bytes], bytes]) -> None:
    private, public = kem.generate(os.urandom)
    with pytest.raises(Malformed):
        hpke.seal(kem, resize(public), b"", b"")
    with pytest.raises(Malformed):
        kem.check_public(resize(public))
    with pytest.raises(UsageError):
        kem.load_private(resize(private))


SMALL_ORDER = (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18)


@pytest.mark.parametrize("value", SMALL_ORDER)
@pytest.mark.parametrize("top_bit", [0, 0x80])
def test_points_of_small_order_are_refused_when_read(value: int, top_bit: int) -> None:
    point = bytearray(value.to_bytes(32, "little"))
    point[31] |= top_bit
    for check in (hpke.X25519.check_public, hpke.X25519.load_public):
        with pytest.raises(Malformed):
            check(bytes(point))
    _, hybrid = hpke.MLKEM768_X25519.generate(os.urandom)
    with pytest.raises(Malformed):
        hpke.MLKEM768_X25519.load_public(hybrid[:1184] + bytes(point))


def test_a_compressed_or_impossible_p256_point_is_refused() -> None:
    _, public = hpke.P256.generate(os.urandom)
    for wrong in (b"\x02" + public[1:33], b"\x05" + public[1:], public[:64] + bytes((public[64] ^ 1,))):
        with pytest.raises(Malformed):
            hpke.P256.load_public(wrong)


def test_an_encapsulation_key_that_is_not_canonical_is_refused() -> None:
    _, public = hpke.MLKEM768_X25519.generate(os.urandom)
    for check in (hpke.MLKEM768_X25519.check_public, hpke.MLKEM768_X25519.load_public):
        with pytest.raises(Malformed):
            check(b"\xff" * 1184 + public[1184:])


def _with_coefficients(public: bytes, values: dict[int, int]) -> bytes:
    """A hybrid public key with other coefficients (of 12 bits, little-endian) in these places (0 to 767)."""
    packed = int.from_bytes(public[:1152], "little")
    for place, value in values.items():
        packed = packed & ~(0xFFF << (12 * place)) | value << (12 * place)
    return packed.to_bytes(1152, "little") + public[1152:]


def _refused(check: Callable[[bytes], object], public: bytes) -> bool:
    try:
        check(public)
    except Malformed:
        return True
    return False


def test_checking_a_hybrid_key_refuses_exactly_what_the_library_refuses() -> None:
    kem = hpke.MLKEM768_X25519
    _, public = kem.generate(os.urandom)
    cases = [(_with_coefficients(public, {place: 3328}), False) for place in range(768)]
    cases += [(_with_coefficients(public, {place: 3329}), True) for place in range(768)]
    for value, refused in ((0, False), (1, False), (3328, False), (3329, True), (0xFFF, True)):
        cases.append((_with_coefficients(public, dict.fromkeys(range(768), value)), refused))
    # A carry must not leak into a neighbour, nor hide behind one.
    for place in (0, 1, 2, 383, 384, 766, 767):
        around = {(place - 1) % 768: 3328, (place + 1) % 768: 3328}
        cases.append((_with_coefficients(public, {**around, place: 3328}), False))
        cases.append((_with_coefficients(public, {**around, place: 0xFFF}), True))
    # The seed of the matrix may be anything.
    cases += [(public[:1152] + seed + public[1184:], False) for seed in (bytes(32), b"\xff" * 32, os.urandom(32))]
    cases += [(kem.generate(os.urandom)[1], False) for _ in range(50)]
    for key, refused in cases:
        assert _refused(kem.check_public, key) is _refused(kem.load_public, key) is refused
    # Few and many random coefficients: most of the first are fine, most of the second are not.
    for _ in range(300):
        places = {os.urandom(1)[0] * 3: int.from_bytes(os.urandom(2)) & 0xFFF for _ in range(2)}
        for key in (_with_coefficients(public, places), os.urandom(1184) + public[1184:]):
            assert _refused(kem.check_public, key) is _refused(kem.load_public, key)


@pytest.mark.parametrize("version", ["1.5.0", "1.6.0", "1.6.1", "0.9"])
def test_a_pynacl_with_cve_2025_69277_is_refused_with_the_reason(version: str) -> None:
    with pytest.raises(ImportError, match="CVE-2025-69277"):
        sodium.refuse_old_pynacl(version)


@pytest.mark.parametrize("version", ["1.6.2", "1.7.0", "2.0"])
def test_newer_ones_are_taken(version: str) -> None:
    sodium.refuse_old_pynacl(version)


def test_libsodium_sees_no_key_of_another_length() -> None:
    pair = sodium.ed25519_keypair(bytes(32))
    signature = sodium.ed25519_sign(pair, b"text")
    sodium.ed25519_verify(pair[32:], b"text", signature)
    for public in (b"", pair[33:], pair[32:] + b"\x00"):
        with pytest.raises(Malformed):
            sodium.ed25519_verify(public, b"text", signature)
    for wrong in (b"", signature[:-1], signature + b"\x00"):
        with pytest.raises(NotAuthentic):
            sodium.ed25519_verify(pair[32:], b"text", wrong)
    with pytest.raises(UsageError):
        sodium.ed25519_sign(pair[:63], b"text")
    with pytest.raises(UsageError):
        sodium.ed25519_keypair(bytes(31))
    with pytest.raises(UsageError):
        sodium.x25519_public(bytes(33))


def test_the_identity_is_no_signature_key() -> None:
    identity = b"\x01" + bytes(31)
    with pytest.raises(NotAuthentic):
        sodium.ed25519_verify(identity, b"text", identity + bytes(32))


def test_every_error_belongs_to_one_of_the_two_families() -> None:
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, Exception) and name != "CryptoError":
            assert issubclass(error, errors.UsageError) != issubclass(error, errors.ProtocolError), name
