"""The vectors are what the code gives today, what another implementation gives, and what stock verifiers accept.

Three independent looks at `jr2_vectors.json`: it is regenerated and compared to the byte; integer arithmetic
written here from RFC 8032 and `docs/joint-release.md`, sharing no code, computes every message anew from the
inputs; and the finished notes are verified by OpenSSL's command line, libsodium and `cryptography`.
"""

import base64
import hashlib
import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.signing import VerifyKey

from pourparler_crypto import note

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "jr2_vectors.json").read_text(encoding="utf-8"))
RELEASES = {release["name"]: release for release in VECTORS["releases"]}


def test_the_vectors_are_what_the_generator_writes() -> None:
    generator = runpy.run_path(str(HERE / "generate_jr2_vectors.py"))
    assert generator["encoded"]() == (HERE / "jr2_vectors.json").read_text(encoding="utf-8")


def test_every_refusal_is_met_and_none_of_the_altered_messages_is_taken() -> None:
    errors = {one["error"] for one in VECTORS["refusals"]}
    assert errors == {
        "Malformed",
        "OutOfTurn",
        "WrongRound",
        "OwnAltered",
        "Copied",
        "BadOpening",
        "BadPresignature",
        "BadMask",
        "BadShare",
    }


# Another implementation: integers, affine coordinates, nothing constant in time

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P
Affine = tuple[int, int]


