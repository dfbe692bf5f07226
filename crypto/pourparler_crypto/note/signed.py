"""Signed notes (C2SP signed-note): the text, an empty line, one signature line a key.

    — example.org/mission Cgsabc…=          em dash, space, key name, space, base64 of key ID (4 bytes) ‖
    signature (64)

A communiqué's note is narrower than C2SP's: exactly one line for each signatory, in the text's order, and no
other. A C2SP reader ignores lines of keys that it does not know; here they are refused, since a communiqué
says itself who signs it. Every note that passes here is a signed note for any C2SP reader.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pourparler_crypto.errors import NotAuthentic, UsageError
from pourparler_crypto.jr2.round import Round
from pourparler_crypto.jr2.signatures import SIGNATURE_LENGTH, Completed, verify
from pourparler_crypto.note.communique import (
    FORMAT,
    MAX_SIGNATORIES,
    MAX_TEXT,
    Audience,
    Communique,
    Role,
    text_lines,
)
from pourparler_crypto.note.presskey import KEY_ID_LENGTH, MAX_KEY_NAME, PressKey
from pourparler_crypto.note.refusals import Refusal, Refused

_DASH: Final = "\u2014 "
_ENCODED: Final = 92  # characters of base64 for 68 bytes
MAX_NOTE: Final = MAX_TEXT + 1 + MAX_SIGNATORIES * (4 + MAX_KEY_NAME + 1 + _ENCODED + 1)  # bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A communiqué and its signatures (64 bytes each, in the text's order). *Not verified*: `check` does that."""

    communique: Communique
    signatures: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.signatures) != len(self.communique.foot.signatories):
            raise Refused(Refusal.MISSING_SIGNATURE)
        if {len(signature) for signature in self.signatures} != {SIGNATURE_LENGTH}:
            raise UsageError("an Ed25519 signature has 64 bytes")

    def encode(self) -> bytes:
        """The file: at most MAX_NOTE bytes."""
        lines = (
            f"{_DASH}{party.key.name} {base64.b64encode(party.key.key_id + signature).decode()}\n"
            for party, signature in zip(self.communique.foot.signatories, self.signatures, strict=True)
        )
        return self.communique.text + b"\n" + "".join(lines).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """The note that has exactly these bytes. Raises Refused."""
        lines = text_lines(data, MAX_NOTE)
        if "" not in lines:
            raise Refused(Refusal.NO_SIGNATURES)
        last_empty = len(lines) - 1 - lines[::-1].index("")
        text = "".join(f"{line}\n" for line in lines[:last_empty]).encode()
        if last_empty == len(lines) - 1 or lines[last_empty + 1] == FORMAT:
            # The last empty line ends the file, or is the one before the foot: a text without signatures.
            raise Refused(Refusal.NO_SIGNATURES)
        communique = Communique.parse(text)
        known = {(party.key.name, party.key.key_id): party.key for party in communique.foot.signatories}
        found: dict[bytes, bytes] = {}
        for number, line in enumerate(lines[last_empty + 1 :], last_empty + 2):
            key, signature = _read_line(line, number, known)
            if key.public in found:
                raise Refused(Refusal.DUPLICATE, number)
            found[key.public] = signature
        if len(found) != len(communique.keys):
            raise Refused(Refusal.MISSING_SIGNATURE)
        if tuple(found) != communique.keys:
            raise Refused(Refusal.ORDER)
        return cls(communique, tuple(found.values()))

    def check(self) -> None:
        """Every signature verifies under the key that the text names, or NotAuthentic is raised.

        Says nothing about whose keys these are: see `verifying`.
        """
        for party, signature in zip(self.communique.foot.signatories, self.signatures, strict=True):
            try:
                verify(party.key.public, self.communique.text, signature)
            except NotAuthentic:
                raise NotAuthentic(
                    f"The signature of {party.key.name} does not verify: the text or the signature was altered."
                ) from None


def _read_line(line: str, number: int, known: Mapping[tuple[str, bytes], PressKey]) -> tuple[PressKey, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] + " " != _DASH or len(parts[2]) != _ENCODED:
        raise Refused(Refusal.JUNK_LINE, number)
    try:
        body = base64.b64decode(parts[2], validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Refusal.JUNK_LINE, number) from None
    if len(body) != KEY_ID_LENGTH + SIGNATURE_LENGTH or base64.b64encode(body).decode() != parts[2]:
        raise Refused(Refusal.JUNK_LINE, number)
    key = known.get((parts[1], body[:KEY_ID_LENGTH]))
    if key is None:
        raise Refused(Refusal.UNKNOWN_KEY, number)
    return key, body[KEY_ID_LENGTH:]


def check_parallel(copies: Sequence[Communique]) -> None:
    """Copies that are completed together: number 1 to N of N, same release, signatories, audience, times and
    relation.

    Each has its own order of signatories (each side first in its own copy) and its own words. Raises Refused.
    """
    feet = [copy.foot for copy in copies]
    if not feet or [foot.copy for foot in feet] != list(range(1, feet[0].copies + 1)):
        raise Refused(Refusal.PARALLEL)
    shared = {
        (
            foot.release,
            foot.copies,
            frozenset(foot.signatories),
            foot.audience,
            foot.card,
            foot.not_before,
            foot.relation,
        )
        for foot in feet
    }
    if len(shared) != 1:
        raise Refused(Refusal.PARALLEL)


def check_round(about: Round, copies: Sequence[Communique]) -> None:
    """A round is about exactly these texts, signed by exactly who they say, and not published before they say.

    What a client checks before R1 (DESIGN 6.2, #34). The parties' order is that of the first copy. Raises Refused.
    """
    check_parallel(copies)
    if about.texts != tuple(copy.text for copy in copies) or about.keys != copies[0].keys:
        raise Refused(Refusal.PARALLEL)
    foot = copies[0].foot
    if about.terms.not_before != foot.not_before or about.private != (foot.audience is not Audience.BOARD):
        raise Refused(Refusal.PARALLEL)


def parallel(first: Communique) -> tuple[Communique, ...]:
    """The copies of a text that says how many there are: in copy i signatory i comes first, then the others in their
    order; witnesses stay last. `first` is copy 1; of a text without copies it is the only one. Raises Refused.
    """
    foot = first.foot
    if foot.copy != 1:
        raise Refused(Refusal.PARALLEL)
    parties = [one for one in foot.signatories if one.role is Role.SIGNATORY]
    if foot.copies == 1:
        return (first,)
    if foot.copies != len(parties):
        raise Refused(Refusal.PARALLEL)
    copies = []
    for number in range(1, foot.copies + 1):
        at = number - 1
        order = (parties[at], *parties[:at], *parties[at + 1 :], *foot.signatories[len(parties) :])
        copies.append(replace(first, foot=replace(foot, signatories=order, copy=number)))
    check_parallel(copies)
    return tuple(copies)


def assemble(completed: Iterable[Completed]) -> tuple[Note, ...]:
    """The notes of a completed release, in the order of its texts. Raises Refused, NotAuthentic."""
    notes = []
    for one in completed:
        communique = Communique.parse(one.text)
        signatures = dict(zip(one.keys, one.signatures, strict=True))
        if set(communique.keys) != set(signatures):
            raise Refused(Refusal.UNKNOWN_KEY)
        note = Note(communique, tuple(signatures[key] for key in communique.keys))
        note.check()
        notes.append(note)
    return tuple(notes)
