"""The invitee's side of an invitation: answer, read the terms, decide, join. Each step survives a crash."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pourparler_crypto.card import CardKey, check_digits
from pourparler_crypto.errors import CryptoError
from pourparler_crypto.invitation import EphemeralKey, Offer, open_step
from pourparler_crypto.mls import CHARTER, Group, KeyPackageBundle, make_key_package
from pourparler_policies import invitation as steps
from pourparler_policies.admission import CREDENTIAL_BYTES, Member, roster_digest
from pourparler_policies.chain import extend
from pourparler_policies.errors import Misuse, PolicyError, Void
from pourparler_policies.limits import DAY, MAX_BOX_LIFE
from pourparler_policies.payload import check_name
from pourparler_policies.terms import Terms
from pourparler_policies.wire import Problem

from . import invitations
from .api import Api, check_url
from .channel import Connect
from .errors import Refused, Unreachable, UserError
from .invitations import CLOCKS_DIFFER, Joining
from .log import Clock
from .store import ChannelStore, Row, State
from .suite import SUITE
from .vault import Vault

_KEPT: Final = MAX_BOX_LIFE + DAY  # seconds: no invitation waits longer at the service
_SPOILED: Final = "this invitation has been spoiled (somebody else used its address): ask for another"

_ENDED: Final = "this invitation is over, or was used already: ask for another"
_OTHER_TERMS: Final = "the channel's terms are not the ones you accepted: do not join; tell who invited you"
_OTHER_MEMBERS: Final = "the list of members that came with the welcome is wrong: tell who invited you"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person is shown before deciding: the terms, and who asks, with digits to compare aloud."""

    terms: Terms
    inviter: str
    check_digits: str


