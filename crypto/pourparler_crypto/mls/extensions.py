"""Extensions, credentials and capabilities (RFC 9420, 5.3, 7.2, 11.1, 12.1.8.1, 13).

Unknown extensions and unknown capability values pass; an unknown credential type cannot be skipped, so it does not
parse. No list of extensions has two of one type.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pourparler_crypto.errors import Malformed, NotAcceptable, UsageError
from pourparler_crypto.mls.codec import (
    OPAQUE,
    UINT16,
    UINT16S,
    UINT64,
    Codec,
    interned,
    keeping_raw,
    read_opaque,
    struct,
    tagged,
    vector,
)
from pourparler_crypto.mls.suites import SUPPORTED_SUITES

MLS10 = 1  # ProtocolVersion

# ExtensionType
APPLICATION_ID = 0x0001
RATCHET_TREE = 0x0002
REQUIRED_CAPABILITIES = 0x0003
EXTERNAL_PUB = 0x0004
EXTERNAL_SENDERS = 0x0005
DEFAULT_EXTENSIONS = frozenset(range(0x0001, 0x0006))
# Private use: the one group context extension of Pourparler, the hash of the channel's charter.
CHARTER = 0xF0C4

DEFAULT_PROPOSALS = frozenset(range(0x0001, 0x0008))

# CredentialType
BASIC = 0x0001
X509 = 0x0002

# struct { ExtensionType extension_type; opaque extension_data<V>; } Extension;
Extension = tuple[int, bytes]


def _read_extension(data: bytes, at: int) -> tuple[Extension, int]:
    kind, at = UINT16.read(data, at)
    body, at = read_opaque(data, at)
    return (kind, body), at


_EXTENSION: Codec[Extension] = Codec(
    _read_extension, lambda extension: UINT16.write(extension[0]) + OPAQUE.write(extension[1])
)
_EXTENSION_LIST = vector(_EXTENSION)


def _read_extensions(data: bytes, at: int) -> tuple[tuple[Extension, ...], int]:
    extensions, at = _EXTENSION_LIST.read(data, at)
    if len(extensions) > 1 and len({kind for kind, _ in extensions}) != len(extensions):
        raise Malformed("two extensions of one type (RFC 9420, 13.4)")
    return extensions, at


# Extension extensions<V>;
EXTENSIONS: Codec[tuple[Extension, ...]] = Codec(_read_extensions, _EXTENSION_LIST.write)


def find_extension(extensions: Iterable[Extension], kind: int) -> bytes | None:
    """The data of the extension of this type, or None."""
    for extension_type, body in extensions:
        if extension_type == kind:
            return body
    return None


def check_extension_list(extensions: Iterable[Extension]) -> tuple[Extension, ...]:
    """A caller's list of extensions as a tuple. Raises UsageError when a type occurs twice."""
    result = tuple((kind, bytes(body)) for kind, body in extensions)
    if len({kind for kind, _ in result}) != len(result):
        raise UsageError("two extensions of one type")
    return result


# struct {
#     CredentialType credential_type;
#     select (Credential.credential_type) {
#         case basic: opaque identity<V>;
#         case x509:  Certificate certificates<V>;
#     };
# } Credential;
Credential = tuple[int, bytes | tuple[bytes, ...]]
CREDENTIAL: Codec[Credential] = tagged(UINT16, {BASIC: OPAQUE, X509: vector(OPAQUE)}, "credential type")


@dataclass(slots=True)
class Capabilities:
    """What a client supports, beyond the defaults of RFC 9420, 7.2."""

    versions: tuple[int, ...]
    cipher_suites: tuple[int, ...]
    extensions: tuple[int, ...]
    proposals: tuple[int, ...]
    credentials: tuple[int, ...]
    raw: bytes = b""


# Members that run the same software send the same bytes.
CAPABILITIES = interned(
    keeping_raw(
        struct(
            Capabilities,
            versions=UINT16S,
            cipher_suites=UINT16S,
            extensions=UINT16S,
            proposals=UINT16S,
            credentials=UINT16S,
        )
    )
)


def own_capabilities(extension_types: Iterable[int] = ()) -> Capabilities:
    """What this client supports; ``extension_types`` are application extensions besides the charter's."""
    extensions = dict.fromkeys((CHARTER, *extension_types))
    return Capabilities(
        versions=(MLS10,),
        cipher_suites=SUPPORTED_SUITES,
        extensions=tuple(kind for kind in extensions if kind not in DEFAULT_EXTENSIONS),
        proposals=(),
        credentials=(BASIC,),
    )


@dataclass(slots=True)
class RequiredCapabilities:
    """What every member must support (RFC 9420, 11.1)."""

    extension_types: tuple[int, ...]
    proposal_types: tuple[int, ...]
    credential_types: tuple[int, ...]


_REQUIRED = struct(RequiredCapabilities, extension_types=UINT16S, proposal_types=UINT16S, credential_types=UINT16S)


@dataclass(slots=True)
class Lifetime:
    """Seconds since 1970 between which a KeyPackage may be used."""

    not_before: int
    not_after: int


LIFETIME = struct(Lifetime, not_before=UINT64, not_after=UINT64)


@dataclass(slots=True)
class ExternalSender:
    """Someone outside the group who may propose (RFC 9420, 12.1.8.1)."""

    signature_key: bytes
    credential: Credential


EXTERNAL_SENDER = struct(ExternalSender, signature_key=OPAQUE, credential=CREDENTIAL)
_EXTERNAL_SENDERS = vector(EXTERNAL_SENDER)


@dataclass(slots=True)
class GroupRequirements:
    """What a group context's extensions ask of every leaf. Computed once for each list of extensions."""

    extension_types: frozenset[int]
    proposal_types: frozenset[int]
    credential_types: frozenset[int]
    external_senders: tuple[ExternalSender, ...]
    met_by: set[bytes] = field(default_factory=set)  # encoded capabilities that passed

    def check(self, capabilities: Capabilities) -> None:
        """Raise NotAcceptable unless a member with these capabilities meets them (RFC 9420, 7.3, 13.4)."""
        if capabilities.raw in self.met_by:
            return
        if not self.extension_types <= set(capabilities.extensions):
            raise NotAcceptable("a member does not support an extension that the group uses or requires")
        if not self.proposal_types <= set(capabilities.proposals):
            raise NotAcceptable("a member does not support a proposal type that the group requires")
        if not self.credential_types <= set(capabilities.credentials):
            raise NotAcceptable("a member does not support a credential type that the group requires")
        self.met_by.add(capabilities.raw)


def requirements_of(extensions: Iterable[Extension]) -> GroupRequirements:
    """Read a group context's extensions. Raises Malformed when one of those defined by the RFC does not parse."""
    extensions = tuple(extensions)
    types = {kind for kind, _ in extensions if kind not in DEFAULT_EXTENSIONS}
    proposals: set[int] = set()
    credentials: set[int] = set()
    required = find_extension(extensions, REQUIRED_CAPABILITIES)
    if required is not None:
        asked = _REQUIRED.decode(required, "required_capabilities extension")
        types.update(kind for kind in asked.extension_types if kind not in DEFAULT_EXTENSIONS)
        proposals.update(kind for kind in asked.proposal_types if kind not in DEFAULT_PROPOSALS)
        credentials.update(asked.credential_types)
    senders = find_extension(extensions, EXTERNAL_SENDERS)
    return GroupRequirements(
        extension_types=frozenset(types),
        proposal_types=frozenset(proposals),
        credential_types=frozenset(credentials),
        external_senders=()
        if senders is None
        else _EXTERNAL_SENDERS.decode(senders, "external_senders extension"),
    )
