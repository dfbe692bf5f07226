"""Communiqués as C2SP signed notes: what is signed, what is refused, and how anybody verifies it.

the text        Communique(words, Foot(release, signatories, languages, not_before, …)); .text, .digest, .keys;
                Communique.parse(text); check_parallel(copies), check_round(round, copies) before R1
                parallel(first copy) -> all copies; check_words(words of one language), before it is put together
the note        assemble(completed) -> Note …; Note.parse(bytes), .encode(), .check()
refusals        Refused(.refusal, .line), a Malformed; Refusal is the closed list, its value the sentence
keys            ReleaseKey (secret), PressKey(name, public): str() to publish, .digits to compare; parse
                seal_backup(key, name, passphrase), open_backup(text, passphrase)
one reader      seal_brief(note, card) -> a line of text; open_brief(line, card key, name) -> Note, verified
verifying       verify(note, KeyBook.parse(book)) -> Verified: .signatures with .owner, .suspect, .sentence
"""

from pourparler_crypto.note.backup import open_backup, seal_backup
from pourparler_crypto.note.brief import MAX_BRIEF, open_brief, seal_brief
from pourparler_crypto.note.characters import check_characters
from pourparler_crypto.note.communique import (
    FORMAT,
    MAX_LANGUAGES,
    MAX_SIGNATORIES,
    MAX_TEXT,
    Act,
    Audience,
    Communique,
    Foot,
    Relation,
    Role,
    Signatory,
    check_words,
)
from pourparler_crypto.note.presskey import PressKey
from pourparler_crypto.note.refusals import Refusal, Refused
from pourparler_crypto.note.signed import MAX_NOTE, Note, assemble, check_parallel, check_round, parallel
from pourparler_crypto.note.verifying import KeyBook, Signed, Verified, verify
from pourparler_crypto.releasekey import ReleaseKey

__all__ = [
    "FORMAT",
    "MAX_BRIEF",
    "MAX_LANGUAGES",
    "MAX_NOTE",
    "MAX_SIGNATORIES",
    "MAX_TEXT",
    "Act",
    "Audience",
    "Communique",
    "Foot",
    "KeyBook",
    "Note",
    "PressKey",
    "Refusal",
    "Refused",
    "Relation",
    "ReleaseKey",
    "Role",
    "Signatory",
    "Signed",
    "Verified",
    "assemble",
    "check_characters",
    "check_parallel",
    "check_round",
    "check_words",
    "open_backup",
    "open_brief",
    "parallel",
    "seal_backup",
    "seal_brief",
    "verify",
]
