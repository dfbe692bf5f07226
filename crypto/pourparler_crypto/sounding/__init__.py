"""Soundings (DESIGN 4.5): a sealed question whose only answer is "all accept" or "not all accept".

`docs/soundings.md` has the argument, the attacks and the limits. The map:

    without a dealer    About(agreed, parties, packages); begin -> Begun .commitment(about), then .opening();
    (`common`)          check_commitments, registered(…) -> Tally; prepare(…) -> Answer, and Begun is erased
    dealt (`dealt`)     deal(…) -> Tally, shares; Share.seal_to(card, tally); receive(key, sealed, …) -> Share;
                        prepare(tally, share) -> Answer, and the share is erased
    before a channel    inquiry.inquire(…) -> Tally, what goes to each card; Inquiry.open_with(key, …); names_of(…)
    a person's word     answered(tally, Answer, accepts) -> Answer: its bytes tell nothing of the word
    the service         Tally.decode, .handle, .slot_of(token), .check_values, .filling, .counted(rows) -> Counted
    the result          Tally.common(Counted) -> the package that all accept, or None: not all accept
    errors              Unregistered (a party), BadDeal (the dealer), NotTheSum (the service); `errors.py`
"""

from . import common, dealt, inquiry
from .answering import Answer, answered
from .common import About, Begun
from .dealt import Share
from .errors import BadDeal, NotTheSum, Unregistered
from .tally import (
    HANDLE_LENGTH,
    MAX_PACKAGES,
    MAX_PARTIES,
    MAX_TALLY,
    MIN_PARTIES,
    TOKEN_LENGTH,
    VALUE_LENGTH,
    Counted,
    Form,
    Tally,
)

__all__ = [
    "HANDLE_LENGTH",
    "MAX_PACKAGES",
    "MAX_PARTIES",
    "MAX_TALLY",
    "MIN_PARTIES",
    "TOKEN_LENGTH",
    "VALUE_LENGTH",
    "About",
    "Answer",
    "BadDeal",
    "Begun",
    "Counted",
    "Form",
    "NotTheSum",
    "Share",
    "Tally",
    "Unregistered",
    "answered",
    "common",
    "dealt",
    "inquiry",
]