class Invitee:
    """One invitation to this device, from the text that came to the channel that opens."""

    def __init__(self, vault: Vault, key: CardKey, connect: Connect, clock: Clock) -> None:
        self._vault = vault
        self._key = key
        self._connect = connect
        self._clock = clock

    def pending(self) -> list[bytes]:
        """Boxes of the invitations under way on this device."""
        return [
            row[0]
            for row in self._vault.rows(
                "SELECT box FROM invitation WHERE channel IS NULL AND expires_at > ? ORDER BY expires_at",
                self._clock(),
            )
        ]

    def host(self, text: str) -> str | None:
        """The host that a new invitation names; None when this device has answered it already. Connects nowhere.

        Raises UserError.
        """
        _, address = self._read(text)
        if address.box in self.pending():
            return None
        return urlsplit(check_url(address.url)).netloc

    def _read(self, text: str) -> tuple[Offer, steps.Address]:
        offer = invitations.open_invitation(text, self._key)
        try:
            return offer, steps.decode(steps.Address, offer.address)
        except PolicyError:
            raise UserError("this invitation is damaged: ask for it again") from None

    def accepted(self, box: bytes) -> bool:
        """Whether its terms have been accepted on this device."""
        return self._load(box)[0] == "accepting"

    async def answer(self, text: str) -> bytes:
        """Answers an invitation with a one-time key; returns its box. Again with the same text: carries on."""
        offer, address = self._read(text)
        if address.box not in self.pending():
            if self._vault.row("SELECT 1 FROM invitation WHERE box = ?", address.box):
                raise UserError(_SPOILED)  # it names the address of another invitation
            key = EphemeralKey.generate()
            state = Joining(
                secret=offer.secret,
                private=key.private,
                public=key.public,
                url=check_url(address.url),
                token=address.token,
                inviter=offer.inviter,
            )
            state.answer = invitations.seal_to_bucket("answer", offer.secret, b"", offer.inviter, key.public)
            with self._vault.transaction():
                expires_at = self._clock() + _KEPT
                invitations.insert(self._vault, address.box, None, "answering", state, expires_at)
        step, state = self._load(address.box)
        try:
            async with self._api(state) as api:
                await api.deposit(address.box, steps.ANSWER, state.answer)
        except Refused as refusal:
            if step == "answering" and refusal.problem is Problem.UNAUTHORIZED:
                raise self._give_up(address.box, _ENDED) from None
            if step == "answering" and refusal.problem is Problem.ID_REUSED:
                raise self._give_up(address.box, _SPOILED) from None
            if refusal.problem is Problem.UNAUTHORIZED:
                raise UserError(_ENDED) from None
            raise
        return address.box

    async def offer(self, box: bytes) -> Invitation | None:
        """The terms, once the inviter's device has sent them; None before."""
        step, state = self._load(box)
        if step == "answering":
            with _box():
                async with self._api(state) as api:
                    sealed = await api.collect(box, steps.OFFER)
            if sealed is None:
                return None
            state.offer = sealed
            self._open_offer(box, state)
            with self._vault.transaction():
                invitations.save(self._vault, box, "deciding", state)
        opened = self._open_offer(box, state)
        return Invitation(Terms.decode(opened.terms), opened.inviter, check_digits(opened.fingerprint))

    async def accept(self, box: bytes) -> None:
        """Accepts the terms: a device of this seat asks to be added."""
        step, state = self._load(box)
        if step == "answering":
            raise UserError("the terms have not come yet")
        if step == "deciding":
            now = self._clock()
            state.credential = os.urandom(CREDENTIAL_BYTES)
            lifetime = (now - CLOCKS_DIFFER, now + MAX_BOX_LIFE + CLOCKS_DIFFER)
            bundle = make_key_package(SUITE, state.credential, lifetime=lifetime)
            state.bundle = bundle.to_bytes()
            state.device, state.device_token = os.urandom(16), os.urandom(32)
            acceptance = steps.Acceptance(
                key_package=bundle.key_package,
                device=state.device,
                token_hash=hashlib.sha256(state.device_token).digest(),
            ).encode()
            state.acceptance = invitations.seal_to_bucket(
                "acceptance", state.secret, state.offer, state.inviter, acceptance
            )
            with self._vault.transaction():
                invitations.save(self._vault, box, "accepting", state)
        with _box():
            async with self._api(state) as api:
                await api.deposit(box, steps.ACCEPTANCE, state.acceptance)

    async def decline(self, box: bytes) -> None:
        """Declines: nothing of the invitation stays here, nor (if the service answers) in the box.

        The inviter sees only that nobody came.
        """
        _, state = self._load(box)
        invitations.erase(self._vault, box)
        with suppress(Refused, Unreachable):  # it ends by itself
            async with self._api(state) as api:
                await api.remove_box(box)

    async def join(self, box: bytes) -> bytes | None:
        """Joins once the Welcome is there and returns the channel's id; None before."""
        _, state = self._load(box)
        with _box():
            async with self._api(state) as api:
                sealed = await api.collect(box, steps.WELCOME)
        if sealed is None:
            return None
        try:
            opened = open_step("welcome", state.secret, state.acceptance, state.key, sealed)
            packet = steps.decode(steps.Welcome, opened)
            bundle = KeyPackageBundle.from_bytes(state.bundle)
            group = Group.join(bundle, packet.welcome, ratchet_tree=packet.tree)
        except (CryptoError, PolicyError):
            raise self._give_up(box, _SPOILED) from None
        terms = self._open_offer(box, state).terms
        if group.group_id != packet.channel or dict(group.extensions).get(CHARTER) != Terms.decode(terms).digest:
            raise self._give_up(box, _OTHER_TERMS)
        if ChannelStore(self._vault, packet.channel).row() is not None:
            raise self._give_up(box, "this device already has a seat in this channel")
        members = {
            m.credential: Member(m.credential, m.device, m.name, m.fingerprint, m.leaving) for m in packet.members
        }
        expected = {m.credential for m in group.members} - {state.credential}
        if members.keys() != expected or len(packet.members) != len(expected) or not _readable(members.values()):
            raise self._give_up(box, _OTHER_MEMBERS)
        async with self._connect(state.url, state.device_token) as api:
            await self._enter(api, box, state, packet, group, list(members.values()))
        async with self._api(state) as api:
            with suppress(Refused, Unreachable):  # it ends by itself
                await api.remove_box(box)
        self._vault.empty_journal()
        return packet.channel

    async def _enter(
        self,
        api: Api,
        box: bytes,
        state: Joining,
        packet: steps.Welcome,
        group: Group,
        others: list[Member],
    ) -> None:
        seen = await api.channel(packet.channel)
        page = await api.entries(packet.channel, seen.first_seq - 1)
        add = next((entry for entry in page.entries if entry.seq == seen.first_seq and entry.handshake), None)
        if add is None or packet.seq >= add.seq:
            raise Refused("the service does not show the entry that seated this device: ask to be seated again")
        card = self._key.card(self._name())
        members = [*others, Member(state.credential, state.device, card.name, card.fingerprint)]
        point = extend(
            packet.chain,
            seq=add.seq,
            entry=add.entry,
            received_at=add.received_at,
            handshake=True,
            sealed=add.sealed,
            roster=roster_digest(members),
        )
        row = Row(
            id=packet.channel,
            url=state.url,
            state=State.OPEN,
            trouble="",
            terms=self._open_offer(box, state).terms,
            token=state.device_token,
            device=state.device,
            credential=state.credential,
            incarnation=seen.incarnation,
            cursor=add.seq,
            received_at=add.received_at,
            handshake_head=add.seq,
            count=0,
            updated_at=self._clock(),
            missed=0,
        )
        store = ChannelStore(self._vault, packet.channel)
        with self._vault.transaction():
            store.insert(row)
            store.replace_records(group.records())
            store.add_point(packet.seq, packet.chain)
            store.add_point(add.seq, point)
            store.save_members(members)
            self._vault.execute("DELETE FROM invitation WHERE box = ?", box)

    def _give_up(self, box: bytes, why: str) -> UserError:
        """Erases an invitation of which nothing can come, its keys with it."""
        invitations.erase(self._vault, box)
        return UserError(why)

    def _name(self) -> str:
        row = self._vault.row("SELECT name FROM card")
        return str(row[0]) if row else ""

    def _load(self, box: bytes) -> tuple[str, Joining]:
        step, state = invitations.load(self._vault, Joining, box)
        if not isinstance(state, Joining):
            raise TypeError("an invitation of the other side")
        return step, state

    def _open_offer(self, box: bytes, state: Joining) -> steps.Offer:
        try:
            opened = open_step("offer", state.secret, state.answer, state.key, state.offer)
            offer = steps.decode(steps.Offer, opened)
            Terms.decode(offer.terms)
            if check_name(offer.inviter) != offer.inviter:
                raise Void("the inviter's name is not written as a name should be")
        except (CryptoError, PolicyError):
            raise self._give_up(box, _SPOILED) from None
        return offer

    def _api(self, state: Joining) -> Api:
        return self._connect(state.url, state.token)


@contextmanager
def _box() -> Iterator[None]:
    """Says that a box is gone. What was accepted stays: the service alone does not decide that it was void."""
    try:
        yield
    except Refused as refusal:
        if refusal.problem is Problem.UNAUTHORIZED:
            raise UserError(_ENDED) from None
        raise


def _readable(members: Iterable[Member]) -> bool:
    """Whether every name is in its canonical form, as every other member has it."""
    try:
        return all(check_name(member.name) == member.name for member in members)
    except Misuse:
        return False
