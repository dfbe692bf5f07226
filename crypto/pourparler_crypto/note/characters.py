"""Which characters a signed text may have: what two readers see alike, and nothing that shows nothing.

Refused are controls, everything that moves the direction of writing (overrides, embeddings, isolates, and the
marks: one of them before "5-10" shows "10-5"), tags, and characters without a reading (unassigned, private,
fillers, variation selectors). Joiners, no-break and zero-width spaces are allowed where a script needs them:
RFC 5892, A.1 and A.2, whose joining types come from `idna`. A client whose Unicode tables are older refuses
more, never less.
"""

import unicodedata
from typing import Final

import idna

from pourparler_crypto.note.refusals import Refusal, Refused

_ZWNJ, _ZWJ, _ZWSP, _NBSP, _NNBSP, _IDEOGRAPHIC = "\u200c", "\u200d", "\u200b", "\u00a0", "\u202f", "\u3000"
_SPACES: Final = frozenset((" ", _NBSP, _NNBSP, _IDEOGRAPHIC))
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Format characters that are seen: the Arabic and Syriac signs that stand over a number or a year.
_VISIBLE_FORMAT: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
# Letters, marks and symbols that show nothing (fillers, grapheme joiner, inherent vowels, braille blank), and the
# characters that stand for a lost one.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\ufffd")
_MONGOLIAN_SELECTORS: Final = frozenset("\u180b\u180c\u180d\u180f")
# Scripts that are written without spaces between words, where ZWSP says where a line may break.
_UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0xA980, 0xA9FF),  # Javanese, Myanmar extended
    (0xAA00, 0xAADF),  # Cham, Myanmar extended, Tai Viet
)
_WINDOW: Final = 64  # characters on each side that decide on a joiner


def check_characters(text: str) -> None:
    """Raises Refused with the line of the first character that may not be there. Newlines are the caller's
    business.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.isascii() and line.isprintable():
            continue
        for position, character in enumerate(line):
            refusal = _refusal(line, position, character)
            if refusal is not None:
                raise Refused(refusal, number)
        if not unicodedata.is_normalized("NFC", line):
            raise Refused(Refusal.NOT_NFC, number)


def _refusal(line: str, position: int, character: str) -> Refusal | None:
    if " " <= character <= "~":
        return None
    category = unicodedata.category(character)
    if category == "Cc":
        return Refusal.CONTROL
    if character in _BIDI:
        return Refusal.BIDI
    if 0xE0000 <= ord(character) <= 0xE007F:
        return Refusal.TAG
    before, after = line[position - 1 : position], line[position + 1 : position + 2]
    if character in (_ZWNJ, _ZWJ):
        return None if _joiner_needed(line, position) else Refusal.JOINER
    if character == _ZWSP:
        needed = (_unspaced(before) or _unspaced(after)) and _holds(before) and _holds(after)
        return None if needed else Refusal.ZERO_WIDTH_SPACE
    if character in (_NBSP, _NNBSP):
        return None if _holds(before) and _holds(after) else Refusal.SPACE
    if category == "Zs":
        return None if character == _IDEOGRAPHIC else Refusal.SPACE
    if character in _MONGOLIAN_SELECTORS:
        return None if "\u1820" <= before <= "\u18aa" else Refusal.WITHOUT_READING
    if category in {"Cn", "Co", "Cs", "Zl", "Zp"} or character in _BLANK or _is_selector(character):
        return Refusal.WITHOUT_READING
    if category == "Cf" and character not in _VISIBLE_FORMAT:
        return Refusal.WITHOUT_READING
    return None


def _joiner_needed(line: str, position: int) -> bool:
    start = max(0, position - _WINDOW)
    around = line[start : position + _WINDOW]
    if any(unicodedata.category(c) in {"Cn", "Co", "Cs", "Cc"} for c in around):
        return False
    return idna.valid_contextj(around, position - start)


def _unspaced(character: str) -> bool:
    return bool(character) and any(first <= ord(character) <= last for first, last in _UNSPACED)


def _holds(character: str) -> bool:
    """Whether there is something there that is seen."""
    return bool(character) and character not in _SPACES and character not in (_ZWSP, _ZWNJ, _ZWJ)


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
