"""What the desk sees of a round, and what it checks: pure functions, for the desk and for every client alike.

1. **A case is named by a hash of all of it.** A wrong list, deadline or bundle is another case (DESIGN 6.3, #28).
2. **The bundle opens only with every rho**, and the desk gets those in R5, from parties that have seen every mask.
3. **A value is taken only if it fits its point.** Who does not hold d_i or y_i can deposit nothing for i, and can
   prevent nothing either: a value that fits is the value.

The desk holds points, hashes and a sealed bundle until R5: no text, key, R or ŝ. It learns how many parties and
texts there are, and the size class of the texts.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError as SodiumError

from pourparler_crypto.card import check_digits
from pourparler_crypto.encoding import lp, pad, unlp, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic
from pourparler_crypto.jr2.errors import BadMask, BadShare, CaseMismatch, Incomplete
from pourparler_crypto.jr2.group import ED25519, POINT_LENGTH, SCALAR_LENGTH, check_point, check_scalar
from pourparler_crypto.jr2.round import MAX_PARTIES, MAX_TEXTS, MIN_PARTIES, SID_LENGTH, Round, Terms, pieces
from pourparler_crypto.jr2.signatures import Completed, completed
from pourparler_crypto.jr2.wire import PRESIGNATURE_LENGTH, RHO_LENGTH, Kind, read, rho_hash

HANDLE_LENGTH: Final = 32  # bytes
HASH_LENGTH: Final = 64  # bytes, SHA-512
BUNDLE_SIZES: Final = tuple(size * 1024 for size in (4, 16, 64, 256, 512))  # bytes: what the desk sees of lengths
MAX_CASE: Final = 200 * 1024  # bytes of an encoded case; 32 parties with 32 texts have about 68,000
_NONCE_LENGTH: Final = 24  # bytes, XChaCha20-Poly1305
_OVERHEAD: Final = _NONCE_LENGTH + 16 + 4  # bytes: nonce, tag, length before padding
_FORM: Final = "jr2/case/v1"
_BUNDLE: Final = "jr2/bundle/v1"
_NOTHING: Final = "jr2/bundle/private/v1"

Lists = tuple[tuple[bytes, ...], ...]  # [party - 1][text]: points or scalars of 32 bytes


@dataclass(frozen=True)
class Case:
    """What the desk holds of a round from its opening. Raises Malformed when it cannot be a case.

    sid          64 bytes
    locks        Y of each signer and text: parties 1..n, then the further signers
    masks        D of each signer and text
    rho_hashes   SHA-512 of each signer's rho
    bundle_hash  SHA-512 of the sealed bundle
    terms        deadlines and stop rule

    `vetted` leaves out the check of the points, for a party that made it in R2 and R3.
    """

    sid: bytes
    locks: Lists
    masks: Lists
    rho_hashes: tuple[bytes, ...]
    bundle_hash: bytes
    terms: Terms
    vetted: InitVar[bool] = False

    def __post_init__(self, vetted: bool) -> None:
        parties, texts = len(self.rho_hashes), len(self.locks[0]) if self.locks else 0
        if not (MIN_PARTIES <= parties <= MAX_PARTIES and 1 <= texts <= MAX_TEXTS):
            raise Malformed("a case has 2 to 32 parties and 1 to 32 texts")
        if {len(self.locks), len(self.masks)} != {parties} or {len(row) for row in self.locks + self.masks} != {
            texts
        }:
            raise Malformed("the lists of a case differ in length")
        if len(self.sid) != SID_LENGTH or {len(h) for h in (*self.rho_hashes, self.bundle_hash)} != {HASH_LENGTH}:
            raise Malformed("sid and hashes of a case have 64 bytes")
        points = [point for row in self.locks + self.masks for point in row]
        for point in () if vetted else points:
            check_point(point)
        if len(set(points)) != len(points) or len(set(self.rho_hashes)) != parties:
            raise Malformed("two values of a case are equal")

    @property
    def parties(self) -> int:
        """How many sign: parties, and their further signers. Which is which, nothing here tells."""
        return len(self.rho_hashes)

    @property
    def texts(self) -> int:
        """How many texts are completed together."""
        return len(self.locks[0])

    def encode(self) -> bytes:
        """The form in which a case is opened at the desk; at most MAX_CASE bytes."""
        return lp(
            _FORM,
            self.sid,
            bytes((self.parties, self.texts)),
            b"".join(point for row in self.locks for point in row),
            b"".join(point for row in self.masks for point in row),
            b"".join(self.rho_hashes),
            self.bundle_hash,
            self.terms.encode(),
        )

    @classmethod
    def decode(cls, data: bytes) -> "Case":
        """What `encode` wrote, all of it checked. Raises Malformed."""
        if len(data) > MAX_CASE:
            raise Malformed("no case is as large as this")
        form, sid, counts, locks, masks, rho_hashes, bundle_hash, terms = unlp(data, 8)
        if form != _FORM.encode() or len(counts) != 2:
            raise Malformed("this is not a case")
        texts = max(counts[1], 1)
        case = cls(
            sid,
            rows(locks, texts),
            rows(masks, texts),
            pieces(rho_hashes, HASH_LENGTH),
            bundle_hash,
            Terms.decode(terms),
        )
        if counts != bytes((case.parties, case.texts)):
            raise Malformed("a case states other counts than its lists have")
        return case

    @cached_property
    def handle(self) -> bytes:
        """32 bytes that name the case at the desk. Who knows the handle knows nothing else of it."""
        return hashlib.sha512(lp("jr2/handle/v1", self.encode())).digest()[:HANDLE_LENGTH]

    @property
    def digits(self) -> str:
        """30 decimal digits of the handle, to compare aloud before signing when a relay carried R1 to R3."""
        return check_digits(self.handle)

    def check_handle(self, handle: bytes) -> None:
        """Raises CaseMismatch when this case has another handle."""
        if handle != self.handle:
            raise CaseMismatch("this case has another handle")

    def check_bundle(self, sealed: bytes) -> None:
        """Raises CaseMismatch when the sealed bundle is another than this case's."""
        if len(sealed) not in BUNDLE_SIZES or hashlib.sha512(sealed).digest() != self.bundle_hash:
            raise CaseMismatch("this is not the bundle of this case")


