"""The invitee's side of an invitation: answer, read the charter, decide, join. Each step survives a crash.

A newcomer takes the folded state on the inviter's word and folds the Add itself. That the word was true shows in the
running hash of whatever a member sends (`Log._compare`): nothing is shown or said before a device of every party has
sent its part of the attestation (DESIGN 4.3.4, 4.3.5).
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pourparler_crypto import complaint
from pourparler_crypto.card import Card, CardKey, check_digits
from pourparler_crypto.errors import CryptoError
from pourparler_crypto.invitation import EphemeralKey, Offer, open_step
from pourparler_crypto.mls import CHARTER, Group, KeyPackageBundle, make_key_package
from pourparler_policies import charter as charters
from pourparler_policies import invitation as steps
from pourparler_policies import release
from pourparler_policies.admission import CREDENTIAL_BYTES, Member, procedure_digest
from pourparler_policies.chain import extend
from pourparler_policies.charter import Charter
from pourparler_policies.charter.withholding import shown_before_acceptance
from pourparler_policies.errors import PolicyError, Void
from pourparler_policies.fold.decoding import decode_commit
from pourparler_policies.fold.events import Entry
from pourparler_policies.fold.soundness import check_sound
from pourparler_policies.invitation import KEPT_EPOCHS
from pourparler_policies.limits import DAY, MAX_BOX_LIFE
from pourparler_policies.payload import Envelope, check_name
from pourparler_policies.release.decoding import decode_state
from pourparler_policies.release.facts import State as Folded
from pourparler_policies.release.rules import release_rules
from pourparler_policies.wire import Problem

from . import invitations
from .api import Api, check_url
from .attesting import Attestations
from .channel import Connect
from .errors import Refused, Unreachable, UserError
from .invitations import CLOCKS_DIFFER, Joining
from .judging import Judged, roster_of
from .log import Clock
from .store import ChannelStore, Row, State
from .suite import SUITE
from .vault import Vault

_KEPT: Final = MAX_BOX_LIFE + DAY  # seconds: no invitation waits longer at the service
_SPOILED: Final = "this invitation has been spoiled (somebody else used its address): ask for another"

_ENDED: Final = "this invitation is over, or was used already: ask for another"
_STILL_HERE: Final = (
    "this device still has its earlier place in this channel: read the channel, so that it learns whether it was "
    "removed, or forget it here (`pourparler leave --here`); then go on with this invitation"
)
_OTHER_CHARTER: Final = (
    "the channel's charter is not the one you accepted (was it changed meanwhile?): ask for another invitation"
)
_OTHER_MEMBERS: Final = "the list of members that came with the welcome is wrong: tell who invited you"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person is shown before deciding: the charter, and who asks, with digits to compare aloud.

    `hash` (32 bytes) is the whole charter's; people's names may still be withheld from `charter`.
    """

    charter: Charter
    hash: bytes
    body: str
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
        """Whether its charter has been accepted on this device."""
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
        """The charter, once the inviter's device has sent them; None before."""
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
        charter = charters.decode(opened.charter)
        return Invitation(charter, opened.hash, opened.body, opened.inviter, check_digits(opened.fingerprint))

    async def accept(self, box: bytes) -> None:
        """Accepts the charter: a device of this seat asks to be added."""
        step, state = self._load(box)
        if step == "answering":
            raise UserError("the charter has not come yet")
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
        offer = self._open_offer(box, state)
        charter = self._check_charter(box, offer, packet, group)
        row = ChannelStore(self._vault, packet.channel).row()
        if row is not None and row.state not in (State.HALTED, State.REMOVED) and await self._has_place(row):
            raise UserError(_STILL_HERE)
        try:
            before = self._check_members(packet, group, charter, state.credential)
        except (PolicyError, CryptoError):
            raise self._give_up(box, _OTHER_MEMBERS) from None
        async with self._connect(state.url, state.device_token) as api:
            await self._enter(api, box, state, packet, group, before)
        async with self._api(state) as api:
            with suppress(Refused, Unreachable):  # it ends by itself
                await api.remove_box(box)
        self._vault.empty_journal()
        return packet.channel

    async def _has_place(self, row: Row) -> bool:
        """Whether the service still knows the place that this device had before: else it was removed while away."""
        async with self._connect(row.url, row.token) as api:
            try:
                await api.channel(row.id)
            except Refused as refusal:
                if refusal.problem is Problem.UNAUTHORIZED:
                    return False
                raise
        return True

    def _check_charter(self, box: bytes, offer: steps.Offer, packet: steps.Welcome, group: Group) -> Charter:
        """The whole charter: the one that the group has, whose hash was shown, and which looked as it was shown."""
        try:
            charter = charters.decode(packet.charter)
        except charters.CharterErrors:
            raise self._give_up(box, _OTHER_CHARTER) from None
        shown = shown_before_acceptance(charter).encode()
        if (
            group.group_id != packet.channel
            or group.extensions != ((CHARTER, charter.hash),)
            or charter.hash != offer.hash
            or offer.charter not in (shown, packet.charter)
        ):
            raise self._give_up(box, _OTHER_CHARTER)
        return charter

    def _check_members(self, packet: steps.Welcome, group: Group, charter: Charter, credential: bytes) -> Folded:
        """The folded state before the Add, if state, roster and group tell of the same devices. Raises Void."""
        folded = decode_state(packet.state)
        state = folded.consent
        check_sound(state)
        if state.rules != charter.rules or folded.rules != release_rules(charter):
            raise Void("the state is of another charter")
        cards = {d.credential: card for card, d in state.devices.items() if d.credential}
        seats = {seat.credential: seat for seat in packet.members}
        if len(seats) != len(packet.members) or seats.keys() != cards.keys():
            raise Void("the roster is not the state's")
        for seat in packet.members:
            if (
                check_name(seat.name) != seat.name
                or Card(seat.name, seat.public).fingerprint != seat.fingerprint
                or cards[seat.credential] != seat.fingerprint
            ):
                raise Void("a card of the roster is not the state's")
        epochs = [epoch for epoch, _ in packet.complaints]
        if any(not 0 <= epoch < group.epoch for epoch in epochs) or sorted(set(epochs)) != epochs:
            raise Void("a key for complaints belongs to no epoch before this one")
        commit = decode_commit(packet.commit)
        staying = seats.keys() - set(commit.removed)
        if staying | {packet.seated.credential} != {m.credential for m in group.members}:
            raise Void("the roster is not the group's")
        own = self._key.card(self._name())
        if packet.seated.credential != credential or packet.seated.fingerprint != own.fingerprint:
            raise Void("somebody else was seated")
        if commit.added != (packet.seated.added,):
            raise Void("what the commit says of this device is not what it was told")
        return folded

    async def _enter(
        self,
        api: Api,
        box: bytes,
        state: Joining,
        packet: steps.Welcome,
        group: Group,
        before: Folded,
    ) -> None:
        seen = await api.channel(packet.channel)
        page = await api.entries(packet.channel, seen.first_seq - 1)
        add = next((entry for entry in page.entries if entry.seq == seen.first_seq and entry.handshake), None)
        if add is None or packet.seq >= add.seq:
            raise Refused("the service does not show the entry that seated this device: ask to be seated again")
        place = Entry(add.seq, add.received_at, packet.committer, decode_commit(packet.commit))
        try:
            envelope = Envelope(seq=packet.seq, chain=packet.chain, events=[packet.seated])
            judged = Judged(envelope, release.apply(before, place), decode_commit(packet.commit))
        except PolicyError:
            raise self._give_up(box, _OTHER_MEMBERS) from None
        roster = {
            m.credential: Member(m.credential, m.device, m.name, m.public, m.fingerprint, tuple(m.keys), m.heard)
            for m in packet.members
        }
        members = roster_of(judged, roster, group)
        complaints = {epoch: key for epoch, key in packet.complaints if epoch > group.epoch - KEPT_EPOCHS}
        complaints[group.epoch] = group.export(complaint.EXPORT_LABEL, b"", complaint.KEY_LENGTH)
        point = extend(
            packet.chain,
            seq=add.seq,
            entry=add.entry,
            received_at=add.received_at,
            handshake=True,
            sealed=add.sealed,
            roster=procedure_digest(judged.state, members.values(), complaints),
        )
        row = Row(
            id=packet.channel,
            url=state.url,
            state=State.OPEN,
            trouble="",
            charter=packet.charter,
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
        attestations = Attestations(store, self._key, self._key.card(self._name()))
        with self._vault.transaction():
            if store.row() is not None:  # halted or removed, and seated anew
                store.delete()
            store.insert(row)
            store.replace_records(group.records())
            store.add_point(packet.seq, packet.chain)
            store.add_point(add.seq, point)
            store.save_members(members.values())
            store.save_folded(judged.state)
            for epoch, key in complaints.items():
                store.add_complaint_key(epoch, key)
            for member in members.values():
                if member.credential != state.credential:
                    attestations.meet(group, state.credential, member, judged.state.consent)
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
            if offer.body not in charters.decode(offer.charter).rules.bodies:
                raise Void("the charter has no such party and no such intermediary")
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
