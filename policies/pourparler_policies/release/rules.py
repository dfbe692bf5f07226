"""What a joint release needs of a charter, as plain data (times in seconds)."""

from dataclasses import dataclass
from enum import StrEnum

from pourparler_policies.charter import Charter


class Signatories(StrEnum):
    """In whose name a joint text may be published."""

    PARTIES = "parties"
    PERSONS = "persons"
    UNNAMED = "participants unnamed"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """The charter's rules of release, and the two lives that bound it."""

    signatories: Signatories
    sign_within: int  # an appointment stays open at most
    deposit_within: int  # after the sign deadline, for devices to complete
    stop: bool  # whether any party may stop a signed text before its hour
    stop_until: int  # before the hour it can no longer be stopped
    papers: int  # longest life of a text on the table
    absence: int  # longest embargo: nobody keeps an unfinished signature longer than a device may be silent


def release_rules(charter: Charter) -> ReleaseRules:
    """The rules of release that a charter sets."""
    return ReleaseRules(
        signatories=Signatories(charter.release.signatories),
        sign_within=charter.release.sign_within,
        deposit_within=charter.release.deposit_within,
        stop=charter.release.stop == "any party",
        stop_until=charter.release.stop_until,
        papers=charter.retention.papers,
        absence=charter.retention.absence,
    )
