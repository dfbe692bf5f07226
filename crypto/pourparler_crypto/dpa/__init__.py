"""Deniable pairwise attestation (DESIGN 5): one device learns whose card a leaf has; nobody else does.

A run is four messages each way; `docs/attestation.md` shows them and what was tried against them. Three files hold
the protocol: `pair.py` (what a run is bound to), `formulas.py` (what is computed) and `steps.py` (in which order).
"""

from pourparler_crypto.dpa.errors import AlreadyUsed, Lapsed, NotAttested, OutOfTurn, WrongRun
from pourparler_crypto.dpa.pair import Context, Pair, pair_digits
from pourparler_crypto.dpa.states import LIFE, Challenged, Committed, Opened, Revealed, State, load
from pourparler_crypto.dpa.steps import MAX_OPENINGS, Attested, accept, challenge, commit, open_, reveal
from pourparler_crypto.dpa.wire import SIZES, Kind, peek

__all__ = [
    "LIFE",
    "MAX_OPENINGS",
    "SIZES",
    "AlreadyUsed",
    "Attested",
    "Challenged",
    "Committed",
    "Context",
    "Kind",
    "Lapsed",
    "NotAttested",
    "Opened",
    "OutOfTurn",
    "Pair",
    "Revealed",
    "State",
    "WrongRun",
    "accept",
    "challenge",
    "commit",
    "load",
    "open_",
    "pair_digits",
    "peek",
    "reveal",
]
