"""A device: a vault, the card in it, and its channels.

    async with Device.open(path, passphrase) as device:
        channel = device.channels()[0]
        await channel.say("Good morning.")

A text is erased when its time is over: whenever the vault is opened, and by `purge` while it stays open.
"""

import asyncio
import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pourparler_crypto import complaint
from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.mls import CHARTER, Group
from pourparler_crypto.note import Note, open_brief
from pourparler_policies import charter as charters
from pourparler_policies import fold, release, wire
from pourparler_policies.admission import CREDENTIAL_BYTES, Member
from pourparler_policies.chain import genesis
from pourparler_policies.charter import Charter
from pourparler_policies.payload import check_name
from pourparler_policies.wire import Problem

from . import inquiries, papers
from .api import Api, check_url
from .channel import Channel, Connect
from .errors import Refused, Unreachable, UserError
from .invitations import Inviter
from .joining import Invitee
from .log import Clock, Log
from .proxy import check_proxy
from .store import ChannelStore, Row, State
from .suite import SUITE
from .vault import Cost, Vault

_GOODBYE: Final = 5.0  # seconds that a device which forgets a channel waits for the service


def _creation(row: Row, charter: Charter) -> wire.CreateChannel:
    return wire.CreateChannel(
        channel=row.id,
        device=row.device,
        token_hash=hashlib.sha256(row.token).digest(),
        absence_limit=charter.retention.absence,
    )


def _now() -> int:
    return int(time.time())


