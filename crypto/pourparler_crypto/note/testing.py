"""Communiqués and notes for tests: `a_communique`, `a_note`. No product code imports this module."""

import os
from collections.abc import Sequence
from dataclasses import replace

from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.jr2.round import Round
from pourparler_crypto.jr2.testing import TERMS, Party, release
from pourparler_crypto.note.communique import Audience, Communique, Foot, Signatory
from pourparler_crypto.note.presskey import PressKey
from pourparler_crypto.note.signed import Note, assemble, check_round
from pourparler_crypto.releasekey import ReleaseKey

WORDS = "The parties have met.\n\nThey will meet again."
NAMES = ("Northern Assembly", "Southern League", "شورای شرق", "République de l’Ouest")


def signatories(keys: Sequence[ReleaseKey]) -> tuple[Signatory, ...]:
    """Named parties with these keys, in their order."""
    return tuple(
        Signatory(
            NAMES[i] if i < len(NAMES) else f"Party {i + 1}", PressKey(f"party-{i + 1}.example/press", key.public)
        )
        for i, key in enumerate(keys)
    )


def a_foot(
    keys: Sequence[ReleaseKey], languages: tuple[str, ...] = ("en",), release_id: bytes = bytes(16)
) -> Foot:
    """A foot for the board, with the test terms' not-before time."""
    return Foot(release_id, signatories(keys), languages, TERMS.not_before)


def a_communique(keys: Sequence[ReleaseKey], words: str = WORDS) -> Communique:
    """In one language."""
    return Communique((words,), a_foot(keys))


def copies(keys: Sequence[ReleaseKey]) -> list[Communique]:
    """Parallel texts: one for each party, which stands first in its own."""
    foot = a_foot(keys)
    found = []
    for i in range(len(keys)):
        order = foot.signatories[i:] + foot.signatories[:i]
        own = replace(foot, signatories=order, copy=i + 1, copies=len(keys))
        found.append(Communique((f"{order[0].name} and the others have met.",), own))
    return found


def released(
    keys: Sequence[ReleaseKey], texts: Sequence[Communique], nonce: bytes | None = None
) -> tuple[Note, ...]:
    """The notes of a joint release of these texts, by all of its steps: at the test terms' times, or at earlier or
    later ones when the texts name another time.
    """
    shift = texts[0].foot.not_before - TERMS.not_before
    terms = replace(
        TERMS,
        sign_by=TERMS.sign_by + shift,
        deposit_by=TERMS.deposit_by + shift,
        not_before=TERMS.not_before + shift,
    )
    private = texts[0].foot.audience is not Audience.BOARD
    about = Round(nonce or os.urandom(32), tuple(text.text for text in texts), texts[0].keys, terms, private)
    check_round(about, texts)
    everyone = [Party(about, key) for key in keys]
    try:
        return assemble(release(everyone)[1])
    except NotAuthentic:  # the desk cannot complete what is not for the board: a party does
        return assemble(everyone[0].finish([party.sent[-1] for party in everyone]))


def a_note(count: int = 3) -> tuple[list[ReleaseKey], Note]:
    """Fresh keys and a completed note."""
    keys = [ReleaseKey.generate() for _ in range(count)]
    (note,) = released(keys, [a_communique(keys)])
    return keys, note