def recover_x(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return x if x % 2 == sign else P - x


G: Affine = (recover_x(BASE_Y, 0), BASE_Y)


def added(left: Affine, right: Affine) -> Affine:
    (x1, y1), (x2, y2) = left, right
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def multiplied(scalar: int, point: Affine) -> Affine:
    result: Affine = (0, 1)
    while scalar:
        if scalar & 1:
            result = added(result, point)
        point = added(point, point)
        scalar >>= 1
    return result


def compressed(point: Affine) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def prefixed(*parts: bytes | str) -> bytes:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


class Signer:
    """One party of a vector, from its seed and its stream of random bytes; or a further signer, who has no seed."""

    def __init__(self, release: dict[str, Any], number: int, sid: bytes) -> None:
        self.number, self.sid = number, sid
        self.texts = [text.encode() for text in release["texts"]]
        self.further, self.prefix = number > len(release["seeds"]), b""
        if not self.further:
            digest = sha512(bytes.fromhex(release["seeds"][number - 1]))
            clamped = bytes((digest[0] & 248,)) + digest[1:31] + bytes((digest[31] & 127 | 64,))
            self.x, self.prefix = little(clamped), digest[32:]
            self.public = compressed(multiplied(self.x % L, G))
        size = 64 * len(self.texts) * 3 + 32
        self.stream = hashlib.shake_256(f"{release['name']} party {number}".encode()).digest(size)
        count = len(self.texts)
        self.y = [self.drawn("y", bytes((k,))) for k in range(count)]
        hedge = sha512(prefixed("jr2/rho/v1", self.prefix, sid))
        self.rho = bytes(a ^ b for a, b in zip(self.taken(32), hedge[:32], strict=True))

    def taken(self, size: int) -> bytes:
        head, self.stream = self.stream[:size], self.stream[size:]
        return head

    def drawn(self, label: str, *context: bytes) -> int:
        hedge = sha512(prefixed(f"jr2/{label}/v1", self.prefix, self.sid, *context))
        return (little(self.taken(64)) + little(hedge)) % L

    def presign(self, locks: list[Affine]) -> bytes:
        self.d = [self.drawn("d", bytes((k,))) for k in range(len(self.texts))]
        if self.further:
            return b"".join(compressed(multiplied(value, G)) for value in self.d)
        body = b""
        for k, (text, lock) in enumerate(zip(self.texts, locks, strict=True)):
            mask_point = multiplied(self.d[k], G)
            r = self.drawn("r", bytes((k,)), compressed(lock), compressed(mask_point), self.public)
            nonce_point = compressed(added(added(multiplied(r, G), lock), mask_point))
            c = little(sha512(nonce_point + self.public + text)) % L
            body += nonce_point + compressed(mask_point) + ((r + c * self.x) % L).to_bytes(32, "little")
        return body


def sid_of(release: dict[str, Any]) -> bytes:
    sign_by, deposit_by, not_before, stop = release["terms"]
    terms = b"".join(time.to_bytes(8, "big") for time in (sign_by, deposit_by, not_before))
    terms += b"\1" + stop.to_bytes(4, "big")
    texts = prefixed(*release["texts"])
    keys = [bytes.fromhex(key) for key in release["keys"]]
    return sha512(prefixed("jr2/sid/v1", bytes.fromhex(release["nonce"]), texts, terms, *keys))


@pytest.mark.parametrize("name", RELEASES)
def test_integer_arithmetic_gives_every_message_and_signature(name: str) -> None:
    release = RELEASES[name]
    sid = sid_of(release)
    assert sid.hex() == release["sid"]
    said = release["messages"]
    signers = [Signer(release, number, sid) for number in range(1, len(said["mask"]) + 1)]
    assert [signer.public.hex() for signer in signers if not signer.further] == release["keys"]

    def message(kind: int, signer: Signer, bound_to: bytes, body: bytes) -> str:
        number = 0 if signer.further and kind == 1 else signer.number
        return (bytes((kind, number)) + bound_to[:16] + body).hex()

    points = {signer.number: [compressed(multiplied(y, G)) for y in signer.y] for signer in signers}
    for signer in signers:
        own = points[signer.number]
        number = b"\0" if signer.further else bytes((signer.number,))
        u = sha512(prefixed("jr2/ycommit/v1", sid, number, *own, signer.rho))
        assert said["commitment"][signer.number - 1] == message(1, signer, sid, u)
        assert said["opening"][signer.number - 1] == message(2, signer, sid, b"".join(own) + signer.rho)
    texts = range(len(release["texts"]))
    sums = [sum(signer.y[k] for signer in signers) % L for k in texts]
    bodies = [signer.presign([multiplied(y, G) for y in sums]) for signer in signers]
    handle = bytes.fromhex(release["handle"])
    for signer, body in zip(signers, bodies, strict=True):
        place = signer.number - 1
        assert said["presignature"][place] == message(3, signer, sid, body)
        d = b"".join(value.to_bytes(32, "little") for value in signer.d)
        y = b"".join(value.to_bytes(32, "little") for value in signer.y)
        assert said["mask"][place] == message(4, signer, handle, d)
        assert said["share"][place] == message(5, signer, handle, y + signer.rho)
        for k in () if signer.further else texts:
            s = (little(body[96 * k + 64 : 96 * k + 96]) + signer.d[k] + sums[k]) % L
            signature = body[96 * k : 96 * k + 32] + s.to_bytes(32, "little")
            assert release["signatures"][k][place] == signature.hex()
    assert case_handle(release, signers, points, bodies, sid) == handle


def case_handle(
    release: dict[str, Any], signers: list[Signer], points: dict[int, list[bytes]], bodies: list[bytes], sid: bytes
) -> bytes:
    sign_by, deposit_by, not_before, stop = release["terms"]
    terms = b"".join(time.to_bytes(8, "big") for time in (sign_by, deposit_by, not_before))
    count = len(release["keys"])
    masks = b"".join(body[i + 32 : i + 64] for body in bodies[:count] for i in range(0, len(body), 96))
    masks += b"".join(bodies[count:])
    case = prefixed(
        "jr2/case/v1",
        sid,
        bytes((len(signers), len(release["texts"]))),
        b"".join(b"".join(points[signer.number]) for signer in signers),
        masks,
        b"".join(sha512(signer.rho) for signer in signers),
        bytes.fromhex(release["bundle"]["sha512"]),
        terms + b"\1" + stop.to_bytes(4, "big"),
    )
    return sha512(prefixed("jr2/handle/v1", case))[:32]


# Stock verifiers


def notes() -> list[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Text, and (key, signature) of each line: read by splitting, without our parser."""
    found = []
    for release in RELEASES.values():
        for data in release["notes"]:
            text, _, lines = data.rpartition("\n\n")
            keys = {}
            for line in text.splitlines():
                if line.startswith("signatory: "):
                    name, _, encoded = line.split(" ")[1].split("+", 2)
                    keys[name] = base64.b64decode(encoded)[1:]
            signed = []
            for line in lines.splitlines():
                _, name, encoded = line.split(" ")
                signed.append((keys[name], base64.b64decode(encoded)[4:]))
            assert len(signed) == len(keys) == len(release["keys"])
            found.append((text.encode() + b"\n", signed))
    return found


def test_libsodium_and_cryptography_accept_every_signature() -> None:
    for text, signed in notes():
        for public, signature in signed:
            VerifyKey(public).verify(text, signature)
            Ed25519PublicKey.from_public_bytes(public).verify(signature, text)


def openssl(tmp_path: Path, text: bytes, public: bytes, signature: bytes) -> bool:
    program = shutil.which("openssl")
    assert program, "the openssl command is needed to run this test (Debian: apt-get install openssl)"
    spki = bytes.fromhex("302a300506032b6570032100") + public  # RFC 8410, 4
    (tmp_path / "key.der").write_bytes(spki)
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "signature").write_bytes(signature)
    command = [program, "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", "key.der"]
    done = subprocess.run(
        [*command, "-in", "text", "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False
    )
    return done.returncode == 0 and b"Verified Successfully" in done.stdout


def test_the_openssl_command_accepts_every_signature_and_no_other_text(tmp_path: Path) -> None:
    for text, signed in notes():
        for public, signature in signed:
            assert openssl(tmp_path, text, public, signature)
        assert not openssl(tmp_path, text.replace(b"met", b"not met"), *signed[0])
        assert not openssl(tmp_path, text, signed[0][0], signed[1][1])


def test_our_own_verifier_accepts_every_note() -> None:
    for release in RELEASES.values():
        for data in release["notes"]:
            assert len(note.verify(data.encode()).signatures) == len(release["keys"])
