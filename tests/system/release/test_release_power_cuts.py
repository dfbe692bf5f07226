"""Whoever cuts the power of a signer's device, at whatever step: the same bytes go out again, and it completes.

The story of one release is told many times, in one room. In the n-th telling each visit of Ben's device is cut at its
n-th step; the device that died goes on from what its disk held, and visits again. The tellings end when no visit has
an n-th step.
"""

import itertools
import re
from typing import Any

import pytest

from pourparler_clients.judging import Judged
from pourparler_clients.log import Log
from pourparler_clients.signing import Signing
from pourparler_clients.signing_testing import HOUR, Hours, release_room, stage_of, text_between
from pourparler_clients.signing_testing import Signing as Room
from pourparler_clients.testing import House, Person, PowerCut
from pourparler_crypto.note import Note
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import First, Lock, Masks, Second, Shelved, Third

Sent = set[tuple[str, bytes, bytes, bytes]]


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Kind, author, nonce and bytes of every message of a round that any log has held, whether it counted or not."""
    seen: Sent = set()
    fold, beside = Log.apply, Signing.fold_beside

    def applied(log: Log, entry: Any, judged: Judged, sender: bytes, outgoing: Any) -> Any:
        for act, _, _ in judged.acts:
            if isinstance(act, First | Second | Third):
                seen.add((type(act).__name__, sender, act.nonce, act.message))
        return fold(log, entry, judged, sender, outgoing)

    def beneath(signing: Signing, entry: Any, event: Any, sender: bytes) -> Any:
        if isinstance(event, Masks | Lock):
            content = event.masks if isinstance(event, Masks) else event.lock
            seen.add((type(event).__name__, sender, event.nonce, content))
        return beside(signing, entry, event, sender)

    monkeypatch.setattr(Log, "apply", applied)
    monkeypatch.setattr(Signing, "fold_beside", beneath)
    return seen


class Story:
    """Everybody's device lives but the last signer's (Ben's, or that of Amy beside Ada): it dies once a visit."""

    def __init__(self, house: House, room: Room, cut: int) -> None:
        self.house, self.room, self.cut = house, room, cut
        self.cuts: list[str] = []

    @property
    def mortal(self) -> Person:
        return self.room.signers[-1]

    @property
    def living(self) -> list[Person]:
        return self.room.signers[:-1]

    async def visit(self, *, sign: bool = False) -> None:
        self.mortal.faults.cut = len(self.mortal.faults.steps) + self.cut
        while True:
            try:
                if sign and stage_of(self.mortal) is Stage.ASKED:
                    await self.mortal.channel.releases.act(Cue.SIGN)
                else:
                    await self.room.visit(self.mortal)
            except PowerCut as cut:
                where = re.sub(r"(/desk|/channels)/[^/ ]+", r"\1/…", str(cut))
                self.cuts.append(f"{'sign: ' if sign else ''}{where}")
                again, room = await self.house.again(self.mortal), self.room
                (room.further or room.parties)[-1] = room.people[-1] = again
            else:
                self.mortal.faults.cut = None
                return

    async def tell(self) -> None:
        room = self.room
        ada = room.parties[0]
        room.later(400)
        room.text = text_between(room.parties, room.now() + HOUR)
        await room.table(ada)
        await room.initial()
        await room.appoint()
        for _ in range(8):
            await self.visit()
            await room.visit(*self.living)
            if {stage_of(p) for p in room.signers} == {Stage.ASKED}:
                break
        await self.visit(sign=True)
        await room.sign(*self.living)
        for _ in range(3):
            await self.visit()
            await room.visit(*self.living)
        assert {stage_of(p) for p in room.signers} == {Stage.COMPLETE}
        room.until(room.case.not_before)
        for _ in range(3):
            await self.visit()
            await room.visit(*self.living)

    def check(self) -> None:
        assert self.room.over()
        mine = [n for n in self.room.notes() if Note.parse(n).communique.digest == self.room.text.digest]
        assert len(mine) == len(self.room.signers)
        (note,) = set(mine)
        Note.parse(note).check()

    async def clear_the_table(self) -> None:
        await self.room.parties[0].channel.do(Shelved(self.room.paper))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beside", "stride"), [({}, 1), ({"ada": ["amy"]}, 9)], ids=["a party's device", "a further delegate's"]
)
async def test_power_cut_at_any_step_of_a_signer_resends_the_same_bytes_and_the_release_completes(
    house: House, hours: Hours, posted: Sent, beside: dict[str, list[str]], stride: int
) -> None:
    room = await release_room(house, hours, "ada", "ben", beside=beside)
    struck: set[str] = set()
    for cut in itertools.count(step=stride):
        story = Story(house, room, cut)
        try:
            await story.tell()
            story.check()
            await story.clear_the_table()
        except BaseException as error:
            error.add_note(f"telling {cut}; the power was cut here: {'; '.join(story.cuts)}")
            raise
        if not story.cuts:
            break
        struck |= set(story.cuts)
    # One message of each kind by each author under each nonce: one pre-signature a sid.
    kinds = [message[:3] for message in posted]
    assert len(kinds) == len(set(kinds))
    assert {kind for kind, *_ in kinds} >= {"First", "Second", "Third", "Masks"}
    for place in (
        ()
        if beside
        else (
            "before a commit",
            "after a commit",
            "sign: after a commit",
            "sign: before POST /v1/desk/…/deposit",
        )
    ):
        assert place in struck, struck
    for ending in () if beside else ("/desk/…/deposit", "/entries"):
        assert any(where.endswith(ending) and "before the answer to POST" in where for where in struck), struck
