"""A channel's joint release as a program uses it: texts on the table, a person's acts, and what follows by itself.

A feature of a channel is a class of its own that takes the `Channel`. Texts are in `papers.py`, this device's part in
a case in `signing.py`, visits to the desk in `deskwork.py`; here they are sent, in turn with everything else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pourparler_crypto.jr2 import MAX_TEXT_BYTES
from pourparler_crypto.note import Communique
from pourparler_policies import payload
from pourparler_policies.payload import Beside, check_text
from pourparler_policies.release.device import Cue
from pourparler_policies.release.events import Commented, Drafted, Remark, Revised, Words
from pourparler_policies.release.facts import MAX_NOTE, PAPER_BYTES

from .api import NEVER
from .deskwork import visit
from .errors import Lacking, Refused, Unreachable, UserError
from .happenings import Happening
from .outbox import Kind
from .papers import revision
from .signing import Signing
from .store import State
from .upkeep import due_hour

if TYPE_CHECKING:
    from .channel import Channel


class Releases:
    """The joint release of one channel; `channel.releases`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._refused_by_desk = False

    async def table(self, communique: Communique, life: int, paper: bytes = b"", corrects: bytes = b"") -> bytes:
        """Puts a text on the table for `life` seconds, or a new revision of the `paper`; returns the paper's number.

        Its words follow as an entry of their own, which ends with the paper. Raises UserError as `Channel.do` does.
        """
        channel = self._channel
        if len(communique.text) > MAX_NOTE:
            raise UserError(f"a text in all its languages has at most {MAX_NOTE} bytes, and this one has more")
        if len(communique.text) * communique.foot.copies > MAX_TEXT_BYTES:
            raise UserError(
                f"all copies of a text together have at most {MAX_TEXT_BYTES} bytes, and these have more"
            )
        salt, text = revision(communique, corrects)
        held = channel.log.folded.papers.get(paper)
        await self._ready_for(life if held is None else max(1, held.expires - channel.clock()))
        if held is None:
            paper = os.urandom(PAPER_BYTES)
            await channel.do(Drafted(paper, text, life))
        else:
            life = held.expires - channel.clock()
            await channel.do(Revised(paper, held.text.digest, text))
        await self.post(Words(paper, salt, communique.text), life)
        return paper

    async def remark(self, paper: bytes, text: str) -> None:
        """Comments on a paper's revision on the table."""
        channel = self._channel
        check_text(text)
        held = channel.log.folded.papers.get(paper)
        if held is None:
            raise UserError("there is no such text on the table")
        await channel.do(Commented(paper, held.text.digest))
        await self.post(Remark(paper, held.text.digest, text), held.expires - channel.clock())

    async def post(self, event: Words | Remark, life: int) -> None:
        """Sends words or a remark beside the procedure, for `life` seconds; until then they wait sealed, as what is
        said does.
        """
        channel = self._channel
        content, life = payload.encode_events([Beside.of(event)]), max(1, life)
        async with channel.turn:
            until = channel.clock() + life
            await channel.halves_for(lambda: channel.log.lives.add_draft(content, life, until, Kind.BESIDE))
            await channel.catch_up()

    async def _ready_for(self, life: int) -> None:
        """Words of so long a life can be stored when the line breaks. Raises Unreachable: nothing was done then."""
        channel = self._channel

        def check() -> None:
            end = channel.log.lives.draft_end(life, channel.clock() + life)
            if channel.log.store.hours.lacking([end]):
                raise Lacking(end)

        async with channel.turn:
            await channel.halves_for(check)

    async def act(self, cue: Cue, part: Signing | None = None, *, shown: bytes = b"") -> None:
        """A person's act in a joint release: signs, withdraws, agrees again, refuses, stops. Raises UserError.

        `part`: the relayed one (`onetext.py`); without it, the one of this channel. `shown`: the nonce of the round
        whose text the person was shown. While they read, that round may have ended and another one, about another
        text, have come to the same point: then nothing is done.

        Who takes a word back need not wait for a service that does not answer. Unreachable: it is done on this
        device, and goes out when the service answers.
        """
        channel = self._channel
        log = channel.log
        async with channel.turn:
            try:
                await channel.catch_up()
            except Unreachable:
                if cue not in (Cue.WITHDRAW, Cue.REFUSE):
                    raise
            log.check_may_send()
            signing = part or log.signing
            with log.step():
                kept = signing.kept
                if shown and (kept is None or kept.own.nonce != shown):
                    raise UserError(
                        "what you were shown is over, and it may be about another text by now: look at it again. "
                        "Nothing was signed"
                    )
                signing.act(cue, channel.clock())
            try:
                await channel.catch_up()
            except Unreachable:
                raise Unreachable(
                    "it is done on this device, and goes out when the service answers again"
                ) from None

    async def follow(self) -> None:
        """Time and the desk lead a joint release on; what follows from it is sent at once. Under the turn."""
        for part in (self._channel.log.signing, self._channel.log.relayed):
            await self._follow(part)

    async def _follow(self, part: Signing) -> None:
        channel = self._channel
        log = channel.log
        if log.row.state is not State.OPEN or not part.active:
            return
        with log.step():
            happened = part.follow(channel.clock())
        channel.tell(happened)
        before, final = part.kept, False
        # Only a desk that was asked after the hour, by the log's time too, can be silent at it.
        late = before is not None and before.own.not_before <= min(channel.clock(), log.consent.time)
        try:
            final, told = await visit(log, part, channel.connect)
            channel.tell(told)
        except Unreachable:  # the desk is asked again at the next visit
            pass
        except Refused as refusal:
            if refusal.problem in NEVER and not self._refused_by_desk:
                self._refused_by_desk = True
                channel.tell([Happening("desk", log.row.cursor, text=str(refusal))])
        if not final and due_hour(log, part, channel.clock()):
            await channel.renew_keys()
        if log.row.state is not State.OPEN:
            return
        with log.step():
            happened += (more := part.follow(channel.clock(), silent=late and not final))
        channel.tell(more)
        if happened or part.kept != before:
            await channel.sending.flush()
