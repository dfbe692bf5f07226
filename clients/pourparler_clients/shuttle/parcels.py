"""Parcels: what waits in a side's compartment to be put to that side; and a person's own notes on the room.

A parcel is sealed as a draft of a message is, under an hourly key, and erased with the text that it holds. It names no
other room. Methods that open or seal raise Lacking where the service's half of a key is not at hand.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pourparler_policies import payload
from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.encoding import encode
from pourparler_policies.limits import KIB
from pourparler_policies.payload import Shuttle
from pourparler_policies.shuttle.carrying import life_at_service
from pourparler_policies.shuttle.crossing import Parcel
from pourparler_policies.shuttle.events import MAX_EVENT, Put

from ..errors import Lacking, UserError
from ..log import Log
from ..outbox import Kind

MAX_NOTE: Final = 32 * KIB  # bytes of UTF-8


@dataclass(frozen=True, slots=True)
class Waiting:
    """A parcel. Times are Unix seconds."""

    ticket: bytes  # by which the compartment that claims it knows it
    id: bytes  # of the message that it will be
    leaves: int  # 0: not claimed yet
    ends: int  # when the text ends
    put: Put


@dataclass(frozen=True, slots=True)
class Note:
    """A person's own. `about`: a carried message's id, or empty; `by`: when it was promised (Unix seconds), or 0."""

    text: str
    about: bytes
    by: int


class Parcels:
    """The parcels and notes of one room on this device."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def waiting(self) -> dict[int, Waiting]:
        """By number, oldest first. Raises Lacking."""
        return {
            number: _read(Waiting, content, MAX_EVENT + KIB) for number, content in self._kept(Kind.PARCEL).items()
        }

    def count(self) -> int:
        """How many wait; needs no key."""
        return self._log.store.outbox.count(Kind.PARCEL)

    def state(self, ticket: bytes) -> Parcel:
        """What is here under a ticket. Raises Lacking."""
        found = self._find(ticket)
        if found is None:
            return Parcel.NONE
        return Parcel.LEAVING if found[1].leaves else Parcel.PREPARED

    def prepare(self, ticket: bytes, put: Put, ends: int, leaves: int = 0) -> bytes:
        """A parcel, in place of one that was prepared under this ticket; it leaves when `leaves` has come, if that is
        not 0. Returns the id of the message that it will be. Raises Lacking, UserError.
        """
        earlier = self._find(ticket)
        waiting = Waiting(ticket, os.urandom(16), leaves, ends, put)
        with self._log.step():
            if earlier is not None:
                self._drop(earlier[0])
            self._keep(Kind.PARCEL, encode(waiting), ends)
        return waiting.id

    def let_leave(self, ticket: bytes, leaves: int) -> None:
        """It is claimed, and leaves when `leaves` has come. Raises Lacking."""
        found = self._find(ticket)
        if found is None:
            raise UserError("what was prepared for this has ended on this device: nothing leaves")
        with self._log.step():
            self._drop(found[0])
            self._keep(Kind.PARCEL, encode(replace(found[1], leaves=leaves)), found[1].ends)

    def drop(self, ticket: bytes) -> None:
        """Nothing comes of it."""
        found = self._find(ticket)
        if found is not None:
            with self._log.step():
                self._drop(found[0])

    def release(self) -> None:
        """What is due becomes the next thing that this device says in the room. Raises Lacking."""
        log, now = self._log, self._log.clock()
        if not self.count():
            return
        for number, parcel in self.waiting().items():
            life = min(parcel.ends - now, log.charter.retention.messages)
            if parcel.leaves and parcel.leaves <= now and life > 0:
                event = Shuttle.of(parcel.id, life, parcel.put)
                at_service = life_at_service(life, log.charter.retention.messages)
                with log.step():
                    self._drop(number)
                    self._keep(Kind.SAID, payload.encode_events([event]), now + life, at_service)

    # Notes

    def notes(self) -> dict[int, Note]:
        """By number, oldest first. Raises Lacking."""
        return {number: _read(Note, content, MAX_NOTE + KIB) for number, content in self._kept(Kind.NOTE).items()}

    def add_note(self, note: Note, ends: int) -> None:
        """One more, until `ends` (Unix seconds). Raises Lacking, UserError."""
        if not note.text.strip() or len(note.text.encode()) > MAX_NOTE:
            raise UserError(f"a note has 1 to {MAX_NOTE} bytes")
        with self._log.step():
            self._keep(Kind.NOTE, encode(note), ends)

    def drop_note(self, number: int) -> None:
        """A note is erased. Raises UserError, Lacking."""
        if number not in self.notes():
            raise UserError("there is no such note: `pourparler sheet` lists them")
        with self._log.step():
            self._drop(number)

    def _find(self, ticket: bytes) -> tuple[int, Waiting] | None:
        return next(((n, parcel) for n, parcel in self.waiting().items() if parcel.ticket == ticket), None)

    def _kept(self, kind: Kind) -> Mapping[int, bytes]:
        lacking = self._log.store.outbox.lacking(kind, self._log.clock())
        if lacking:
            raise Lacking(lacking[0])
        return self._log.store.outbox.kept(kind)

    def _keep(self, kind: Kind, content: bytes, ends: int, life: int = 1) -> None:
        log = self._log
        end = log.lives.end_of(ends, max(1, ends - log.clock()))
        if ends <= log.clock() or log.store.hours.is_over(end):
            raise UserError("this would have ended already")
        log.store.outbox.add(kind, content, life, ends, end)

    def _drop(self, number: int) -> None:
        self._log.store.outbox.drop(number)
        self._log.erased()


def _read(kind: Any, content: bytes, limit: int) -> Any:
    return decode(kind, content, limit)
