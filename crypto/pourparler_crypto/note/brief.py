"""A completed note for one reader: sealed to that reader's card, as one line of text that any way may carry.

1. It is sealed to the card that the text itself names, and to no other.
2. Its length says no more than a size class. Anybody could have sealed it: only the note inside is signed.
3. What is opened is verified: every signature, and that the text names this reader.

HPKE as for invitations. A card's key is long-lived: who gets it later, with its passphrase, opens what was kept.
"""

import base64
import binascii
from typing import Final

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.encoding import lp, pad, unpad
from pourparler_crypto.errors import Malformed, NotAuthentic, UsageError
from pourparler_crypto.note.communique import Audience
from pourparler_crypto.note.signed import Note

SIZES: Final = tuple(size * 1024 for size in (4, 16, 64, 320))  # bytes of a padded note: what its length shows
MAX_BRIEF: Final = 512 * 1024  # characters
_PREFIX: Final = "pourparler-brief:"
_INFO: Final = "pourparler/brief/v1"


def seal_brief(note: Note, card: Card) -> str:
    """One line. Raises UsageError unless the text names this card as its reader, NotAuthentic for an unsigned note."""
    foot = note.communique.foot
    if foot.audience is not Audience.CARD or foot.card != card.fingerprint:
        raise UsageError("this text is not for the owner of this card")
    note.check()
    encoded = note.encode()
    size = next(size for size in SIZES if len(encoded) + 4 <= size)
    sealed = card.seal(lp(_INFO, card.fingerprint), pad(encoded, size))
    return _PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def parse_brief(text: str) -> bytes:
    """What is sealed in a brief's line; white space within is ignored. Raises Malformed with the reason."""
    text = "".join(text.split()) if len(text) <= 2 * MAX_BRIEF else text
    if not text.startswith(_PREFIX) or len(text) > MAX_BRIEF:
        raise Malformed("this is not a sealed text for a card")
    body = text.removeprefix(_PREFIX)
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("this sealed text was damaged on its way: ask for it again") from None


def open_brief(text: str, key: CardKey, name: str) -> Note:
    """The note in a brief for this card (`name` is the card's), verified.

    Raises Malformed, or NotAuthentic when it is for another card, was altered, or is not signed by all.
    """
    fingerprint = key.card(name).fingerprint
    note = Note.parse(unpad(key.open(lp(_INFO, fingerprint), parse_brief(text))))
    note.check()
    foot = note.communique.foot
    if foot.audience is not Audience.CARD or foot.card != fingerprint:
        raise NotAuthentic("what is sealed in it was not made for the owner of this card")
    return note
