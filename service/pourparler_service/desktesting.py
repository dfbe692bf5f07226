"""For tests: parties that are ready to sign, and their bare client of the desk. No product code imports this."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import httpx

from pourparler_crypto.jr2 import Case, Round, Terms
from pourparler_crypto.jr2.testing import Party, play
from pourparler_crypto.note import Audience, Communique, Foot, Note, Relation, ReleaseKey, assemble
from pourparler_crypto.note.testing import signatories
from pourparler_policies import wire
from pourparler_policies.wire import Route

from .testing import b64, body

START: Final = 1_800_000_000  # Unix seconds: when a test's clock begins
TERMS: Final = Terms(START + 1000, START + 2000, START + 10_000, 3600)

ENGLISH: Final = (
    "Joint communiqué\n\nThe delegations met from 1 to 3 December 2026.\n\n"
    "They agreed to exchange 12 lists (3–5 a side)."
)
PERSIAN: Final = (
    "بیانیهٔ مشترک\n\nهیئت‌ها از ۱ تا ۳ دسامبر ۲۰۲۶ دیدار کردند.\n\n"
    "آن‌ها با تبادل ۱۲ فهرست موافقت کردند؛ ناظر: UN Mission (بخش 5-10)."
)


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = START

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@dataclass
class Signing:
    """A round after R3: everybody's check has passed, nobody has signed."""

    keys: list[ReleaseKey]
    texts: list[Communique]
    terms: Terms = TERMS
    parties: list[Party] = field(default_factory=list)

    def __post_init__(self) -> None:
        about = Round(os.urandom(32), tuple(one.text for one in self.texts), self.texts[0].keys, self.terms)
        self.parties = [Party(about, key) for key in self.keys]
        play(self.parties)
        self._ready = self.parties[0].ready()

    @property
    def case(self) -> Case:
        """As every client computes it."""
        return self._ready.case

    @property
    def handle(self) -> bytes:
        """Its name at the desk."""
        return self.case.handle

    @property
    def opening(self) -> wire.OpenCase:
        """What opens it."""
        return wire.OpenCase(case=self.case.encode(), bundle=self._ready.bundle)

    @cached_property
    def masks(self) -> list[bytes]:
        """R4 of all: everybody has signed."""
        return [party.sign() for party in self.parties]

    @cached_property
    def shares(self) -> list[bytes]:
        """R5 of all."""
        found = [party.receive(self.masks) for party in self.parties]
        return [one for one in found if one is not None]

    def finished(self) -> tuple[Note, ...]:
        """As any party completes it by itself."""
        return assemble(self.parties[0].finish(self.shares))

    # --- at the desk ------------------------------------------------------------------------------------------

    def open(self, client: httpx.Client) -> httpx.Response:
        """Open the case."""
        return client.post(Route.DESK, content=body(self.opening), headers=_JSON)

    def send(self, client: httpx.Client, route: Route, message: bytes) -> httpx.Response:
        """A deposit, withdrawal or stop."""
        asked = wire.CaseMessage(message=message)
        return client.post(self.path(route), content=body(asked), headers=_JSON)

    def deposit(self, client: httpx.Client, *messages: bytes) -> None:
        """Deposits, which must be taken."""
        for message in messages:
            self.send(client, Route.CASE_DEPOSIT, message).raise_for_status()

    def ask(self, client: httpx.Client) -> wire.Case:
        """What the desk says."""
        told = client.get(self.path(Route.CASE))
        told.raise_for_status()
        return wire.Case.model_validate_json(told.content)

    def path(self, route: Route) -> str:
        """A place of this case."""
        return route.replace("{handle}", b64(self.handle))


_JSON: Final = {"Content-Type": "application/json"}


def keys(count: int) -> list[ReleaseKey]:
    """Fresh release keys."""
    return [ReleaseKey.generate() for _ in range(count)]


def communique(
    signers: Sequence[ReleaseKey],
    words: Sequence[str] = (ENGLISH, PERSIAN),
    languages: Sequence[str] = ("en", "fa"),
    *,
    terms: Terms = TERMS,
    audience: Audience = Audience.BOARD,
    relation: Relation | None = None,
    release: bytes | None = None,
) -> Communique:
    """For the board, in two languages, unless told otherwise."""
    foot = Foot(
        release or os.urandom(16),
        signatories(signers),
        tuple(languages),
        terms.not_before,
        audience,
        card=bytes(32) if audience is Audience.CARD else b"",
        relation=relation,
    )
    return Communique(tuple(words), foot)


def copies(signers: Sequence[ReleaseKey], terms: Terms = TERMS) -> list[Communique]:
    """Parallel texts: each side first in its own."""
    foot = communique(signers, terms=terms).foot
    found = []
    for i in range(len(signers)):
        order = foot.signatories[i:] + foot.signatories[:i]
        own = replace(foot, signatories=order, copy=i + 1, copies=len(signers))
        found.append(Communique((f"Copy of {order[0].name}: they have met.", "دیدار کردند."), own))
    return found


def prepared(count: int = 3, terms: Terms = TERMS, **changes: object) -> Signing:
    """So many parties, ready to sign one text."""
    signers = keys(count)
    return Signing(signers, [communique(signers, terms=terms, **changes)], terms)  # type: ignore[arg-type]


def publish(client: httpx.Client, clock: Clock, signing: Signing) -> wire.Case:
    """The whole of it at a desk: open, sign, deposit, wait."""
    signing.open(client).raise_for_status()
    signing.deposit(client, *signing.masks)
    signing.deposit(client, *signing.shares)
    clock.now = max(clock.now, signing.terms.not_before)
    return signing.ask(client)
