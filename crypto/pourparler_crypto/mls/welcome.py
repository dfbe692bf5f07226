"""GroupInfo and Welcome (RFC 9420, 12.4.3): what a newcomer is told. Their forms, sealing and opening."""

from collections.abc import Sequence
from dataclasses import dataclass

from pourparler_crypto.errors import Malformed, NotAcceptable
from pourparler_crypto.hpke import PublicKey
from pourparler_crypto.mls.codec import OPAQUE, UINT16, UINT32, keeping_raw, optional, struct, vector, vl
from pourparler_crypto.mls.commitforms import HPKE_CIPHERTEXT, HpkeCiphertext
from pourparler_crypto.mls.extensions import EXTENSIONS, Extension
from pourparler_crypto.mls.framing import WELCOME, mls_message, read_header
from pourparler_crypto.mls.keyschedule import (
    GROUP_CONTEXT,
    PSK_ID,
    GroupContext,
    PskId,
    member_secret,
    welcome_key,
    welcome_secret,
)
from pourparler_crypto.mls.nodes import LeafNode
from pourparler_crypto.mls.suites import CipherSuite, Signer, labeled

_GROUP_INFO_LABEL = b"GroupInfoTBS"
_WELCOME_LABEL = b"Welcome"


@dataclass(slots=True, eq=False)
class GroupInfo:
    """A group's state for newcomers, signed by a member.

    struct {
        GroupContext group_context;
        Extension extensions<V>;
        MAC confirmation_tag;
        uint32 signer;
        opaque signature<V>;
    } GroupInfo;
    """

    group_context: GroupContext
    extensions: tuple[Extension, ...]
    confirmation_tag: bytes
    signer: int
    signature: bytes
    raw: bytes = b""

    def verify(self, suite: CipherSuite, leaf: LeafNode) -> None:
        """Check the signature with the signer's leaf. Raises NotAuthentic."""
        signed = self.raw[: len(self.raw) - len(vl(self.signature))]
        leaf.verify(suite)(labeled(_GROUP_INFO_LABEL, signed), self.signature)


GROUP_INFO_CODEC = keeping_raw(
    struct(
        GroupInfo,
        group_context=GROUP_CONTEXT,
        extensions=EXTENSIONS,
        confirmation_tag=OPAQUE,
        signer=UINT32,
        signature=OPAQUE,
    )
)


def sign_group_info(
    context: GroupContext,
    extensions: tuple[Extension, ...],
    confirmation_tag: bytes,
    signer_index: int,
    signer: Signer,
) -> bytes:
    """A signed GroupInfo, encoded."""
    info = GroupInfo(context, extensions, confirmation_tag, signer_index, b"")
    unsigned = GROUP_INFO_CODEC.write(info)[:-1]  # the empty signature is one byte, its length
    return unsigned + vl(signer.sign(labeled(_GROUP_INFO_LABEL, unsigned)))


@dataclass(slots=True, repr=False)
class PathSecret:
    """struct { opaque path_secret<V>; } PathSecret;."""

    path_secret: bytes


@dataclass(slots=True, repr=False)
class GroupSecrets:
    """struct { opaque joiner_secret<V>; optional<PathSecret> path_secret; PreSharedKeyID psks<V>; }."""

    joiner_secret: bytes
    path_secret: PathSecret | None
    psks: tuple[PskId, ...]


GROUP_SECRETS = struct(
    GroupSecrets,
    joiner_secret=OPAQUE,
    path_secret=optional(struct(PathSecret, path_secret=OPAQUE)),
    psks=vector(PSK_ID),
)


@dataclass(slots=True)
class EncryptedGroupSecrets:
    """struct { KeyPackageRef new_member; HPKECiphertext encrypted_group_secrets; }."""

    new_member: bytes
    encrypted_group_secrets: HpkeCiphertext


@dataclass(slots=True)
class Welcome:
    """struct { CipherSuite; EncryptedGroupSecrets secrets<V>; opaque encrypted_group_info<V>; } Welcome;."""

    cipher_suite: int
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes


WELCOME_CODEC = struct(
    Welcome,
    cipher_suite=UINT16,
    secrets=vector(struct(EncryptedGroupSecrets, new_member=OPAQUE, encrypted_group_secrets=HPKE_CIPHERTEXT)),
    encrypted_group_info=OPAQUE,
)


@dataclass(slots=True, repr=False)
class Joiner:
    """A newcomer to be welcomed: its KeyPackage's ref and init key, and the path secret it may know."""

    ref: bytes
    init_key: PublicKey
    path_secret: bytes | None


def seal_welcome(
    suite: CipherSuite,
    joiner_secret: bytes,
    welcome: bytes,
    psks: tuple[PskId, ...],
    group_info: bytes,
    joiners: Sequence[Joiner],
) -> bytes:
    """MLSMessage(Welcome) for all joiners; ``welcome`` is welcome_secret, ``group_info`` encoded."""
    key, nonce = welcome_key(suite, welcome)
    encrypted = suite.seal(key, nonce, group_info, b"")
    secrets = []
    for joiner in joiners:
        path_secret = None if joiner.path_secret is None else PathSecret(joiner.path_secret)
        plaintext = GROUP_SECRETS.write(GroupSecrets(joiner_secret, path_secret, psks))
        sealed = suite.encrypt_with_label(joiner.init_key, _WELCOME_LABEL, encrypted, plaintext)
        secrets.append(EncryptedGroupSecrets(joiner.ref, HpkeCiphertext(*sealed)))
    return mls_message(WELCOME, WELCOME_CODEC.write(Welcome(suite.number, tuple(secrets), encrypted)))


def read_welcome(message: bytes) -> Welcome:
    """Parse MLSMessage(Welcome). Raises Malformed."""
    if read_header(message) != WELCOME:
        raise Malformed("not an MLSMessage with a Welcome")
    return WELCOME_CODEC.decode(message[4:], "Welcome")


def open_group_secrets(suite: CipherSuite, welcome: Welcome, ref: bytes, init_private: bytes) -> GroupSecrets:
    """The secrets meant for the KeyPackage with this ref. Raises NotAcceptable, NotAuthentic, Malformed."""
    entry = next((entry for entry in welcome.secrets if entry.new_member == ref), None)
    if entry is None:
        raise NotAcceptable("a Welcome that is not for this KeyPackage")
    sealed = entry.encrypted_group_secrets
    private = suite.kem.load_private(init_private)
    plaintext = suite.decrypt_with_label(
        private, _WELCOME_LABEL, welcome.encrypted_group_info, sealed.kem_output, sealed.ciphertext
    )
    return GROUP_SECRETS.decode(plaintext, "GroupSecrets")


def open_group_info(
    suite: CipherSuite, welcome: Welcome, joiner_secret: bytes, psk_secret: bytes
) -> tuple[GroupInfo, bytes]:
    """(GroupInfo, member secret). Raises NotAuthentic or Malformed; the signature is the caller's to check."""
    member = member_secret(suite, joiner_secret, psk_secret)
    key, nonce = welcome_key(suite, welcome_secret(suite, member))
    plaintext = suite.open(key, nonce, welcome.encrypted_group_info, b"")
    return GROUP_INFO_CODEC.decode(plaintext, "GroupInfo"), member
