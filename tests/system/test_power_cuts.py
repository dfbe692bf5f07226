"""Whoever cuts the power of a device, at whatever step: nothing is lost or done twice, no key is used twice.

A story of two devices is told many times: founding, consent, invitation, attestation, talk, keys, an agreement, a
farewell. In the n-th telling, each act is cut at its n-th step: the device that died goes on from what its disk held,
and the act is done again. The tellings end when no act has an n-th step.
"""

import itertools
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pourparler_clients.errors import Halted, Waits
from pourparler_clients.store import State
from pourparler_clients.testing import House, Keys, Person, PowerCut, charter_of
from pourparler_crypto.mls import Group
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.events import Approved
from pourparler_policies.fold.facts import Phase, Recess
from pourparler_policies.limits import DAY
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess

EARLY = "said in the lobby"
WORDS = ["first", "second"]
ANSWER = "third"
LAST = "fourth"
ROUNDS = 6  # visits of each device until both have attested each other, however often they died


class Story:
    """Two people; one of them dies at a step. Each act can be done again, as a person would do it again."""

    def __init__(self, house: House, ada: Person, ben: Person, cut: int) -> None:
        self.house, self.ada, self.ben, self.cut = house, ada, ben, cut
        self.grant = house.grant()
        self.charter = charter_of([ada.device.card, ben.device.card])
        self.recess = Recess(ada.device.clock() + 30 * DAY)
        self.invitation = ""
        self.box = b""
        self.keys = Keys()
        self.sealed: dict[str, list[bytes]] = {}
        self.seen: dict[str, list[str]] = {"ada": [], "ben": []}
        self.after: dict[str, list[str]] = {"ada": [], "ben": []}  # the agreement: a recess ends what was said
        self.cuts: list[str] = []
        self.counters: dict[str, int] = {}
        self._watch()

    def _watch(self) -> None:
        for name, person in (("ada", self.ada), ("ben", self.ben)):
            person.line.before_request = lambda method, path, person=person: (
                self.keys.learn(person) if method == "POST" and path.endswith("/entries") else None
            )
            self.sealed[name] = person.line.sealed

    async def act(self, what: Callable[[], Awaitable[None]]) -> None:
        """Does an act until it is done; a device that died is opened again from its disk."""
        for person in (self.ada, self.ben):
            person.faults.cut = len(person.faults.steps) + self.cut
        while True:
            try:
                await what()
            except PowerCut as cut:
                self.cuts.append(f"{getattr(what, '__name__', '')}: {re.sub('/v1/.*/', '…/', str(cut))}")
                if not self.ada.faults.alive:
                    self.ada = await self.house.again(self.ada)
                if not self.ben.faults.alive:
                    self.ben = await self.house.again(self.ben)
                self._watch()
            else:
                return

    def acts(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.found,
            self.invite,
            self.answer,
            self.inviter_progress,
            self.offer,
            self.accept,
            self.add,
            self.join,
            self.saying("ada", EARLY),
            *[self.attest_ben, self.attest_ada] * ROUNDS,
            self.attested,
            *(self.saying("ada", text) for text in WORDS),
            self.refresh,
            self.saying("ben", ANSWER),
            self.read,
            self.propose,
            self.approve,
            self.enact,
            self.agreed,
            self.leave,
            self.saying("ada", LAST),
            self.both_sync,
        ]

    async def tell(self) -> None:
        for what in self.acts():
            await self.act(what)

    async def found(self) -> None:
        if not self.ada.device.channels():
            await self.ada.device.found(self.house.url, self.grant, self.charter)

    async def invite(self) -> None:
        """Puts Ben's seat on the table and approves it, too."""
        if not self.invitation:
            self.invitation = await self.ada.device.inviter(self.ada.channel).invite(self.ben.device.card)

    async def answer(self) -> None:
        self.box = await self.ben.device.invitee().answer(self.invitation)

    async def inviter_progress(self) -> None:
        await self.ada.device.inviter(self.ada.channel).progress()

    async def offer(self) -> None:
        assert await self.ben.device.invitee().offer(self.box) is not None

    async def accept(self) -> None:
        await self.ben.device.invitee().accept(self.box)

    async def add(self) -> None:
        await self.ada.device.inviter(self.ada.channel).progress()
        await self.ada.sync()
        assert len(self.ada.log.members) == 2

    async def join(self) -> None:
        if not self.ben.device.channels():
            assert await self.ben.device.invitee().join(self.box) is not None

    async def attest_ada(self) -> None:
        await self.ada.sync()

    async def attest_ben(self) -> None:
        await self.ben.sync()

    async def attested(self) -> None:
        for person in (self.ada, self.ben):
            assert House.settled(person)
            assert {device.phase for device in person.log.consent.devices.values()} == {Phase.PRESENT}
            assert person.waiting() == []

    def saying(self, who: str, text: str) -> Callable[[], Awaitable[None]]:
        async def say() -> None:
            person: Person = getattr(self, who)
            # After a power cut a person looks what is there, and says again only what never reached the vault.
            if text in person.waiting() or text in person.texts():
                await person.sync()
            else:
                with suppress(Waits):
                    await person.say(text)

        return say

    async def read(self) -> None:
        for name in ("ada", "ben"):
            person: Person = getattr(self, name)
            await person.sync()
            self.seen[name] = person.texts()

    async def propose(self) -> None:
        await self.ada.channel.propose(self.recess)

    async def approve(self) -> None:
        await self.ben.sync()
        digest = subject_digest(self.ben.log.consent.rules, self.recess)
        if digest in self.ben.log.consent.open and len(self.ben.log.consent.open[digest].approvals) < 2:
            await self.ben.channel.do(Approved(digest))

    async def enact(self) -> None:
        """Whoever comes first lets it take effect: Ben did, unless he died before."""
        await self.ada.sync()

    async def agreed(self) -> None:
        for person in (self.ada, self.ben):
            await person.sync()
            assert person.log.consent.recess == self.recess.until
            assert person.log.consent.open == {}
        words = {self.ada.device.card.fingerprint: "ada", self.ben.device.card.fingerprint: "ben"}
        counters = {words[card]: device.counter for card, device in self.ada.log.consent.devices.items()}
        # Whoever of the two came first has enacted: that is one act of either.
        self.counters = {"ben's and ada's": sum(counters.values())}

    async def refresh(self) -> None:
        await self.ada.channel.refresh_keys()

    async def both_sync(self) -> None:
        for name in ("ada", "ben"):
            person: Person = getattr(self, name)
            if person.state is State.OPEN:
                await person.sync()
                self.after[name] = person.texts()

    async def leave(self) -> None:
        if self.ben.state is State.OPEN:
            self.after["ben"] = self.ben.texts()
        if self.ben.device.channels():
            try:
                await self.ben.channel.leave()
            except Halted:  # what waited in the vault has done it
                for channel in self.ben.device.channels():
                    await channel.sync()

    def check(self) -> None:
        assert self.seen == {name: [EARLY, *WORDS, ANSWER] for name in ("ada", "ben")}
        assert self.after == {"ada": [LAST], "ben": []}
        assert [member.name for member in self.ada.log.members.values()] == ["ada"]
        assert self.ada.state is State.OPEN
        assert self.ben.device.channels() == []
        assert self.ada.device.vault.rows("SELECT * FROM invitation") == []
        assert self.ben.device.vault.rows("SELECT * FROM invitation") == []
        assert self.keys.reused(self.sealed["ada"] + self.sealed["ben"]) == []