def rows(data: bytes, texts: int) -> Lists:
    """A flat list of points or scalars as [party - 1][text]."""
    return tuple(pieces(row, POINT_LENGTH) for row in pieces(data, POINT_LENGTH * texts))


@dataclass(frozen=True, slots=True, repr=False)
class Mask:
    """R4, checked: d of each text. Nobody else can have made it but who holds d."""

    party: int
    scalars: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Share:
    """R5, checked: y of each text, and rho."""

    party: int
    scalars: tuple[bytes, ...]
    rho: bytes


def check_mask(case: Case, message: bytes) -> Mask:
    """R4 as the desk takes it (18 + 32·k bytes): every d·G == D. Raises Malformed, WrongRound, OutOfTurn, BadMask.

    Before all masks are there, presenting it again is how its party withdraws: nobody else knows d.
    """
    found = read(Kind.MASK, case.handle, case.parties, case.texts, message)
    scalars = pieces(found.body, SCALAR_LENGTH)
    if not _fit(scalars, case.masks[found.party - 1]):
        raise BadMask(found.party, "the mask that was deposited is not the one that was shown")
    return Mask(found.party, scalars)


def check_share(case: Case, message: bytes) -> Share:
    """R5 as the desk takes it (18 + 32·k + 32 bytes). Raises Malformed, WrongRound, OutOfTurn, BadShare.

    Until publication, presenting it again is how its party uses the stop rule: by then every signer knows every d
    and rho, but y_i only its party and the desk.
    """
    found = read(Kind.SHARE, case.handle, case.parties, case.texts, message)
    scalars, rho = pieces(found.body[:-RHO_LENGTH], SCALAR_LENGTH), found.body[-RHO_LENGTH:]
    if not _fit(scalars, case.locks[found.party - 1]):
        raise BadShare(found.party, "the share that was deposited is not the one that was committed to")
    if not hmac.compare_digest(rho_hash(rho), case.rho_hashes[found.party - 1]):
        raise BadShare(found.party, "the opening value is not the one that was committed to")
    return Share(found.party, scalars, rho)


