"""Framing (RFC 9420, section 6): content, its signature, and its two wrappings, PublicMessage and PrivateMessage.

What a signature covers names the wrapping, the epoch and the group, so nothing can be moved to another. A
PrivateMessage is taken apart by hand and not by the codec, because every message of a channel passes here.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.mls.codec import (
    NOTHING,
    OPAQUE,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Codec,
    read_opaque,
    tagged,
    vl,
)
from pourparler_crypto.mls.commitforms import COMMIT_CODEC, Commit
from pourparler_crypto.mls.limits import MAX_MESSAGE
from pourparler_crypto.mls.proposals import MEMBER, NEW_MEMBER_COMMIT, PROPOSAL, Proposal, Sender
from pourparler_crypto.mls.secrettree import APPLICATION as APPLICATION_RATCHET
from pourparler_crypto.mls.secrettree import HANDSHAKE, Step
from pourparler_crypto.mls.suites import NONCE_LENGTH, CipherSuite, Expander, Signer, kdf_label, labeled

# ContentType
APPLICATION = 1
PROPOSAL_CONTENT = 2
COMMIT = 3

# WireFormat
PUBLIC_MESSAGE = 1
PRIVATE_MESSAGE = 2
WELCOME = 3
GROUP_INFO = 4
KEY_PACKAGE = 5

VERSION = b"\x00\x01"  # mls10
_PRIVATE_HEADER = VERSION + PRIVATE_MESSAGE.to_bytes(2)
_TBS_LABEL = b"FramedContentTBS"
_PROPOSAL_REF_LABEL = b"MLS 1.0 Proposal Reference"
_TAG = 16  # bytes, AEAD tag
SENDER_DATA_LENGTH = 12  # bytes: uint32 leaf_index, uint32 generation, opaque reuse_guard[4]
REUSE_GUARD_LENGTH = 4


SENDER: Codec[Sender] = tagged(UINT8, {1: UINT32, 2: UINT32, 3: NOTHING, 4: NOTHING}, "sender type")

Content = bytes | Proposal | Commit
_CONTENT: dict[int, Codec[Any]] = {
    APPLICATION: OPAQUE,
    PROPOSAL_CONTENT: PROPOSAL,
    COMMIT: COMMIT_CODEC,
}


@dataclass(slots=True, eq=False)
class AuthenticatedContent:
    """FramedContent with its FramedContentAuthData and the wire format it was signed for.

    struct {
        opaque group_id<V>;
        uint64 epoch;
        Sender sender;
        opaque authenticated_data<V>;
        ContentType content_type;
        select (content_type) { opaque application_data<V>; Proposal; Commit; };
    } FramedContent;

    struct {
        opaque signature<V>;
        select (content_type) { case commit: MAC confirmation_tag; };
    } FramedContentAuthData;
    """

    wire_format: int
    group_id: bytes
    epoch: int
    sender: Sender
    authenticated_data: bytes
    content_type: int
    content: Content
    framed: bytes  # FramedContent as it was signed
    signature: bytes = b""
    confirmation_tag: bytes = b""

    @property
    def signed_part(self) -> bytes:
        """FramedContentTBS without the GroupContext that members put behind it."""
        return VERSION + self.wire_format.to_bytes(2) + self.framed

    def tbs(self, context: bytes) -> bytes:
        """FramedContentTBS (RFC 9420, 6.1) in the epoch with this (encoded) GroupContext."""
        if self.sender[0] in (MEMBER, NEW_MEMBER_COMMIT):
            return self.signed_part + context
        return self.signed_part

    @property
    def auth(self) -> bytes:
        """FramedContentAuthData, encoded."""
        if self.content_type == COMMIT:
            return vl(self.signature) + vl(self.confirmation_tag)
        return vl(self.signature)

    @property
    def raw(self) -> bytes:
        """AuthenticatedContent, encoded."""
        return self.wire_format.to_bytes(2) + self.framed + self.auth

    @property
    def confirmed_input(self) -> bytes:
        """ConfirmedTranscriptHashInput (RFC 9420, 8.2)."""
        return self.wire_format.to_bytes(2) + self.framed + vl(self.signature)

    def proposal_ref(self, suite: CipherSuite) -> bytes:
        """ProposalRef (RFC 9420, 5.2): over all of this, wire format and signature included."""
        return suite.ref_hash(_PROPOSAL_REF_LABEL, self.raw)


def frame(
    group_id: bytes,
    epoch: int,
    sender: Sender,
    authenticated_data: bytes,
    content_type: int,
    content: bytes,
) -> bytes:
    """FramedContent around content that is encoded already."""
    return b"".join(
        (
            vl(group_id),
            UINT64.write(epoch),
            SENDER.write(sender),
            vl(authenticated_data),
            UINT8.write(content_type),
            content,
        )
    )


def encode_content(content: Content) -> tuple[int, bytes]:
    """(ContentType, encoded content)."""
    if isinstance(content, bytes):
        return APPLICATION, vl(content)
    if isinstance(content, Proposal):
        return PROPOSAL_CONTENT, PROPOSAL.write(content)
    return COMMIT, COMMIT_CODEC.write(content)


def sign_content(
    signer: Signer,
    context: bytes,
    wire_format: int,
    group_id: bytes,
    epoch: int,
    leaf: int,
    content: Content,
    authenticated_data: bytes = b"",
) -> AuthenticatedContent:
    """A member's content, signed for this wire format. A commit's confirmation tag is set afterwards."""
    if wire_format == PUBLIC_MESSAGE and isinstance(content, bytes):
        raise UsageError("application data is never sent as a PublicMessage (RFC 9420, 6)")
    content_type, encoded = encode_content(content)
    sender: Sender = (MEMBER, leaf)
    framed = frame(group_id, epoch, sender, authenticated_data, content_type, encoded)
    signed = AuthenticatedContent(
        wire_format, group_id, epoch, sender, authenticated_data, content_type, content, framed
    )
    signed.signature = signer.sign(labeled(_TBS_LABEL, signed.tbs(context)))
    return signed


def signed_head(wire_format: int, group_id_and_epoch: bytes, leaf: int) -> bytes:
    """FramedContentTBS of a member up to authenticated_data: the same for all its messages of an epoch."""
    return b"".join((VERSION, wire_format.to_bytes(2), group_id_and_epoch, SENDER.write((MEMBER, leaf))))


def sign_application(
    signer: Signer, context: bytes, head: bytes, authenticated_data: bytes, data: bytes
) -> tuple[bytes, bytes]:
    """(signature, encoded content) of application data; ``head`` is signed_head for a PrivateMessage."""
    encoded = vl(data)
    tbs = b"".join((head, vl(authenticated_data), b"\x01", encoded, context))
    return signer.sign(labeled(_TBS_LABEL, tbs)), encoded


def signature_input(content: AuthenticatedContent, context: bytes) -> bytes:
    """What the signature of this content covers, label included."""
    return labeled(_TBS_LABEL, content.tbs(context))


def _read_auth(data: bytes, at: int, content_type: int) -> tuple[bytes, bytes, int]:
    signature, at = read_opaque(data, at)
    tag = b""
    if content_type == COMMIT:
        tag, at = read_opaque(data, at)
    return signature, tag, at


def _read_authenticated(data: bytes, at: int, wire_format: int) -> tuple[AuthenticatedContent, int]:
    start = at
    group_id, at = read_opaque(data, at)
    epoch, at = UINT64.read(data, at)
    sender, at = SENDER.read(data, at)
    authenticated_data, at = read_opaque(data, at)
    content_type, at = UINT8.read(data, at)
    codec = _CONTENT.get(content_type)
    if codec is None:
        raise Malformed(f"an unknown content type: {content_type}")
    content, at = codec.read(data, at)
    framed = data[start:at]
    signature, tag, at = _read_auth(data, at, content_type)
    return (
        AuthenticatedContent(
            wire_format,
            group_id,
            epoch,
            sender,
            authenticated_data,
            content_type,
            content,
            framed,
            signature,
            tag,
        ),
        at,
    )


def read_authenticated_content(data: bytes) -> AuthenticatedContent:
    """Parse an AuthenticatedContent. Raises Malformed."""
    wire_format, at = UINT16.read(data, 0)
    content, at = _read_authenticated(data, at, wire_format)
    if at != len(data):
        raise Malformed("bytes follow the AuthenticatedContent")
    return content


# PublicMessage (RFC 9420, 6.2)


@dataclass(slots=True, eq=False)
class PublicMessage:
    """struct { FramedContent content; FramedContentAuthData auth; [MAC membership_tag;] } PublicMessage;."""

    content: AuthenticatedContent
    membership_tag: bytes  # empty unless a member sent it


def write_public(content: AuthenticatedContent, membership_tag: bytes) -> bytes:
    """PublicMessage, without the MLSMessage header."""
    body = content.framed + content.auth
    return body + vl(membership_tag) if content.sender[0] == MEMBER else body


def read_public(data: bytes, at: int = 0) -> PublicMessage:
    """Parse a PublicMessage that fills ``data`` from ``at`` on. Raises Malformed."""
    content, at = _read_authenticated(data, at, PUBLIC_MESSAGE)
    tag = b""
    if content.sender[0] == MEMBER:
        tag, at = read_opaque(data, at)
    if at != len(data):
        raise Malformed("bytes follow the PublicMessage")
    return PublicMessage(content, tag)


def membership_input(content: AuthenticatedContent, context: bytes) -> bytes:
    """AuthenticatedContentTBM (RFC 9420, 6.2)."""
    return content.tbs(context) + content.auth


# PrivateMessage (RFC 9420, 6.3)


@dataclass(slots=True, eq=False)
class PrivateMessage:
    """A PrivateMessage taken apart; nothing of it is authentic yet."""

    group_id: bytes
    epoch: int
    content_type: int
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes
    aad: bytes  # PrivateContentAAD: everything before encrypted_sender_data
    sender_data_aad: bytes  # SenderDataAAD: everything before authenticated_data


def read_private(data: bytes, at: int = 0) -> PrivateMessage:
    """Parse a PrivateMessage that fills ``data`` from ``at`` on. Raises Malformed.

    struct {
        opaque group_id<V>;
        uint64 epoch;
        ContentType content_type;
        opaque authenticated_data<V>;
        opaque encrypted_sender_data<V>;
        opaque ciphertext<V>;
    } PrivateMessage;
    """
    start = at
    group_id, at = read_opaque(data, at)
    middle = at + 9
    if middle > len(data):
        raise Malformed("cut short")
    content_type = data[middle - 1]
    authenticated_data, end = read_opaque(data, middle)
    encrypted_sender_data, at2 = read_opaque(data, end)
    ciphertext, last = read_opaque(data, at2)
    if last != len(data):
        raise Malformed("bytes follow the PrivateMessage")
    if not APPLICATION <= content_type <= COMMIT:
        raise Malformed(f"an unknown content type: {content_type}")
    return PrivateMessage(
        group_id,
        int.from_bytes(data[at : at + 8]),
        content_type,
        authenticated_data,
        encrypted_sender_data,
        ciphertext,
        data[start:end],
        data[start:middle],
    )


def write_private(message: PrivateMessage) -> bytes:
    """PrivateMessage, without the MLSMessage header."""
    return message.aad + vl(message.encrypted_sender_data) + vl(message.ciphertext)


def ratchet_kind(content_type: int) -> str:
    """Which ratchet encrypts content of this type: one for proposals and commits, one for application data."""
    return APPLICATION_RATCHET if content_type == APPLICATION else HANDSHAKE


@lru_cache
def _sender_data_infos(key_length: int) -> tuple[bytes, bytes]:
    """The KDFLabels of key and nonce up to their context, which is the sample."""
    return kdf_label(b"key", b"", key_length)[:-2], kdf_label(b"nonce", b"", NONCE_LENGTH)[:-2]


class SenderDataKeys:
    """Derives the key of each message's sender data from the epoch's sender_data_secret (RFC 9420, 6.3.2)."""

    __slots__ = ("_expander", "_key_info", "_nonce_info", "suite")

    def __init__(self, suite: CipherSuite, sender_data_secret: bytes) -> None:
        self.suite = suite
        self._expander = Expander(suite, sender_data_secret)
        self._key_info, self._nonce_info = _sender_data_infos(suite.key_length)

    def of(self, ciphertext: bytes) -> tuple[bytes, bytes]:
        """(key, nonce) for the sender data beside this ciphertext; the sample is its first Nh bytes."""
        suite = self.suite
        tail = vl(ciphertext[: suite.hash_length]) + b"\x01"
        expand = self._expander.expand
        return expand(self._key_info + tail)[: suite.key_length], expand(self._nonce_info + tail)[:NONCE_LENGTH]


def _guarded(nonce: bytes, reuse_guard: bytes) -> bytes:
    """The nonce with its first four bytes XORed with the reuse guard."""
    return (int.from_bytes(nonce) ^ (int.from_bytes(reuse_guard) << 64)).to_bytes(12)


def seal_private(
    keys: SenderDataKeys,
    step: Step,
    reuse_guard: bytes,
    group_id_and_epoch: bytes,
    content_type: int,
    authenticated_data: bytes,
    plaintext: bytes,
) -> bytes:
    """Encrypt PrivateMessageContent with the key of a step; returns the MLSMessage.

    ``group_id_and_epoch`` is both, encoded; ``plaintext`` is content, auth data and padding.
    """
    suite = keys.suite
    sender_data_aad = group_id_and_epoch + content_type.to_bytes(1)
    aad = sender_data_aad + vl(authenticated_data)
    ciphertext = suite.seal(step.key, _guarded(step.nonce, reuse_guard), plaintext, aad)
    key, nonce = keys.of(ciphertext)
    sender_data = step.leaf.to_bytes(4) + step.generation.to_bytes(4) + reuse_guard
    sealed = suite.seal(key, nonce, sender_data, sender_data_aad)
    message = b"".join((_PRIVATE_HEADER, aad, vl(sealed), vl(ciphertext)))
    if len(message) > MAX_MESSAGE:
        raise UsageError(f"a message has at most {MAX_MESSAGE} bytes")
    return message


def open_sender_data(keys: SenderDataKeys, message: PrivateMessage) -> tuple[int, int, bytes]:
    """(leaf index, generation, reuse guard). Raises NotAuthentic or Malformed."""
    if len(message.encrypted_sender_data) != SENDER_DATA_LENGTH + _TAG:
        raise Malformed("sender data of the wrong length")
    key, nonce = keys.of(message.ciphertext)
    data = keys.suite.open(key, nonce, message.encrypted_sender_data, message.sender_data_aad)
    return int.from_bytes(data[:4]), int.from_bytes(data[4:8]), data[8:]


def open_private(
    suite: CipherSuite, message: PrivateMessage, step: Step, reuse_guard: bytes
) -> AuthenticatedContent:
    """Decrypt and parse; the signature is the caller's to check. Raises NotAuthentic or Malformed."""
    plaintext = suite.open(step.key, _guarded(step.nonce, reuse_guard), message.ciphertext, message.aad)
    content_type = message.content_type
    content, end = _CONTENT[content_type].read(plaintext, 0)
    signature, tag, at = _read_auth(plaintext, end, content_type)
    if plaintext.count(0, at) != len(plaintext) - at:
        raise Malformed("padding that is not all zero")
    framed = b"".join(
        (
            message.sender_data_aad[:-1],
            b"\x01",
            step.leaf.to_bytes(4),
            message.aad[len(message.sender_data_aad) :],
            content_type.to_bytes(1),
            plaintext[:end],
        )
    )
    return AuthenticatedContent(
        PRIVATE_MESSAGE,
        message.group_id,
        message.epoch,
        (MEMBER, step.leaf),
        message.authenticated_data,
        content_type,
        content,
        framed,
        signature,
        tag,
    )


def mls_message(wire_format: int, body: bytes) -> bytes:
    """MLSMessage: version, wire format, body."""
    return VERSION + wire_format.to_bytes(2) + body


def read_header(message: bytes) -> int:
    """The wire format of an MLSMessage. Raises Malformed, also when the message is too long."""
    if len(message) > MAX_MESSAGE:
        raise Malformed(f"a message longer than {MAX_MESSAGE} bytes")
    if len(message) < 4 or message[:2] != VERSION:
        raise Malformed("not an MLSMessage of version 1.0")
    return int.from_bytes(message[2:4])