class Device:
    """An opened vault with its channels. `connect` and `clock` may be replaced by who embeds this."""

    def __init__(self, vault: Vault, connect: Connect | None = None, clock: Clock = _now) -> None:
        self.vault = vault
        self._connect = connect or self._reach
        self._real_clock = clock
        self._channels: dict[bytes, Channel] = {}
        self._left: list[Channel] = []  # of earlier places; their connections are still to be closed
        row = vault.row("SELECT name, secret FROM card")
        if row is None:
            raise UserError("this vault has no card: it was not made completely; make a new one")
        self._key = CardKey(row[1])
        self.card: Card = self._key.card(row[0])
        high = vault.row("SELECT high FROM clock")
        self.used_at: int = high[0] if high else 0  # when this vault was open last, before now (Unix seconds)
        self.purge()
        vault.sweep()  # what a crash left of attachments

    @classmethod
    def create(cls, directory: Path, passphrase: str, name: str, cost: Cost | None = None) -> "Device":
        """A new vault with a new card. Raises UserError."""
        name = check_name(name)
        vault = Vault.create(directory, passphrase, cost)
        with vault.transaction():
            vault.execute("INSERT INTO card VALUES (1, ?, ?)", name, CardKey.generate().secret)
        return cls(vault)

    @classmethod
    def open(cls, directory: Path, passphrase: str) -> "Device":
        """Opens a vault. Raises UserError."""
        vault = Vault.open(directory, passphrase)
        try:
            return cls(vault)
        except BaseException:
            vault.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes connections and vault: the vault whatever befalls the rest."""
        try:
            for channel in (*self._channels.values(), *self._left):
                await channel.aclose()
            self._channels.clear()
            if not self.vault.cleared:
                self.purge()
        finally:
            self.vault.close()

    async def visit_inquiries(self) -> list[inquiries.Held]:
        """What this device owes inquiries before there is a channel; returns them. Raises Unreachable, Refused."""
        return await inquiries.visit(self.vault, self._connect, self.clock())

    @property
    def card_key(self) -> CardKey:
        """The secret half of this device's card."""
        return self._key

    def _reach(self, url: str, bearer: bytes | None) -> Api:
        return Api(url, bearer, proxy=self.proxy)

    @property
    def proxy(self) -> str:
        """The SOCKS proxy through which this device reaches services; empty: none."""
        row = self.vault.row("SELECT proxy FROM line")
        return row[0] if row else ""

    def set_proxy(self, proxy: str) -> None:
        """From the next connection on; empty: none. Raises UserError."""
        proxy = check_proxy(proxy) if proxy else ""
        with self.vault.transaction():
            self.vault.execute("INSERT OR REPLACE INTO line VALUES (1, ?)", proxy)

    def clock(self) -> int:
        """Unix seconds; never earlier than this vault has seen."""
        row = self.vault.row("SELECT high FROM clock")
        return max(self._real_clock(), row[0] if row else 0)

    def purge(self) -> int:
        """Erases what has ended, also from the journal; returns how many texts that were."""
        now = self.clock()
        with self.vault.transaction():
            self.vault.execute("UPDATE clock SET high = ?", now)
            erased = self.vault.execute("DELETE FROM message WHERE expires_at <= ?", now)
            self.vault.execute("DELETE FROM sent WHERE expires_at <= ?", now)
            self.vault.execute("DELETE FROM room WHERE expires_at <= ?", now)
            erased += self.vault.execute(
                "DELETE FROM draft WHERE expires_at <= ?"
                " AND number NOT IN (SELECT draft FROM outbox WHERE draft IS NOT NULL)",
                now,
            )
            # Under way, perhaps accepted: its text goes, the sealed bytes stay until the service has answered.
            changed = self.vault.execute(
                "UPDATE draft SET content = x'' WHERE expires_at <= ? AND content != x''"
                " AND number IN (SELECT draft FROM outbox)",
                now,
            )
            self.vault.execute(
                "UPDATE outbox SET envelope = x'' WHERE draft IN (SELECT number FROM draft WHERE content = x'')"
            )
            changed += self.vault.execute("DELETE FROM invitation WHERE expires_at <= ?", now)
            changed += papers.purge(self.vault, now) + inquiries.purge(self.vault, now)
            changed += self.vault.execute("DELETE FROM seed WHERE end > 0 AND end <= ?", now)
            erased += self.vault.execute("DELETE FROM idea_text WHERE expires_at <= ?", now)
            changed += self.vault.execute("DELETE FROM idea_list WHERE expires_at <= ?", now)
        if erased or changed:
            self.vault.empty_journal()
        kept = "SELECT 1 FROM signing UNION ALL SELECT 1 FROM relayed UNION ALL SELECT 1 FROM sounding"
        if self.vault.row(kept) is not None:
            for channel in self.channels():
                channel.log.signing.expire(now)
                channel.log.relayed.expire(now)
                channel.log.soundings.expire(now)
        if self.vault.row("SELECT 1 FROM idea_round") is not None:
            for channel in self.channels():
                channel.log.expire_rounds()
        if self.vault.row("SELECT 1 FROM patience WHERE ending > 0") is not None:
            for channel in self.channels():
                channel.log.expire_ending()
        return erased

    def next_end(self) -> int | None:
        """When the next text ends (Unix seconds), if any is kept."""
        row = self.vault.row(
            "SELECT min(at) FROM (SELECT min(expires_at) AS at FROM message"
            " UNION ALL SELECT min(expires_at) FROM idea_text)"
        )
        return row[0] if row else None

    def open_brief(self, text: str) -> Note:
        """The note that was sealed to this device's card, verified. Raises Malformed, NotAuthentic."""
        return open_brief(text, self._key, self.card.name)

    def channels(self) -> list[Channel]:
        """The channels of this device."""
        for channel in ChannelStore.all(self.vault):
            kept, row = self._channels.get(channel), ChannelStore(self.vault, channel).row()
            if kept is not None and row is not None and kept.log.row.credential != row.credential:
                self._left.append(self._channels.pop(channel))  # this device was seated anew
            if channel not in self._channels:
                self._channels[channel] = Channel(Log(self.vault, channel, self.clock), self._connect, self.clock)
        for ended in set(self._channels) - set(ChannelStore.all(self.vault)):
            del self._channels[ended]
        return [c for c in self._channels.values() if c.log.row.state is not State.FOUNDING]

    async def found(self, url: str, grant: bytes, charter: Charter) -> Channel:
        """Opens a new channel under a charter, with the operator's grant (32 bytes). Raises UserError or Refused."""
        try:
            charter = charters.decode(charter.encode())
        except charters.CharterErrors as error:
            raise UserError(f"the charter has errors: {error}") from None
        url = check_url(url)
        async with self._connect(url, grant) as api:
            caps = (await api.service()).caps
            # Commits live as long as a place: a cap below that would found a channel in which nothing can change.
            retention = charter.retention
            longest = max(retention.messages, retention.procedure)
            if longest > caps.longest_life or retention.absence > caps.longest_absence:
                raise UserError(
                    f"this service keeps an entry for at most {caps.longest_life} seconds and a place without "
                    f"contact for at most {caps.longest_absence} seconds; changes of keys live as long as a place "
                    "and two days more: choose less in the charter"
                )
            # A crash after the grant was used must not lose it: the same request is made again.
            again = self._founding(url, charter)
            row = again or self._prepare(url, charter)
            try:
                made = await api.create_channel(_creation(row, charter))
            except Refused as refusal:
                # That founding went through with another grant, and its channel is lost: begin anew with this one.
                if again is None or refusal.problem is not Problem.ID_REUSED:
                    raise
                with self.vault.transaction():
                    ChannelStore(self.vault, again.id).delete()
                row = self._prepare(url, charter)
                made = await api.create_channel(_creation(row, charter))
        row.state, row.incarnation = State.OPEN, made.incarnation
        with self.vault.transaction():
            ChannelStore(self.vault, row.id).save(row)
        self._channels.pop(row.id, None)
        return next(channel for channel in self.channels() if channel.id == row.id)

    def all_channels(self) -> list[Row]:
        """Every channel's row, also of foundings that did not come to their end."""
        rows = (ChannelStore(self.vault, channel).row() for channel in ChannelStore.all(self.vault))
        return [row for row in rows if row is not None]

    def unfinished(self) -> list[Row]:
        """Channels in which a signature of this device is under way: without the device others may be left with a
        release that cannot complete, or its person with a word that nobody can take back.
        """
        kept = [
            (channel.log.row, part.kept)
            for channel in self.channels()
            for part in (channel.log.signing, channel.log.relayed)
        ]
        return [row for row, held in kept if held is not None and held.own.unfinished]

    async def forget(self, channel: bytes) -> None:
        """Erases a channel on this device, in whatever state it is; then tells the service, if it answers.

        The others see a device that is no longer there; they can remove it once they may (admission.py).
        """
        row = ChannelStore(self.vault, channel).row()
        if row is None:
            raise UserError("this channel is not in the vault")
        gone = self._channels.pop(channel, None)
        if gone is not None:
            await gone.aclose()
        with self.vault.transaction():
            ChannelStore(self.vault, channel).delete()
        self.vault.empty_journal()
        with suppress(Refused, Unreachable, TimeoutError):
            async with self._connect(row.url, row.token) as api, asyncio.timeout(_GOODBYE):
                await api.end_device(channel)

    def inviter(self, channel: Channel) -> Inviter:
        """Invites cards into a channel."""
        return Inviter(channel, self.vault, self.card, self._connect)

    def invitee(self) -> Invitee:
        """Answers invitations to this device's card."""
        return Invitee(self.vault, self._key, self._connect, self.clock)

    def _founding(self, url: str, charter: Charter) -> Row | None:
        rows = (ChannelStore(self.vault, channel).row() for channel in ChannelStore.all(self.vault))
        return next(
            (
                r
                for r in rows
                if r and r.state is State.FOUNDING and r.url == url and r.charter == charter.encode()
            ),
            None,
        )

    def _prepare(self, url: str, charter: Charter) -> Row:
        rules, card = charter.rules, self.card
        named = next((named for named in rules.founding if named.card == card.fingerprint), None)
        if named is None:
            raise UserError(
                "the charter does not name this device's card: only a card that it names opens a channel"
            )
        channel, credential = os.urandom(16), os.urandom(CREDENTIAL_BYTES)
        group = Group.create(SUITE, channel, credential, extensions=[(CHARTER, charter.hash)])
        now = self.clock()
        row = Row(
            id=channel,
            url=url,
            state=State.FOUNDING,
            trouble="",
            charter=charter.encode(),
            token=os.urandom(32),
            device=os.urandom(16),
            credential=credential,
            incarnation=bytes(16),
            cursor=0,
            received_at=0,
            handshake_head=0,
            count=0,
            updated_at=now,
            missed=0,
        )
        store = ChannelStore(self.vault, channel)
        member = Member(credential, row.device, card.name, card.public, card.fingerprint)
        with self.vault.transaction():
            store.insert(row)
            store.replace_records(group.records())
            store.add_point(0, genesis(channel))
            store.save_members([member.renewed(group.members[0].signature_key, now)])
            store.save_folded(release.opened(fold.found(rules, named, credential, 0), charter))
            store.add_complaint_key(group.epoch, group.export(complaint.EXPORT_LABEL, b"", complaint.KEY_LENGTH))
        return row