def _fit(scalars: Sequence[bytes], points: Sequence[bytes]) -> bool:
    try:
        return all(
            hmac.compare_digest(ED25519.base(check_scalar(scalar)), point)
            for scalar, point in zip(scalars, points, strict=True)
        )
    except Malformed:
        return False


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is sealed until R5: the round (texts, keys, nonce) and all pre-signatures, [party - 1], 96·k bytes
    each.
    """

    round: Round
    presignatures: tuple[bytes, ...]


def seal_bundle(bundle: Bundle, rhos: Sequence[bytes]) -> bytes:
    """One of BUNDLE_SIZES bytes; every client computes the same ones.

    Both halves of `SHA512(lp("jr2/bundle/v1", rho_1..rho_n))` are used: the first 32 bytes as key of
    XChaCha20-Poly1305, the last 32 to derive the nonce from the plaintext by HMAC. The key is meant for one
    message, since every rho is fresh for the sid. But a signer who shows different pre-signatures to different
    parties makes them seal *different* bundles under it; with a constant nonce, the desk would then see two
    texts under one key stream and could forge. With a nonce that depends on the content, equal nonces mean
    equal plaintexts (up to a collision in 192 bits). Nobody can open a bundle under a second key either: the
    case names the rho hashes.
    """
    key, nonce_key = _bundle_keys(rhos)
    inner = lp(bundle.round.encode(), b"".join(bundle.presignatures))
    size = next((size for size in BUNDLE_SIZES if len(inner) + _OVERHEAD <= size), BUNDLE_SIZES[-1])
    padded = pad(inner, size - _NONCE_LENGTH - 16)
    nonce = hmac.digest(nonce_key, padded, "sha512")[:_NONCE_LENGTH]
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(padded, _aad(bundle.round.sid), nonce, key)


def seal_nothing(bundle: Bundle, rhos: Sequence[bytes]) -> bytes:
    """What a case brings to the desk whose texts are not for the board: as many bytes, and nothing in them.

    The key hangs on R and ŝ too, which the desk never sees. So it cannot open this even when it has every rho, and
    until then cannot tell it from a bundle; if it ever could open it, it would find zeros.
    """
    size = len(seal_bundle(bundle, rhos))
    digest = hashlib.sha512(lp(_NOTHING, *rhos, *bundle.presignatures)).digest()
    nonce = digest[32 : 32 + _NONCE_LENGTH]
    zeros = bytes(size - _NONCE_LENGTH - 16)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(zeros, _aad(bundle.round.sid), nonce, digest[:32])


def open_bundle(case: Case, sealed: bytes, rhos: Sequence[bytes]) -> Bundle:
    """The bundle of a case, once every party has deposited its rho (32 bytes each, in the parties' order).

    Raises CaseMismatch (another bundle than the case names), NotAuthentic (not sealed under these rhos),
    Malformed.
    """
    case.check_bundle(sealed)
    key, nonce_key = _bundle_keys(rhos)
    nonce, body = sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:]
    try:
        padded = crypto_aead_xchacha20poly1305_ietf_decrypt(body, _aad(case.sid), nonce, key)
    except SodiumError:
        raise NotAuthentic("the bundle does not open under these values") from None
    if not hmac.compare_digest(nonce, hmac.digest(nonce_key, padded, "sha512")[:_NONCE_LENGTH]):
        raise Malformed("the bundle was not sealed as every client seals it")
    encoded, presignatures = unlp(unpad(padded), 2)
    bundle = Bundle(Round.decode(encoded), pieces(presignatures, PRESIGNATURE_LENGTH * case.texts))
    if bundle.round.sid != case.sid or bundle.round.terms != case.terms:
        raise CaseMismatch("the bundle is of another round")
    count = len(bundle.round.keys)
    if count > case.parties or len(bundle.presignatures) != count:
        raise CaseMismatch("the bundle has another number of parties")
    if masks_of(bundle.presignatures) != case.masks[:count]:
        raise CaseMismatch("the bundle has other points than the case")
    return bundle


def complete(case: Case, sealed: bytes, masks: Sequence[Mask], shares: Sequence[Share]) -> tuple[Completed, ...]:
    """All signatures of all texts, verified: what the desk publishes, and what any signer computes as well.

    Raises Incomplete; CaseMismatch, NotAuthentic, Malformed as `open_bundle` does. For a case whose masks and
    shares have been checked and whose parties have checked R3, nothing but a wrong bundle can fail here.
    """
    by_party = {mask.party: mask for mask in masks}, {share.party: share for share in shares}
    missing = tuple(party for party in range(1, case.parties + 1) if not all(party in found for found in by_party))
    if missing:
        raise Incomplete(missing)
    opened = [(by_party[0][party], by_party[1][party]) for party in range(1, case.parties + 1)]
    bundle = open_bundle(case, sealed, [share.rho for _, share in opened])
    return completed(
        bundle.round,
        bundle.presignatures,
        [mask.scalars for mask, _ in opened[: len(bundle.presignatures)]],
        [share.scalars for _, share in opened],
    )


def masks_of(presignatures: Sequence[bytes]) -> Lists:
    """D of each party and text, out of R3's bodies."""
    return tuple(
        tuple(one[POINT_LENGTH : 2 * POINT_LENGTH] for one in pieces(body, PRESIGNATURE_LENGTH))
        for body in presignatures
    )


def _bundle_keys(rhos: Sequence[bytes]) -> tuple[bytes, bytes]:
    digest = hashlib.sha512(lp(_BUNDLE, *rhos)).digest()
    return digest[:32], digest[32:]


def _aad(sid: bytes) -> bytes:
    return lp(_BUNDLE, sid)
