"""Carried messages: what an intermediary takes from one side's room to another's, on terms (DESIGN 4.5).

`events` says what is said about them, `table` is their life, `room` folds a room, `carrying` and `crossing` decide
what may cross and how it crosses once. Pure: no clock, no randomness, no network.
"""

from .events import KINDS, Answer, Event, Fidelity, Judge, Source, Terms, decode_event
from .room import EMPTY, Author, Item, Room, Said, author_of, check_author, fold, thread
from .table import Phase

__all__ = [
    "EMPTY",
    "KINDS",
    "Answer",
    "Author",
    "Event",
    "Fidelity",
    "Item",
    "Judge",
    "Phase",
    "Room",
    "Said",
    "Source",
    "Terms",
    "author_of",
    "check_author",
    "decode_event",
    "fold",
    "thread",
]
