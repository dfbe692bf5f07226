"""One text between sides that share no channel: the intermediary keeps the draft, and carries its release.

How a program calls it (as `demo --shuttle` does):

    # The intermediary: one `Channel` with each side, of one device or of several (compartments), in the order of the
    # text's lines of signature. `signs`: (name in the text, press key, number of its side).
    text = OneText(with_north, with_south)
    await text.draft([("en", words)], signs, not_before, life, in_copies=True)   # the same paper in each channel
    await text.revise([("en", words)])                    # each side sees what changed, and not who asked
    for row in await text.standing(): row.initialled, row.remarks, row.ready, row.objected
    await text.appoint(sign_within=3600, deposit_within=600)    # all can live with it, nothing is in [brackets]
    await text.carry()                                     # one visit to each side; repeat, or `await text.attend()`

    # A side, on its own channel. `channel.onetext` is a `Side`:
    await channel.onetext.comment("remark")                # to the intermediary alone
    await channel.onetext.agree()                          # we can live with it: the side's initials
    await channel.onetext.ready()                          # after the appointment: rounds run by themselves
    channel.onetext.stage, .trouble                        # Stage.ASKED: a person may sign
    await channel.onetext.sign(checked=[other_key, …])     # press keys checked without the intermediary
    channel.onetext.note()                                 # when published: the signed note, this side's own copy

Devices that `watch` do their part by themselves. The intermediary's device holds no release key, no y, d or rho.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pourparler_crypto.note import Audience, Communique, PressKey, Signatory, parallel
from pourparler_policies.errors import Void
from pourparler_policies.fold.standing import body_of, by_credential
from pourparler_policies.payload import Beside
from pourparler_policies.release import relayed, standing
from pourparler_policies.release.device import Cue, Stage
from pourparler_policies.release.events import Initialled
from pourparler_policies.release.facts import Paper
from pourparler_policies.release.relayed import Arranged, Leg, Part

from .errors import Refused, Unreachable, UserError
from .outbox import Kind
from .papers import Said, compose

if TYPE_CHECKING:
    from .channel import Channel
    from .log import Log

MAX_OPEN: Final = 400  # characters of what stands in brackets that are shown
PAUSE: Final = (0.5, 5.0)  # seconds between a visit to one side and the next: at random, so nothing lines up


def open_places(communique: Communique) -> list[str]:
    """What stands in [square brackets], language by language: it is open. Raises UserError when they do not match."""
    found = []
    for language, words in zip(communique.foot.languages, communique.words, strict=True):
        depth, start = 0, 0
        for at, char in enumerate(words):
            if char == "[":
                start, depth = (at, 1) if depth == 0 else (start, depth + 1)
            elif char == "]":
                depth -= 1
                if depth < 0:
                    raise UserError(f"a bracket closes in the text ({language}) that was never opened")
                if depth == 0:
                    found.append(f"{language}: {words[start : at + 1][:MAX_OPEN]}")
        if depth:
            raise UserError(f"a bracket in the text ({language}) is never closed")
    return found


class Side:
    """One side's part, in its own channel; `channel.onetext`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def _log(self) -> Log:
        return self._channel.log

    def paper(self) -> Paper:
        """The intermediary's text on the table. Raises UserError when there is none, or several."""
        parties = self._log.consent.rules.parties
        found = [paper for paper in self._log.folded.papers.values() if paper.body not in parties]
        part = self.part
        if part is not None and part.paper in self._log.folded.papers:
            return self._log.folded.papers[part.paper]
        if len(found) != 1:
            raise UserError("the intermediary has put no text on the table here, or more than one")
        return found[0]

    def text(self) -> Communique:
        """It, with this side first where there are copies (and the device has its key). Raises UserError."""
        copies = parallel(self._log.relayed.papers.communique(self.paper()))
        if len(copies) == 1:
            return copies[0]
        try:
            line, _ = self._log.relayed.own_line(copies[0].keys)
        except UserError:
            return copies[0]
        return copies[line]

    def open_places(self) -> list[str]:
        """What is still open in it."""
        return open_places(self.text())

    def remarks(self) -> list[Said]:
        """What was said about the revision on the table, in this channel."""
        return self._log.relayed.papers.remarks(self.paper().text.digest)

    @property
    def part(self) -> Part | None:
        """What is arranged here, if anything."""
        mine = self._log.relayed.mine
        return mine.part if mine is not None else None

    @property
    def stage(self) -> Stage | None:
        """Where the signing stands on this device; None before its round has begun."""
        kept = self._log.relayed.kept
        return kept.own.stage if kept is not None else None

    @property
    def trouble(self) -> str:
        """Why this device was barred from the round, in a sentence; empty when it was not."""
        return self._log.relayed.trouble

    def to_sign(self) -> tuple[Communique, str, list[Signatory]]:
        """What this person would sign: the round's own text (this side's copy), in whose name, and who else signs.

        Not what is on the table by now: no log holds the text fast between channels. Raises UserError when nothing can
        be signed.
        """
        copies, mine = self._log.relayed.agreed(), self._log.relayed.mine
        if mine is None:
            raise UserError("nothing is arranged here")
        signatories = copies[0].foot.signatories
        others = [one for line, one in enumerate(signatories) if line != mine.line]
        return copies[mine.line if len(copies) > 1 else 0], signatories[mine.line].name, others

    async def comment(self, text: str) -> None:
        """Comments on the revision on the table, to those in this channel: the intermediary, and one's own side."""
        await self._channel.releases.remark(self.paper().id, text)

    async def agree(self, *, confirm: bool = False) -> None:
        """We can live with it: this seat initials the revision. Raises UserError while something stands in brackets."""
        await self._channel.sync()
        if self.open_places():
            raise UserError(
                "something in this text is still open: what stands in [brackets] has to be settled first"
            )
        paper = self.paper()
        await self._channel.do(Initialled(paper.id, paper.text.digest, confirm))

    async def ready(self) -> None:
        """After the appointment: this side is ready, and its rounds run by themselves. Raises UserError."""
        channel = self._channel
        async with channel.turn:
            await channel.catch_up()
            self._log.check_may_send()
            with self._log.step():
                self._log.relayed.ready(channel.clock())
            await channel.catch_up()

    async def sign(self, *, checked: Iterable[PressKey], shown: bytes = b"") -> None:
        """Signs: published when the last side has signed.

        `checked` are the press keys of the others that this person has checked without the intermediary: who carries
        the text could have put a key of its own into it. `shown` as for `Releases.act`. Raises UserError, and names
        whose key was not checked.
        """
        known = {(key.name, key.public) for key in checked}
        _, _, others = self.to_sign()
        unchecked = [one.name for one in others if (one.key.name, one.key.public) not in known]
        if unchecked:
            raise UserError(
                f"the key of {', '.join(f'“{name}”' for name in unchecked)} in this text is not among those that you "
                "have checked: get it from where they publish it, never from the intermediary. Nothing was signed"
            )
        await self._channel.releases.act(Cue.SIGN, self._log.relayed, shown=shown)

    def note(self) -> bytes:
        """The completed note, this side's own copy. Raises UserError when there is none."""
        mine, papers = self._log.relayed.mine, self._log.relayed.papers
        if mine is None:
            found = next(iter(papers.notes()), None)  # it was over long ago
        else:
            digest = mine.part.text.digest
            found = papers.note(digest, mine.line + 1) or papers.note(digest)
        if found is None:
            raise UserError("nothing has been completed here, or it has ended with its text")
        return found

    async def act(self, cue: Cue) -> None:
        """A person's act: withdraws, agrees again, refuses, stops. Raises UserError as `Releases.act` does."""
        await self._channel.releases.act(cue, self._log.relayed)


