"""A state for the vault without the texts it is about: those are kept elsewhere, under keys that expire.

What a party owes, and what it may still take back, needs no text: only pre-signing, checking pre-signatures, sealing
the bundle and completing the note do. So a party that has lost a text, or whose paper is over, still signs for the
desk what it has decided, and withdraws; whatever would need the text raises UsageError.

    lp(form, number ‖ party ‖ count of texts ‖ private, nonce, sid, terms, keys, case or nothing, fields of the state …)

With the nonce, whoever has guessed a text exactly can see that it is the one: sid is a hash.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn, SupportsIndex

from pourparler_crypto.encoding import lp
from pourparler_crypto.errors import Malformed, UsageError
from pourparler_crypto.jr2.case import Case
from pourparler_crypto.jr2.group import POINT_LENGTH
from pourparler_crypto.jr2.round import MAX_TEXTS, Reader, Round, Terms, pieces
from pourparler_crypto.jr2.states import MAX_STATE, STATES, Deposited, Ready, Signed, State

_FORM: Final = b"jr2/veiled state/v1"


class _Hidden(tuple[bytes, ...]):
    """So many texts, none of them at hand."""

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        _refuse()

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        _refuse()


def _refuse() -> NoReturn:
    raise UsageError("the texts of this round are not at hand")


def veil(state: State) -> bytes:
    """For the vault: all of a state but its texts. Raises AlreadyUsed."""
    state.check_usable()
    about = state.round
    settled = state.case.encode() if isinstance(state, Ready | Signed | Deposited) else b""
    numbers = bytes((state.NUMBER, state.party, len(about.texts), about.private))
    head = (_FORM, numbers, about.nonce, about.sid, about.terms.encode(), b"".join(about.keys), settled)
    return lp(*head, *(getattr(state, name) for name in state.FIELDS))


def unveil(data: bytes, texts: Sequence[bytes] = ()) -> State:
    """What `veil` wrote, with its texts if they are given. Raises UsageError, also when the texts are others."""
    if len(data) > MAX_STATE:
        raise UsageError("no state of a joint release is as large as this")
    try:
        reader = Reader(data)
        form, numbers, nonce, sid, terms, keys, settled = (reader.part() for _ in range(7))
        if form != _FORM or len(numbers) != 4 or not 1 <= numbers[2] <= MAX_TEXTS or numbers[3] > 1:
            raise UsageError("this is not a veiled state of a joint release")
        cls = STATES[numbers[0]]
        fields = [reader.part() for _ in cls.FIELDS]
        reader.end()
        points = pieces(keys, POINT_LENGTH)
        if texts:
            about = Round(nonce, tuple(texts), points, Terms.decode(terms), bool(numbers[3]), vetted=True)
            if about.sid != sid or len(texts) != numbers[2]:
                raise UsageError("the state is about other texts")
        else:
            about = _hidden(nonce, numbers, points, Terms.decode(terms), sid)
        state = cls.of(about, numbers[1], fields)
        if settled:
            state.__dict__["case"] = Case.decode(settled)
    except (Malformed, KeyError):
        raise UsageError("this is not a veiled state of a joint release") from None
    return state


def _hidden(nonce: bytes, numbers: bytes, keys: tuple[bytes, ...], terms: Terms, sid: bytes) -> Round:
    about = object.__new__(Round)  # its own check wants the texts, and all else was checked when it was made
    texts = _Hidden([b""] * numbers[2])
    private = bool(numbers[3])
    about.__dict__.update(nonce=nonce, texts=texts, keys=keys, terms=terms, private=private, sid=sid)
    return about
