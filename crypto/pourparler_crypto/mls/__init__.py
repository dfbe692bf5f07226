"""Messaging Layer Security (RFC 9420): the whole public face of the core."""

from pourparler_crypto.mls.extensions import CHARTER
from pourparler_crypto.mls.group import Group, verify_signature
from pourparler_crypto.mls.keypackages import (
    KeyPackageBundle,
    KeyPackageInfo,
    make_key_package,
    read_key_package,
)
from pourparler_crypto.mls.results import (
    ApplicationMessage,
    Member,
    PendingCommit,
    ReceivedProposal,
    StagedCommit,
)
from pourparler_crypto.mls.secrettree import Changes
from pourparler_crypto.mls.state import Records
from pourparler_crypto.mls.suites import (
    SUITE_P256_AES128,
    SUITE_PQ,
    SUITE_X25519_AES128,
    SUITE_X25519_CHACHA,
    SUPPORTED_SUITES,
)

__all__ = [
    "CHARTER",
    "SUITE_P256_AES128",
    "SUITE_PQ",
    "SUITE_X25519_AES128",
    "SUITE_X25519_CHACHA",
    "SUPPORTED_SUITES",
    "ApplicationMessage",
    "Changes",
    "Group",
    "KeyPackageBundle",
    "KeyPackageInfo",
    "Member",
    "PendingCommit",
    "ReceivedProposal",
    "Records",
    "StagedCommit",
    "make_key_package",
    "read_key_package",
    "verify_signature",
]
