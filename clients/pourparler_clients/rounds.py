"""This device's part in rounds of ideas: the tables of `ideas/device.py` with packets under them. No network here.

1. A stage is saved with what it holds in the transaction that enters it, before anything that it owes is sent; what a
   stage does not hold is erased in the same transaction.
2. Every device that takes part seals and sends the same number of packets of the same size at the same time; which of
   them hold something, nothing outside this module asks.
3. When a round has opened, nothing here says any more which idea was this person's. When it has not, what was to be
   said in it waits for another; if somebody may have read it, it waits until its person has decided.
4. Texts, and packets that hold them, lie under the keys of `hours.py`, as messages do, and end alike.

DESIGN 4.4; docs/ideas.md. `ideas.py` visits the service.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pourparler_crypto import idea
from pourparler_crypto.errors import CryptoError
from pourparler_policies.errors import Void
from pourparler_policies.fold.decoding import decode
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.standing import by_credential
from pourparler_policies.ideas import content, events
from pourparler_policies.ideas.device import Duty, Held, Own, Post, Stage, due, follow, owes
from pourparler_policies.ideas.facts import Phase, Round

from .happenings import Happening
from .ideapackets import IdeaPackets
from .ideatexts import BALLOT, MARKED, OWN, SHOWN, IdeaTexts, Text

if TYPE_CHECKING:
    from .log import Log

_MAX_OWN: Final = 4096  # bytes
_MAX_ROUND: Final = 64 * 1024  # bytes: 32 seats have about 9,000
_LOT: Final = random.SystemRandom()  # which packets hold something, and when each goes out: nobody may guess it


@dataclass(frozen=True, slots=True)
class Kept:
    """The row of `schema.idea_round`. `held`: the round as it opened, empty before."""

    own: Own
    key: bytes
    token: bytes
    secret: bytes = b""
    setting: bytes = b""
    handle: bytes = b""
    held: bytes = b""

    @property
    def opened(self) -> Round | None:
        """The round with every share, once they are there."""
        return decode(Round, self.held, _MAX_ROUND) if self.held else None


class Rounds:
    """Rounds of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.texts = IdeaTexts(log)
        self.packs = IdeaPackets(log)

    # Rows

    def all(self) -> list[Kept]:
        """What this device keeps of rounds, the oldest first."""
        rows = self._log.vault.rows(
            "SELECT own, key, token, secret, setting, handle, held FROM idea_round WHERE channel = ?"
            " ORDER BY number",
            self._log.row.id,
        )
        return [Kept(decode(Own, row[0], _MAX_OWN), *row[1:]) for row in rows]

    def save(self, kept: Kept) -> None:
        """Saves a stage, and erases what it does not hold; in a transaction."""
        holds, vault = kept.own.holds, self._log.vault
        kept = replace(
            kept,
            key=kept.key if Held.KEY in holds else b"",
            token=kept.token if Held.KEY in holds else b"",
            secret=kept.secret if Held.SECRET in holds else b"",
            held=kept.held if Held.KEY in holds else b"",
        )
        where = (self._log.row.id, kept.own.id)
        row = (
            canonical(kept.own),
            kept.key,
            kept.token,
            kept.secret,
            kept.setting,
            kept.handle,
            kept.held,
        )
        known = vault.execute(
            "UPDATE idea_round SET own = ?, key = ?, token = ?, secret = ?, setting = ?, handle = ?, held = ?"
            " WHERE channel = ? AND id = ?",
            *(*row, *where),
        )
        if not known:
            vault.execute(
                "INSERT INTO idea_round VALUES ((SELECT coalesce(max(number), 0) + 1 FROM idea_round),"
                " ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(*where, *row),
            )
        if Held.PACKETS not in holds:
            self.packs.drop(kept.own.id)
        if Held.LIST not in holds:
            self.packs.drop_list(kept.own.id)
        if kept.own.stage is Stage.OVER:
            vault.execute("DELETE FROM idea_round WHERE channel = ? AND id = ?", *where)
        self._log.erased()

    def packets(self, round_: bytes) -> list[tuple[int, bytes, int, bool]]:
        """`IdeaPackets.of`. Raises Lacking."""
        return self.packs.of(round_)

    def sent(self, round_: bytes, place: int) -> None:
        """The service has it; in a transaction."""
        sql = "UPDATE idea_packet SET sent = 1 WHERE channel = ? AND round = ? AND place = ?"
        self._log.vault.execute(sql, self._log.row.id, round_, place)

    def put_off(self, round_: bytes, place: int, at: int) -> None:
        """It goes out again at another moment; in a transaction."""
        sql = "UPDATE idea_packet SET due = ? WHERE channel = ? AND round = ? AND place = ?"
        self._log.vault.execute(sql, at, self._log.row.id, round_, place)

    # What the log says; inside its transaction

    def changed(self, before: Round | None, after: Round | None) -> None:
        """The folded round has changed. A new one's key and token come from the epoch in which it was called."""
        log = self._log
        if after is None or after == before:
            return
        if before is None or before.id != after.id:
            own = by_credential(log.consent, log.row.credential)
            if own is not None:
                key = log.group.export(idea.KEY_LABEL, after.id, idea.KEY_LENGTH)
                token = log.group.export(idea.TOKEN_LABEL, after.id, idea.KEY_LENGTH)
                self.save(Kept(Own(after.id, own.seat, log.row.credential, after.ends), key, token))
        elif after.phase is Phase.OPEN and before.phase is not Phase.OPEN:
            # Kept aside: whatever becomes of the log's round, this device can open it.
            for kept in self.all():
                if kept.own.id == after.id:
                    self.save(replace(kept, held=canonical(after)))

    def round_of(self, kept: Kept) -> Round | None:
        """The round as it stands: with every share, or as the log has it."""
        folded = self._log.folded.round
        return kept.opened or (folded if folded is not None and folded.id == kept.own.id else None)

    def due(self, now: int) -> list[tuple[Kept, Duty]]:
        """What this device does next for each round that it keeps."""
        found = [(kept, due(kept.own, self.round_of(kept), now)) for kept in self.all()]
        return [(kept, duty) for kept, duty in found if duty is not None]

    def acts(self) -> list[events.Event]:
        """What this device owes the log now."""
        made: list[events.Event] = []
        for kept in self.all():
            post = owes(kept.own, self._log.folded.round)
            match post:
                case Post.JOINED:
                    made.append(events.Joined(kept.own.id, idea.public_of(kept.secret)))
                case Post.SEEN:
                    made.append(events.Seen(kept.own.id, kept.own.digest))
                case Post.SHOWN:
                    made.append(events.Shown(kept.own.id, kept.secret))
                case Post.FAILED:
                    made.append(events.Failed(kept.own.id))
        return made

    # Steps that need no network; each in a transaction

    def step(self, kept: Kept, duty: Duty) -> list[Happening]:
        """Joins, gives the share, gives up, erases: enters the stage that follows."""
        if duty is Duty.JOIN:
            kept = replace(kept, secret=idea.one_time_key()[0])
        elif duty is Duty.ERASE:
            return self._over(kept)
        elif duty is Duty.FAIL:
            self._wait_again(kept.own)
        self.save(replace(kept, own=follow(kept.own, duty)))
        return []

    def seal(self, kept: Kept, now: int, *, empty: bool = False) -> None:
        """Seals the packets of this device, in a random order, each for a moment of its own. Raises Lacking, unless
        they are to be `empty`.
        """
        held = self._log.folded.round
        if held is None:
            return
        setting = self.setting(held)
        publics = [held.parts[seat].key for seat in sorted(held.parts)]
        try:
            packets = [idea.seal(kept.key, setting, publics, one) for one in self._contents(held, empty=empty)]
        except CryptoError:  # somebody's one-time key is none
            self.save(replace(kept, own=follow(kept.own, Duty.FAIL)))
            return
        handle = self.handle(kept, held)
        own = replace(follow(kept.own, Duty.SEAL), room=kept.own.room and handle == kept.handle)
        self.save(replace(kept, own=own, setting=setting, handle=handle))
        start, spread = max(held.tick, now), max(1, held.window // 2)
        dues = [start + _LOT.randint(0, spread) for _ in packets]
        self.packs.keep(held, packets, dues, empty=empty)

    def _contents(self, held: Round, *, empty: bool) -> list[bytes]:
        """As many as every seat sends; what waits is marked as sealed for this round."""
        chosen = [] if empty else self._waiting(held)[: held.a_seat]
        for text in chosen:
            self._log.vault.execute("UPDATE idea_text SET round = ? WHERE number = ?", held.id, text.number)
        contents = [text.text for text in chosen]
        contents += [content.NOTHING] * (held.a_seat - len(contents))
        _LOT.shuffle(contents)
        return contents

    def _waiting(self, held: Round) -> list[Text]:
        """What goes into a round: ideas in the order in which they were written, or the ballot on its list. Raises
        Lacking.
        """
        enough = len(held.parts)
        if held.about:
            return [one for one in self.texts.of(BALLOT) if one.round == held.about and one.least <= enough]
        waiting = self.texts.of(OWN)
        return [one for one in waiting if not one.round and not one.doubtful and one.least <= enough]

    def room(self, kept: Kept, handle: bytes) -> None:
        """The service has made room under this number; in a transaction."""
        own = follow(kept.own, Duty.MAKE_ROOM)
        self.save(replace(kept, own=own, handle=handle))

    def fetched(self, kept: Kept, packets: Sequence[bytes]) -> bool:
        """The list as the service shows it. False, and the round has failed: it is not whole, not of those who take
        part as this device saw it, or without a packet of this device's. Raises Lacking.
        """
        held, own = self._log.folded.round, [packet for _, packet, _, _ in self.packets(kept.own.id)]
        whole = (
            held is not None
            and held.id == kept.own.id
            and self.setting(held) == kept.setting
            and len(packets) == len(set(packets)) == held.places
            and len(own) == held.a_seat
            and set(own) <= set(packets)
        )
        if held is None or not whole:
            self.step(kept, Duty.FAIL)
            return False
        own_stage = replace(follow(kept.own, Duty.FETCH), digest=idea.list_digest(kept.setting, packets))
        self.save(replace(kept, own=own_stage))
        self.packs.keep_list(held, packets)
        return True

    def open(self, kept: Kept, packets: Sequence[bytes], now: int) -> list[Happening]:
        """Opens a list with every share, keeps it, and forgets what of it was this device's. Raises Lacking."""
        held = kept.opened
        if held is None:
            return []
        seats = sorted(held.parts)
        setting, secrets = self.setting(held), [held.parts[seat].secret for seat in seats]
        agreed = {part.digest for part in held.parts.values()}
        if agreed != {idea.list_digest(setting, packets)}:
            return self._no_list(kept)
        for seat, secret in zip(seats, secrets, strict=True):
            try:
                idea.check_secret(secret, held.parts[seat].key)
            except CryptoError:
                return self._spoilt(kept, held, seat)
        found, unread = self._read(kept, held, setting, secrets, packets)
        life = self._log.lives.until(held.closes, min(held.life, self._log.lives.longest()))
        expires_at = min(held.closes, now) + life
        end = self._log.lives.end_of(held.closes + life, life)
        if expires_at > now and not self._log.store.hours.is_over(end):
            self._keep(held, found, unread, expires_at, end)
        self._forget_own(held)
        self.save(replace(kept, own=follow(kept.own, Duty.OPEN)))
        return [Happening("marks" if held.about else "ideas", self._log.row.cursor, digest=held.about or held.id)]

    def _read(
        self, kept: Kept, held: Round, setting: bytes, secrets: list[bytes], packets: Sequence[bytes]
    ) -> tuple[list[bytes], int]:
        found, unread = [], 0
        count = len(self.texts.of(SHOWN, held.about)) or content.MAX_IDEAS
        for packet in packets:
            try:
                inside = idea.open_(kept.key, setting, secrets, packet)
                if held.about:
                    content.read_ballot(inside, count)
                else:
                    content.read_idea(inside)
            except (CryptoError, Void):
                unread += 1
            else:
                found.append(inside)
        full = [inside for inside in found if inside != content.NOTHING]
        return (sorted(full) if held.about else idea.order(setting, secrets, full)), unread

    def _keep(self, held: Round, found: list[bytes], unread: int, expires_at: int, end: int) -> None:
        if held.about:
            self._log.vault.execute(
                "DELETE FROM idea_text WHERE channel = ? AND kind = ? AND round = ?",
                *(self._log.row.id, MARKED, held.about),
            )
            ballots = json.dumps([one.decode() for one in found]).encode()
            self.texts.add(MARKED, ballots, end, expires_at, round_=held.about)
            return
        self._log.vault.execute(
            "INSERT INTO idea_list VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(self._log.row.id, held.id, self._log.row.cursor, len(held.parts), unread),
            *(min(held.closes, self._log.clock()), expires_at),
        )
        for place, inside in enumerate(found, 1):
            self.texts.add(SHOWN, content.read_idea(inside).encode(), end, expires_at, round_=held.id, place=place)

    def _no_list(self, kept: Kept) -> list[Happening]:
        self.save(replace(kept, own=follow(kept.own, Duty.ERASE)))
        self._wait_again(kept.own)
        return [Happening("broken", self._log.row.cursor, text=NO_LIST)]

    def _spoilt(self, kept: Kept, held: Round, seat: bytes) -> list[Happening]:
        member = self._log.members.get(held.parts[seat].credential)
        self._wait_again(kept.own)
        self.save(replace(kept, own=follow(kept.own, Duty.ERASE)))
        name = member.name if member is not None else "somebody"
        return [Happening("broken", self._log.row.cursor, member=member, text=f"{name} {SPOILT}")]

    def _over(self, kept: Kept) -> list[Happening]:
        self._wait_again(kept.own)
        self.save(replace(kept, own=follow(kept.own, Duty.ERASE)))
        if kept.own.stage in (Stage.OPENED, Stage.OVER):
            return []
        if kept.own.stage is Stage.CALLED and kept.held:
            return [Happening("broken", self._log.row.cursor, text=MISSED)]
        return [Happening("broken", self._log.row.cursor, text=DOUBTFUL if kept.own.doubtful else NOTHING_SHOWN)]

    def _wait_again(self, own: Own) -> None:
        """What was sealed for a round that did not open here waits on. If somebody may have read it, it is not put
        into another by itself: the same idea twice, among other people, could tell whose it is.
        """
        self._log.vault.execute(
            "UPDATE idea_text SET round = x'', doubtful = ? WHERE channel = ? AND kind = ? AND round = ?",
            *(int(own.doubtful), self._log.row.id, OWN, own.id),
        )

    def _forget_own(self, held: Round) -> None:
        where = (BALLOT, held.about) if held.about else (OWN, held.id)
        self._log.vault.execute(
            "DELETE FROM idea_text WHERE channel = ? AND kind = ? AND round = ?", self._log.row.id, *where
        )

    def setting(self, held: Round) -> bytes:
        """`idea.setting` of a round."""
        return idea.setting(self._log.row.id, held.id, {seat: part.key for seat, part in held.parts.items()})

    def handle(self, kept: Kept, held: Round) -> bytes:
        """`idea.handle` of a round, as all who see the same people in it have it."""
        hashed = hashlib.sha256(kept.token).digest()
        return idea.handle(self._log.row.id, hashed, held.tick, held.closes, held.places, held.life)

    def ended(self, now: int) -> list[Kept]:
        """What by this device's own clock is over."""
        return [kept for kept in self.all() if kept.own.ends <= now]

    def expire(self, now: int) -> None:
        """Erases that, in whatever state the channel is; in a transaction."""
        self.packs.expire(now)
        for kept in self.ended(now):
            self._over(kept)

    def shorten_packets(self) -> None:
        """Packets obey the rules as they are now, as the ideas in them will. Raises Lacking."""
        for kept in self.all():
            held = self.round_of(kept)
            if held is not None:
                self.packs.shorten(held)


NOTHING_SHOWN: Final = (
    "a round of ideas came to nothing: nobody could read it. What you had for it waits for the next"
)
DOUBTFUL: Final = (
    "a round of ideas broke off after the others had your device's share of its key: somebody may have read it, and "
    "this device has not. What you had for it waits for your word (`ideas again`)"
)
MISSED: Final = (
    "a round of ideas in which this device took no part has opened, and its list is gone from the service"
)
NO_LIST: Final = "the service shows another list of ideas than everybody has seen: nothing of it is shown"
SPOILT: Final = "gave a share of the key that does not fit: the round of ideas cannot be opened"
