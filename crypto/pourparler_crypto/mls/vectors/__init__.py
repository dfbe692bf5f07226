"""The official test vectors of MLS (mlswg/mls-implementations): recognise a family, check an entry.

A check recomputes what the entry promises through the same functions that groups use, never through copies of
them, and raises when anything differs. Families are told apart by the keys of their entries, because files come
under any name. Nothing here is used by a group.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pourparler_crypto.errors import Unsupported
from pourparler_crypto.mls.suites import is_supported
from pourparler_crypto.mls.vectors import messages, secrets, trees
from pourparler_crypto.mls.vectors.common import Entry, VectorMismatch

# name -> (keys that an entry has and no other family's entry has, check)
FAMILIES: dict[str, tuple[frozenset[str], Callable[[Entry], None]]] = {
    "tree-math": (frozenset(("n_leaves", "n_nodes")), secrets.check_tree_math),
    "deserialization": (frozenset(("vlbytes_header",)), secrets.check_deserialization),
    "crypto-basics": (frozenset(("ref_hash", "expand_with_label")), secrets.check_crypto_basics),
    "secret-tree": (frozenset(("sender_data", "leaves")), secrets.check_secret_tree),
    "key-schedule": (frozenset(("initial_init_secret",)), secrets.check_key_schedule),
    "psk_secret": (frozenset(("psks", "psk_secret")), secrets.check_psk_secret),
    "transcript-hashes": (frozenset(("interim_transcript_hash_before",)), secrets.check_transcript_hashes),
    "welcome": (frozenset(("signer_pub", "welcome")), messages.check_welcome),
    "tree-operations": (frozenset(("proposal_sender", "tree_before")), trees.check_tree_operations),
    "tree-validation": (frozenset(("tree_hashes", "resolutions")), trees.check_tree_validation),
    "treekem": (frozenset(("update_paths", "leaves_private")), trees.check_treekem),
    "message-protection": (frozenset(("proposal_priv", "application_priv")), messages.check_message_protection),
    "messages": (frozenset(("mls_welcome", "mls_group_info")), messages.check_messages),
    "passive-client": (frozenset(("initial_epoch_authenticator", "epochs")), messages.check_passive_client),
}


def family_of(entry: Entry) -> str | None:
    """The family that an entry belongs to, by its keys; None when it is none of them."""
    for name, (keys, _) in FAMILIES.items():
        if keys <= entry.keys():
            return name
    return None


@dataclass(slots=True)
class Report:
    """How many entries passed, failed, or use something that is left out."""

    passed: int = 0
    failed: int = 0
    unsupported: int = 0
    failures: list[str] = field(default_factory=list)  # one sentence each


def check_entry(entry: Entry) -> bool:
    """Check one entry. False when it uses a suite or a part of the RFC that is left out; raises if it fails."""
    family = family_of(entry)
    if family is None:
        raise VectorMismatch("an entry of no known family")
    if not is_supported(entry.get("cipher_suite", 1)):
        return False
    try:
        FAMILIES[family][1](entry)
    except Unsupported:
        return False
    return True


def check_entries(entries: Iterable[Entry]) -> Report:
    """Check every entry of a file; one that fails, in whatever way, does not stop the others."""
    report = Report()
    for number, entry in enumerate(entries):
        try:
            if check_entry(entry):
                report.passed += 1
            else:
                report.unsupported += 1
        except Exception as error:
            report.failed += 1
            report.failures.append(f"entry {number}: {type(error).__name__}: {error}")
    return report
