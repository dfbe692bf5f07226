"""How long a text lives on this device, and under which key: what is said, what was read, what waits to be sent.

The shortest rule wins: the author's, the charter's, this device's own, the service's. Methods that fold or apply run
inside the caller's transaction; the others make their own. DESIGN 4.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pourparler_policies import hours, payload, wire
from pourparler_policies.filenames import harmless
from pourparler_policies.fold import talk
from pourparler_policies.payload import Attached, Said, Shortened, Shuttle

from .errors import UserError
from .happenings import Happening
from .hours import ALONE
from .messages import Message, Sent
from .outbox import Kind, Outgoing
from .shuttle.kept import kept as kept_word

if TYPE_CHECKING:
    from .log import Log

CLOCKS = 60  # seconds that clocks may differ before a device believes its own of what came after a session's end


class Lives:
    """The lives of one log's messages and drafts."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def longest(self) -> int:
        """How long a message lives here at most (seconds): the charter's rule, or this device's own if shorter."""
        longest = self._log.charter.retention.messages
        return min(longest, self._log.store.messages.own_rule()[0] or longest)

    def once_read(self) -> int:
        """How long a message lives here once it was shown (seconds): the shorter rule; 0 when there is none."""
        rules = (self._log.charter.retention.after_reading, self._log.store.messages.own_rule()[1])
        return min((rule for rule in rules if rule), default=0)

    def read(self, messages: list[Message], *, opened: bool = False) -> list[Message]:
        """Who shows messages calls this first, and shows what it returns: their life after reading begins now.

        That is saved, under the shorter key, before anybody sees the text. What is gone meanwhile is left out. A file
        is read when it is `opened`, not when its name is shown. Raises Lacking.
        """
        life, now = self.once_read(), self._log.clock()
        alive = self._log.store.messages.places(now)
        messages = [
            replace(message, expires_at=alive[message.seq][0], end=alive[message.seq][1])
            for message in messages
            if message.seq in alive
        ]
        late = [
            message
            for message in messages
            if life and message.expires_at > now + life and (opened or message.attached is None)
        ]
        if late:
            end = self.end_of(max(now, self._log.row.received_at) + life, life)
            with self._log.step():
                for message in late:
                    self._let_live(message, now + life, end)
        return [
            message if message not in late else replace(message, expires_at=now + life) for message in messages
        ]

    def set_own_rule(self, messages: int, after_reading: int) -> None:
        """This device's own lives, in seconds; 0: no such rule. Raises Lacking, and then nothing changes."""
        with self._log.step():
            self._log.store.messages.save_own_rule(messages, after_reading)
            self.apply_rules()

    def apply_rules(self) -> None:
        """What is stored obeys the rules as they are now, where they are stricter than before. Raises Lacking."""
        life, offline = self.longest(), self._log.charter.retention.read_offline
        for message in self._log.store.messages.living(self._log.clock()):
            expires_at = min(message.received_at + life, message.expires_at)
            if expires_at < message.expires_at or (message.end == ALONE and not offline):
                self._let_live(message, expires_at, self.end_of(expires_at, life))
        self._log.rounds.texts.apply_rules()
        self._log.rounds.shorten_packets()

    def adjourn(self) -> None:
        """An hour was agreed on: what was said until now ends then, here, and own words at the service. Raises Lacking.

        Under a key that ends then too, so that it needs no device which is switched on.
        """
        log, hour = self._log, self._log.consent.adjourned
        end = self.end_of(hour, hour - log.consent.time)
        for message in log.store.messages.living(log.clock()):
            if hour < message.expires_at:
                self._let_live(message, hour, end)
        log.store.messages.delete_all_sent(hour)
        log.rounds.texts.adjourn(hour)
        log.rounds.shorten_packets()

    def end_session(self) -> None:
        """The log is past the agreed hour: what was received before is gone, however slow this device's clock is."""
        hour = self._log.consent.adjourned
        self._log.store.messages.erase_received_before(hour)
        self._log.rounds.texts.erase_ended(hour)
        self._log.erased()

    def until(self, now: int, life: int) -> int:
        """The life (seconds) of what is said now: no longer than to the agreed end of the session."""
        hour = self._log.consent.adjourned
        return min(life, hour - now) if now < hour else life

    def left(self) -> int:
        """Seconds to the agreed end of the session; 0 when none is to come."""
        return max(0, self._log.consent.adjourned - self._log.clock())

    def end_of(self, expires_at: int, life: int) -> int:
        """When the key is destroyed of a text that expires at `expires_at` (Unix seconds) after `life` seconds.

        By the log's time, not by this device's clock: a wrong one must not cost messages that others can read.
        """
        return ALONE if self._log.charter.retention.read_offline else hours.end(expires_at, life)

    def draft_end(self, life: int, expires_at: int) -> int:
        """The end under which a text is kept that waits to be sent, of this life (seconds)."""
        return self.end_of(max(expires_at, self._log.row.received_at + life), life)

    def add_draft(self, content: bytes, life: int, expires_at: int, kind: Kind = Kind.SAID) -> int:
        """Keeps a message or words of a paper (payload.encode_events) to be sent; returns the draft's number. Raises
        Lacking or UserError.
        """
        end = self.draft_end(life, expires_at)
        if self._log.store.hours.is_over(end):
            raise UserError("this device's clock is too slow for so short a life: set it, or choose a longer life")
        with self._log.step():
            return self._log.store.outbox.add(kind, content, life, expires_at, end)

    def fold_message(
        self, entry: wire.Entry, event: Said | Attached | Shuttle, sender: bytes, outgoing: Outgoing | None
    ) -> list[Happening]:
        """Keeps what was said; `outgoing` when it is this device's own."""
        # The shortest rule wins: what the author said, what the charter says, what the service said. A time in the
        # future, as a lying service may give, makes nothing live longer by this device's clock.
        life, hour = min(event.life, self.longest()), self._log.consent.adjourned
        expires_at = min(entry.expires_at, min(entry.received_at, self._log.clock()) + life)
        if min(entry.received_at, self._log.clock() + CLOCKS) < hour:
            expires_at = min(expires_at, hour)
        if entry.received_at < hour:
            life = min(life, hour - entry.received_at)
        end = self.end_of(min(entry.expires_at, entry.received_at + life), life)
        if expires_at <= self._log.clock() or self._log.store.hours.is_over(end):
            self._log.row.missed += outgoing is None
            return []
        own = outgoing is not None
        held = not talk.may_show(self._log.consent, self._log.own_card.fingerprint)
        kind = "shuttle" if isinstance(event, Shuttle) else "said"
        attached = event if isinstance(event, Attached) else None
        place = (end, entry.received_at, expires_at)
        message = Message(
            *(entry.seq, sender, event.id, self._text(event, sender), *place),
            own=own,
            held=held,
            attached=attached,
            kind=kind,
        )
        sent = Sent(entry.seq, entry.entry, outgoing.delete_secret, entry.expires_at) if outgoing else None
        kept = self._log.store.messages.add(message, sent)
        if attached is not None and own:
            self._log.rooms.posted(attached.attachment, entry.seq)
        if own and entry.received_at < hour:
            self._log.store.messages.delete_sent(entry.seq, hour)
        if not kept or message.held:
            return []
        return [Happening(kind, entry.seq, message, self._log.members.get(sender))]

    def _text(self, event: Said | Attached | Shuttle, sender: bytes) -> str:
        """As a message's row has it."""
        match event:
            case Said():
                return event.text
            case Attached():
                return harmless(event.name)
            case Shuttle():
                return kept_word(self._log.consent, sender, event.event)

    def release(self) -> list[Happening]:
        """What was held back while somebody was unattested is shown once nobody is."""
        if not talk.may_show(self._log.consent, self._log.own_card.fingerprint):
            return []
        return [
            Happening(message.kind, message.seq, message, self._log.members.get(message.sender))
            for message in self._log.store.messages.release(self._log.clock())
        ]

    def fold_shorter(self, entry: wire.Entry, shorter: list[payload.Event], sender: bytes) -> list[Happening]:
        """Messages whose author gives them shorter lives."""
        happened: list[Happening] = []
        for event in shorter:
            found = self._log.store.messages.find(sender, event.id) if isinstance(event, Shortened) else None
            if not isinstance(event, Shortened) or found is None:
                continue
            seq, received_at = found
            expires_at = min(received_at, self._log.clock()) + event.life
            if sender == self._log.row.credential:
                self._log.store.messages.delete_sent(seq, received_at + event.life)
            message = self._log.store.messages.one(seq)
            if message is not None and expires_at < message.expires_at:
                self._let_live(message, expires_at, self.end_of(expires_at, max(1, event.life)))
                happened.append(Happening("shortened", entry.seq, message, self._log.members.get(sender)))
        return happened

    def _let_live(self, message: Message, expires_at: int, end: int) -> None:
        """The shorter of two lives, and of two keys the one that ends earlier. `message` as it is stored now."""
        if end == ALONE:
            end = message.end
        elif message.end != ALONE:
            end = min(message.end, end)
        self._log.erased()
        if expires_at <= self._log.clock() or self._log.store.hours.is_over(end):
            self._log.store.messages.erase(message.seq)
        else:
            self._log.store.messages.shorten(message, min(message.expires_at, expires_at), end)
