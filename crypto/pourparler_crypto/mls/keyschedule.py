"""The key schedule, the transcript hashes and the pre-shared keys (RFC 9420, section 8).

Secrets that later ones were derived from are not kept: what an EpochSecrets holds is what an epoch still needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.mls.codec import OPAQUE, UINT8, UINT16, UINT64, Codec, struct, tagged, vl
from pourparler_crypto.mls.extensions import EXTENSIONS, MLS10, Extension
from pourparler_crypto.mls.suites import CipherSuite, Expander


@dataclass(slots=True)
class GroupContext:
    """What all members agree on in an epoch.

    struct {
        ProtocolVersion version = mls10;
        CipherSuite cipher_suite;
        opaque group_id<V>;
        uint64 epoch;
        opaque tree_hash<V>;
        opaque confirmed_transcript_hash<V>;
        Extension extensions<V>;
    } GroupContext;
    """

    version: int
    cipher_suite: int
    group_id: bytes
    epoch: int
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: tuple[Extension, ...]
    raw: bytes = field(default=b"", compare=False)

    def __post_init__(self) -> None:
        self.raw = b"".join(
            (
                self.version.to_bytes(2),
                self.cipher_suite.to_bytes(2),
                vl(self.group_id),
                UINT64.write(self.epoch),
                vl(self.tree_hash),
                vl(self.confirmed_transcript_hash),
                EXTENSIONS.write(self.extensions),
            )
        )


GROUP_CONTEXT = struct(
    GroupContext,
    version=UINT16,
    cipher_suite=UINT16,
    group_id=OPAQUE,
    epoch=UINT64,
    tree_hash=OPAQUE,
    confirmed_transcript_hash=OPAQUE,
    extensions=EXTENSIONS,
)


def group_context(
    suite: CipherSuite,
    group_id: bytes,
    epoch: int,
    tree_hash: bytes,
    confirmed_transcript_hash: bytes,
    extensions: tuple[Extension, ...],
) -> GroupContext:
    """A GroupContext of this protocol version. Raises UsageError past the last epoch (2**64 - 1)."""
    return GroupContext(MLS10, suite.number, group_id, epoch, tree_hash, confirmed_transcript_hash, extensions)


# Transcript hashes (RFC 9420, 8.2)


def confirmed_hash(suite: CipherSuite, interim_before: bytes, confirmed_input: bytes) -> bytes:
    """The confirmed transcript hash; ``confirmed_input`` is ConfirmedTranscriptHashInput."""
    return suite.hash(interim_before + confirmed_input)


def interim_hash(suite: CipherSuite, confirmed: bytes, confirmation_tag: bytes) -> bytes:
    """The interim transcript hash after a commit with this confirmation tag."""
    return suite.hash(confirmed + vl(confirmation_tag))


# Epoch secrets (RFC 9420, 8)


@dataclass(slots=True, repr=False)
class EpochSecrets:
    """The secrets of an epoch, each Nh bytes."""

    sender_data: bytes
    encryption: bytes
    exporter: bytes
    external: bytes
    confirmation: bytes
    membership: bytes
    resumption: bytes
    authenticator: bytes
    init: bytes


_EPOCH_LABELS = (
    b"sender data",
    b"encryption",
    b"exporter",
    b"external",
    b"confirm",
    b"membership",
    b"resumption",
    b"authentication",
    b"init",
)


def joiner_secret(suite: CipherSuite, init: bytes, commit_secret: bytes, context: bytes) -> bytes:
    """joiner_secret of the epoch with this (encoded) GroupContext."""
    return suite.expand_with_label(suite.extract(init, commit_secret), b"joiner", context, suite.hash_length)


def member_secret(suite: CipherSuite, joiner: bytes, psk_secret: bytes) -> bytes:
    """The secret between joiner_secret and epoch_secret, which the RFC leaves without a name."""
    return suite.extract(joiner, psk_secret)


def welcome_secret(suite: CipherSuite, member: bytes) -> bytes:
    """welcome_secret, under which the GroupInfo in a Welcome is encrypted."""
    return suite.derive_secret(member, b"welcome")


def welcome_key(suite: CipherSuite, secret: bytes) -> tuple[bytes, bytes]:
    """(welcome_key, welcome_nonce) (RFC 9420, 12.4.3.1)."""
    return (
        suite.expand_with_label(secret, b"key", b"", suite.key_length),
        suite.expand_with_label(secret, b"nonce", b"", 12),
    )


def epoch_secrets(suite: CipherSuite, member: bytes, context: bytes) -> EpochSecrets:
    """All secrets of an epoch from member_secret."""
    return expand_epoch(suite, suite.expand_with_label(member, b"epoch", context, suite.hash_length))


def expand_epoch(suite: CipherSuite, epoch_secret: bytes) -> EpochSecrets:
    """All secrets of an epoch from epoch_secret, which is not kept."""
    expand, infos = Expander(suite, epoch_secret).expand, suite.derive_infos
    return EpochSecrets(*[expand(infos[label]) for label in _EPOCH_LABELS])


def export(suite: CipherSuite, exporter_secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """MLS-Exporter (RFC 9420, 8.5)."""
    secret = suite.derive_secret(exporter_secret, label)
    return suite.expand_with_label(secret, b"exported", suite.hash(context), length)


# Pre-shared keys (RFC 9420, 8.4)

EXTERNAL = 1
RESUMPTION = 2

# ResumptionPSKUsage
APPLICATION = 1
REINIT = 2
BRANCH = 3


@dataclass(slots=True, frozen=True)
class ResumptionId:
    """Names the resumption PSK of an epoch."""

    usage: int
    group_id: bytes
    epoch: int


def _read_usage(data: bytes, at: int) -> tuple[int, int]:
    usage, at = UINT8.read(data, at)
    if usage not in (APPLICATION, REINIT, BRANCH):
        raise Malformed("an unknown use of a resumption PSK")
    return usage, at


@dataclass(slots=True, frozen=True)
class PskId:
    """PreSharedKeyID.

    struct {
        PSKType psktype;
        select (PreSharedKeyID.psktype) {
            case external:   opaque psk_id<V>;
            case resumption: ResumptionPSKUsage usage; opaque psk_group_id<V>; uint64 psk_epoch;
        };
        opaque psk_nonce<V>;
    } PreSharedKeyID;
    """

    which: tuple[int, bytes | ResumptionId]
    nonce: bytes


PSK_ID: Codec[PskId] = struct(
    PskId,
    which=tagged(
        UINT8,
        {
            EXTERNAL: OPAQUE,
            RESUMPTION: struct(ResumptionId, usage=Codec(_read_usage, UINT8.write), group_id=OPAQUE, epoch=UINT64),
        },
        "type of PSK",
    ),
    nonce=OPAQUE,
)


def psk_secret(suite: CipherSuite, psks: Sequence[tuple[PskId, bytes]]) -> bytes:
    """psk_secret of these PSKs in this order; zeros when there are none."""
    if len(psks) > 0xFFFF:
        raise UsageError("at most 65535 PSKs")
    secret = suite.zero
    count = len(psks).to_bytes(2)
    for index, (psk_id, psk) in enumerate(psks):
        label = PSK_ID.write(psk_id) + index.to_bytes(2) + count
        extracted = suite.extract(suite.zero, psk)
        salt = suite.expand_with_label(extracted, b"derived psk", label, suite.hash_length)
        secret = suite.extract(salt, secret)
    return secret


PskLookup = Callable[[PskId], bytes]  # raises NotAcceptable when the PSK is not at hand