@dataclass(frozen=True, slots=True)
class Standing:
    """One side as the intermediary sees it: `remarks` on this revision; `carried`, messages of the round there."""

    initialled: bool
    objected: bool
    remarks: tuple[str, ...]
    appointed: bool
    ready: bool
    carried: int


class OneText:
    """The intermediary's: one draft in the channels with all sides. State lives in their vaults alone."""

    def __init__(self, *sides: Channel, release: bytes = b"", pause: tuple[float, float] = PAUSE) -> None:
        if len(sides) < 2:
            raise UserError("one text is kept between two sides or more: name the channel with each")
        if len({side.log.row.url for side in sides}) != 1:
            raise UserError("these channels are at different services: a joint release needs one desk for all")
        if len({side.id for side in sides}) != len(sides):
            raise UserError("the same channel was named twice")
        if len({side.log.vault.directory for side in sides}) != len(sides):
            raise UserError(
                "two sides' channels are in one vault: whoever searches it has both. Make a compartment for each side, "
                "with its own passphrase (`pourparler card new --vault …`), and be invited with that card"
            )
        self._sides, self._release, self._pause = sides, release, pause

    async def draft(
        self,
        words: Sequence[tuple[str, str]],
        signs: Sequence[tuple[str, PressKey, int]],
        not_before: int,
        life: int,
        *,
        in_copies: bool = False,
        audience: Audience = Audience.BOARD,
        card: bytes = b"",
    ) -> Communique:
        """Puts a text on every side's table. `signs`: name, key, and on which side (from 0), in the text's order.

        `in_copies`: each signatory first in its own copy, all completed together. `audience`, `card`: who reads it,
        as in `papers.compose`. Raises UserError, Refused (note).
        """
        where = [side for _, _, side in signs]
        if set(where) != set(range(len(self._sides))):
            raise UserError("every side signs: say on which side each signatory is")
        communique = compose(
            words,
            [(name, key) for name, key, _ in signs],
            not_before,
            in_copies=in_copies,
            audience=audience,
            card=card,
        )
        open_places(communique)
        for number, side in enumerate(self._sides):
            await side.sync()
            paper = await side.releases.table(communique, life)
            lines = ",".join(str(line) for line, at in enumerate(where) if at == number)
            with side.log.step():
                side.log.vault.execute(
                    "INSERT INTO one_text VALUES (?, ?, ?, ?, ?)",
                    side.id,
                    paper,
                    communique.foot.release,
                    lines,
                    side.clock() + life,
                )
        self._release = communique.foot.release
        return communique

    async def revise(self, words: Sequence[tuple[str, str]]) -> Communique:
        """Another revision on every side's table. It says what changed, and nothing of who asked for it."""
        await self._sync()
        side, paper, _ = self._papers()[0]  # after a crash the others may have another one: now they get the same
        earlier = side.log.relayed.papers.communique(paper)
        signatories = [(one.name, one.key) for one in earlier.foot.signatories]
        communique = compose(words, signatories, earlier.foot.not_before, earlier=earlier)
        open_places(communique)
        for side, paper, _ in self._papers():
            await side.releases.table(communique, 0, paper.id)
        return communique

    def text(self) -> Communique:
        """The revision that is on all tables. Raises UserError when a crash left another one on one of them."""
        found = [side.log.relayed.papers.communique(paper) for side, paper, _ in self._papers()]
        if len({one.text for one in found}) != 1:
            raise UserError("the sides do not have the same revision: revise it once more, with all of them")
        return found[0]

    async def standing(self) -> list[Standing]:
        """How each side stands. To be shown to the intermediary alone."""
        await self._sync()
        rows = []
        for side, paper, lines in self._papers():
            folded, mine = side.log.folded, side.log.relayed.mine
            own = side.log.row.credential
            said = side.log.relayed.papers.remarks(paper.text.digest)
            holds = side.log.relayed.holds
            rows.append(
                Standing(
                    all(standing.initialled(folded, paper, party) for party in folded.consent.rules.parties),
                    standing.opposed(folded, paper),
                    tuple(one.text for one in said if one.sender != own),
                    mine is not None and mine.part.text == paper.text,
                    all((Leg.HELLO, line, None) in holds for line in lines),
                    len(holds),
                )
            )
        return rows

    async def appoint(self, sign_within: int, deposit_within: int) -> Arranged:
        """Proposes to every side to sign within so many seconds, and devices to complete within so many more.

        Raises UserError unless every side has initialled this very revision, and nothing in it is open.
        """
        await self._sync()
        if open_places(self.text()):
            raise UserError("something in this text is still open: settle what stands in [brackets] first")
        sign_by = max((side.clock() for side, _, _ in self._papers()), default=0) + sign_within
        number, proposals = os.urandom(16), []
        for side, paper, lines in self._papers():
            rules = side.log.folded.rules
            proposal = Arranged(
                number,
                paper.id,
                paper.text.digest,
                lines,
                sign_by,
                sign_by + deposit_within,
                rules.stop_until if rules.stop else None,
            )
            _check(side, proposal)
            proposals.append((side, proposal))
        if len({proposal.stop_before for _, proposal in proposals}) != 1:
            raise UserError(
                "the sides' charters do not say the same about who may stop a signed text, and until when: nothing can "
                "be signed together before they do"
            )
        for side, proposal in proposals:
            paper = side.log.folded.papers[proposal.paper]
            side.draft([Beside.of(proposal)], max(1, paper.expires - side.clock()), Kind.BESIDE)
        await self._sync()
        return proposals[0][1]

    async def carry(self) -> int:
        """One visit to each side: takes what is there and leaves what the other sides' devices have sent.

        Returns how many messages it carried. It may break off anywhere: the next visit begins where this one ended.
        """
        await self._sync()
        sides = [side for side, _, _ in self._papers()]
        parts = [side.log.relayed.mine for side in sides]
        ids = {mine.part.id for mine in parts if mine is not None}
        if len(ids) != 1 or any(mine is None for mine in parts):
            return 0
        seen = [
            relayed.Side(frozenset(mine.part.here), side.log.relayed.holds)
            for side, mine in zip(sides, parts, strict=True)
            if mine is not None
        ]
        carried = relayed.carries(seen)
        for source, target, key in carried:
            sealed = sides[source].log.relayed.sealed(*key)
            if sealed is not None:
                self.leave(sides[target], key, sealed)
        if carried:
            await self._sync()
        return len(carried)

    def leave(self, side: Channel, key: relayed.Key, sealed: bytes) -> None:
        """Keeps a message for one side, to be posted there. What a false carrier does differently, it does here."""
        with side.log.step():
            side.log.relayed.put(key, sealed, own=True)

    async def attend(self, seconds: float) -> None:
        """Carries, with pauses at random, until so many seconds have passed. A line that breaks is tried again."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(Unreachable, Refused):
                await self.carry()
            await asyncio.sleep(random.uniform(*self._pause))  # noqa: S311 -- not a secret: it only keeps times apart

    async def _sync(self) -> None:
        for number, side in enumerate(self._sides):
            if number:  # who watches the service should not see the channels stir in one moment
                await asyncio.sleep(random.uniform(*self._pause))  # noqa: S311 -- not a secret
            await side.sync()

    def _papers(self) -> list[tuple[Channel, Paper, tuple[int, ...]]]:
        """This text in each channel, with the lines that are signed there. Raises UserError."""
        rows = [
            {
                bytes(release): (bytes(paper), lines)
                for paper, release, lines in side.log.vault.rows(
                    "SELECT paper, release, lines FROM one_text WHERE channel = ?", side.id
                )
                if paper in side.log.folded.papers
            }
            for side in self._sides
        ]
        shared = set.intersection(*(set(row) for row in rows))
        if self._release:
            shared &= {self._release}
        if len(shared) != 1:
            raise UserError("there is no text that is on the table with all these sides (or more than one)")
        (release,) = shared
        found = []
        for side, row in zip(self._sides, rows, strict=True):
            paper, lines = row[release]
            found.append((side, side.log.folded.papers[paper], tuple(int(one) for one in lines.split(","))))
        return found


def _check(side: Channel, proposal: Arranged) -> None:
    """Raises UserError when a proposal would count for nothing with this side."""
    author = by_credential(side.log.consent, side.log.row.credential)
    if author is None or body_of(side.log.consent, author) in side.log.consent.rules.parties:
        raise UserError("only an intermediary arranges what is signed in several channels")
    try:
        relayed.arranged(side.log.folded, author, proposal, side.clock())
    except Void as error:
        raise UserError(f"with one of the sides this would count for nothing: {error}") from None