@pytest.mark.slow
async def test_power_cut_at_any_step_loses_doubles_and_reuses_nothing(
    server: ServerProcess, data: Path, tmp_path: Path
) -> None:
    struck: list[str] = []
    acts: set[int] = set()
    for cut in itertools.count():
        house = House(server.url, lambda: issue(data)[0], tmp_path / str(cut))
        story = Story(house, await house.person("ada"), await house.person("ben"), cut)
        try:
            await story.tell()
            story.check()
        except BaseException as error:
            error.add_note("the power was cut here: " + "; ".join(story.cuts))
            raise
        finally:
            await house.close()
        acts |= set(story.counters.values())
        if not story.cuts:
            break
        struck += story.cuts
    # No act of consent was done twice, or given up: each used one counter up, in every telling.
    assert len(acts) == 1
    # Had the story lost its steps, nothing would have been tested.
    assert {act.partition(":")[0] for act in struck} == {name.__name__ for name in story.acts()} - {"attested"}
    for place in (
        "say: before a commit",
        "say: after a commit",
        "say: before POST …/entries",
        "say: before the answer to POST …/entries",
        "add: before the answer to POST …/entries",
        "refresh: before the answer to POST …/entries",
        "invite: before the answer to POST …/entries",
        "attest_ada: before the answer to POST …/entries",
        "attest_ben: before the answer to POST …/entries",
        "propose: before the answer to POST …/entries",
        "approve: before the answer to POST …/entries",
        "leave: before the answer to POST …/entries",
        "leave: before the answer to DELETE …/device",
    ):
        assert place in struck


async def test_two_messages_under_one_key_would_be_noticed(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    keys = Keys()
    keys.learn(ada)
    records = ada.log.store.records()
    twice = [Group.load(records).encrypt(text)[0] for text in (b"one", b"two")]
    assert len(keys.reused(twice)) == 1
    assert keys.reused([twice[0], twice[0]]) == []
    assert ben.state is State.OPEN
