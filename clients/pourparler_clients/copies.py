"""Parallel texts: each side first in its own copy. They follow from the first copy, so that one text is agreed on.

Copy k has the same words and the signatories from number k on, round to the one before. All are completed together,
each under signatures of its own (`crypto/note`, `crypto/jr2`). DESIGN 6.1.
"""

from dataclasses import replace

from pourparler_crypto.note import Communique, Signatory

from .errors import UserError


def copies_of(first: Communique) -> tuple[Communique, ...]:
    """All copies of a text, the first one as it is on the table. Raises UserError."""
    foot = first.foot
    if foot.copy != 1 or foot.copies not in (1, len(foot.signatories)):
        raise UserError("there is one text for all, or one copy for each signatory; the first is on the table")
    return tuple(
        replace(first, foot=replace(foot, copy=number, signatories=_from(first, number - 1)))
        for number in range(1, foot.copies + 1)
    )


def in_copies(communique: Communique) -> Communique:
    """The first of as many copies as there are signatories."""
    return replace(communique, foot=replace(communique.foot, copies=len(communique.foot.signatories)))


def _from(first: Communique, start: int) -> tuple[Signatory, ...]:
    signatories = first.foot.signatories
    return (*signatories[start:], *signatories[:start])
