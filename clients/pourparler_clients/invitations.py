"""The inviter's side, and what both sides share. A step is saved before it is sent, and sent again alike.

Inviter: offered -> answered -> accepted -> seated. Invitee: answering -> deciding -> accepting -> joined.
Each pair of one-time keys is erased with its invitation, whichever way it ends.
"""

import base64
import binascii
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.errors import CryptoError, NotAuthentic
from pourparler_crypto.invitation import OVERHEAD, EphemeralKey, Offer, open_step, seal_step
from pourparler_crypto.mls import KeyPackageInfo, read_key_package
from pourparler_policies import invitation as steps
from pourparler_policies import wire
from pourparler_policies.admission import CREDENTIAL_BYTES
from pourparler_policies.charter.withholding import shown_before_acceptance
from pourparler_policies.errors import PolicyError, Void
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.events import Commit
from pourparler_policies.limits import DAY, MAX_BOX_LIFE
from pourparler_policies.payload import Seated, check_name
from pourparler_policies.wire import Problem

from .channel import Channel, Connect
from .errors import Refused, Unreachable, UserError
from .grounds import NotYet, body_for, find_ground, may_approve, named_by_charter
from .sealing import bucket_for
from .suite import SUITE
from .vault import Vault

INVITATION_LIFE: Final = 7 * DAY  # seconds: people who open the program once a day, with a week-end between
# The box ended, was never made, or holds something else: nothing will come of it.
_BOX_GONE: Final = (Problem.UNAUTHORIZED, Problem.NOT_FOUND, Problem.ID_REUSED)
CLOCKS_DIFFER: Final = DAY  # seconds that the clocks of two devices may differ
_PREFIX: Final = "pourparler-invitation:"
_MAX_TEXT: Final = 8192  # characters; a real one has about 4,300


class _State(BaseModel):
    model_config = ConfigDict(strict=True, ser_json_bytes="base64", val_json_bytes="base64")

    secret: bytes
    private: bytes  # own one-time key
    public: bytes
    url: str
    token: bytes  # of the box
    answer: bytes = b""  # the sealed steps, as sent or received
    offer: bytes = b""
    acceptance: bytes = b""

    @property
    def key(self) -> EphemeralKey:
        return EphemeralKey(self.private, self.public)


class Inviting(_State):
    """The inviter's side."""

    card: str
    second: bool = False  # another device of the inviter's own seat
    peer: bytes = b""  # the invitee's one-time public key


class Joining(_State):
    """The invitee's side."""

    inviter: bytes  # the inviter's one-time public key
    bundle: bytes = b""  # own KeyPackage with its private halves
    device: bytes = b""
    device_token: bytes = b""
    credential: bytes = b""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of an invitation: `step` is offered, answered, accepted, waiting, seated or failed.

    `reason`, when it failed: over (its time, or it was declined), clock, refused (the seat), spoiled; when it waits:
    whose consent is missing.
    """

    name: str
    step: str
    reason: str = ""


def encode_invitation(sealed: bytes) -> str:
    """Leg one as one line of text."""
    return _PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_invitation(text: str, key: CardKey) -> Offer:
    """Reads leg one. Raises UserError: not an invitation, damaged, or for another card."""
    text = "".join(text.split()) if len(text) <= 2 * _MAX_TEXT else text
    if not text.startswith(_PREFIX) or len(text) > _MAX_TEXT:
        raise UserError(f"this is not an invitation: an invitation begins with {_PREFIX}")
    encoded = text.removeprefix(_PREFIX)
    try:
        sealed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        return Offer.open_with(key, sealed)
    except NotAuthentic:
        raise UserError(
            "this invitation is for another card, or was damaged in copying: ask for it again"
        ) from None
    except (CryptoError, binascii.Error, ValueError):
        raise UserError("this invitation is incomplete or damaged: ask for it again") from None


def load(vault: Vault, kind: type["Inviting"] | type["Joining"], box: bytes) -> tuple[str, Inviting | Joining]:
    """Step and state of one invitation."""
    row = vault.row("SELECT step, state FROM invitation WHERE box = ?", box)
    if row is None:
        raise UserError("this invitation is no longer in the vault")
    return row[0], kind.model_validate_json(row[1])


def save(vault: Vault, box: bytes, step: str, state: _State) -> None:
    """The next step; inside a transaction."""
    vault.execute("UPDATE invitation SET step = ?, state = ? WHERE box = ?", step, _json(state), box)


def insert(vault: Vault, box: bytes, channel: bytes | None, step: str, state: _State, expires_at: int) -> None:
    """A new invitation; inside a transaction."""
    vault.execute("INSERT INTO invitation VALUES (?, ?, ?, ?, ?)", box, channel, step, _json(state), expires_at)


def erase(vault: Vault, box: bytes) -> None:
    """The invitation and its one-time keys."""
    with vault.transaction():
        vault.execute("DELETE FROM invitation WHERE box = ?", box)
    vault.empty_journal()


def _json(state: _State) -> bytes:
    return state.model_dump_json().encode()


def seal_to_bucket(step: str, secret: bytes, before: bytes, recipient: bytes, text: bytes) -> bytes:
    """A step sealed to the smallest bucket that holds it."""
    return seal_step(step, secret, before, recipient, text, bucket_for(len(text) + OVERHEAD))


class _Clock(Exception):
    """A lifetime that does not hold this moment, by more than clocks may differ."""


class Inviter:
    """Invites cards into one channel and carries each invitation on."""

    def __init__(self, channel: Channel, vault: Vault, own: Card, connect: Connect) -> None:
        self._channel = channel
        self._vault = vault
        self._own = own
        self._connect = connect

    async def invite(self, card: Card, life: int = INVITATION_LIFE, *, second: bool = False) -> str:
        """Leg one as a line of text for the card's owner; `life` in seconds. Raises UserError or Refused.

        A card that the charter names and nobody has seated yet is put on the table by this. `second`: the card is of
        this person's own second device. The seat itself waits for the consent that it needs.
        """
        self._channel.require_open()
        if card.fingerprint == self._own.fingerprint:
            raise UserError("this is this device's own card")
        if check_name(card.name) != card.name:
            raise UserError("the name on this card is not written as a name should be: ask for another card")
        if any(member.fingerprint == card.fingerprint for member in self._channel.log.members.values()):
            raise UserError("this card already has a seat in the channel")
        log = self._channel.log
        subject = named_by_charter(log.consent, card.fingerprint)
        if subject is not None and not second:
            await self._channel.propose(subject, confirm=False if may_approve(log) else None)
        with suppress(NotYet):  # approvals may come while the invitation is under way
            find_ground(log, card.fingerprint, second=second)
        if not 1 <= life <= MAX_BOX_LIFE:
            raise UserError(f"an invitation waits 1 to {MAX_BOX_LIFE // DAY} days")
        for box, step, state in self.pending():
            if state.card == card.encode() and step == "offered":
                # Perhaps never handed over: the newer one takes its place.
                with suppress(Refused, Unreachable):
                    async with self._connect(state.url, state.token) as api:
                        await api.remove_box(box)
                erase(self._vault, box)
        box, token, secret = os.urandom(16), os.urandom(32), os.urandom(32)
        key = EphemeralKey.generate()
        url = self._channel.log.row.url
        state = Inviting(
            secret=secret,
            private=key.private,
            public=key.public,
            url=url,
            token=token,
            card=card.encode(),
            second=second,
        )
        with self._vault.transaction():
            insert(self._vault, box, self._channel.id, "offered", state, self._channel.clock() + life)
        try:
            await self._channel.create_box(box, token, life)
        except Refused:
            erase(self._vault, box)
            raise
        address = steps.Address(url=url, box=box, token=token).encode()
        return encode_invitation(Offer(address, secret, key.public).seal_to(card))

    def pending(self) -> list[tuple[bytes, str, Inviting]]:
        """Box, step and state of the invitations into this channel."""
        rows = self._vault.rows(
            "SELECT box, step, state FROM invitation WHERE channel = ? ORDER BY expires_at", self._channel.id
        )
        return [(box, step, Inviting.model_validate_json(state)) for box, step, state in rows]

    async def progress(self) -> list[Progress]:
        """Carries every invitation on as far as it goes now."""
        return [await self._carry_on(box, step, state) for box, step, state in self.pending()]

    async def _carry_on(self, box: bytes, step: str, state: Inviting) -> Progress:
        card = Card.decode(state.card)
        try:
            async with self._connect(state.url, state.token) as api:
                if step == "offered":
                    sealed = await api.collect(box, steps.ANSWER)
                    if sealed is None:
                        return Progress(card.name, step)
                    step = self._offer(box, state, sealed)
                if step == "answered":
                    await api.deposit(box, steps.OFFER, state.offer)
                    sealed = await api.collect(box, steps.ACCEPTANCE)
                    if sealed is None:
                        return Progress(card.name, step)
                    state.acceptance = sealed
                    step = "accepted"
                    with self._vault.transaction():
                        save(self._vault, box, step, state)
            return await self._seat(box, state, card)
        except NotYet as missing:
            return Progress(card.name, "waiting", str(missing))
        except _Clock:
            erase(self._vault, box)
            return Progress(card.name, "failed", "clock")
        except (Void, UserError):
            # The invitee asks for what the others would refuse: it is spent.
            erase(self._vault, box)
            return Progress(card.name, "failed", "refused")
        except (CryptoError, PolicyError):
            # Damaged, or written by somebody who has the address and is not the invitee.
            erase(self._vault, box)
            return Progress(card.name, "failed", "spoiled")
        except Refused as refusal:
            if refusal.problem not in _BOX_GONE:
                raise
            erase(self._vault, box)
            # Other content in a slot of ours: somebody else wrote there.
            spoiled = refusal.problem is Problem.ID_REUSED
            return Progress(card.name, "failed", "spoiled" if spoiled else "over")

    def _offer(self, box: bytes, state: Inviting, answer: bytes) -> str:
        state.peer = open_step("answer", state.secret, b"", state.key, answer)
        state.answer = answer
        charter = self._channel.log.charter
        offer = steps.Offer(
            charter=shown_before_acceptance(charter).encode(),
            hash=charter.hash,
            body=body_for(self._channel.log, Card.decode(state.card).fingerprint, second=state.second),
            inviter=self._own.name,
            fingerprint=self._own.fingerprint,
        )
        state.offer = seal_to_bucket("offer", state.secret, answer, state.peer, offer.encode())
        with self._vault.transaction():
            save(self._vault, box, "answered", state)
        return "answered"

    async def _seat(self, box: bytes, state: Inviting, card: Card) -> Progress:
        opened = open_step("acceptance", state.secret, state.offer, state.key, state.acceptance)
        acceptance = steps.decode(steps.Acceptance, opened)
        info = self._read_package(acceptance.key_package)
        if len(info.credential) != CREDENTIAL_BYTES:
            raise Void("a credential has 16 bytes")
        log = self._channel.log
        if info.credential not in log.members:
            if any(member.fingerprint == card.fingerprint for member in log.members.values()):
                raise Void("another invitation has seated this card")
            find_ground(log, card.fingerprint, second=state.second)  # raises NotYet before anything is sealed

            def seated() -> Seated:
                ground, digest = find_ground(log, card.fingerprint, second=state.second)
                return Seated(
                    credential=info.credential,
                    device=acceptance.device,
                    name=card.name,
                    public=card.public,
                    fingerprint=card.fingerprint,
                    ground=ground,
                    digest=digest,
                )

            def admit(welcome: bytes, tree: bytes | None, commit: Commit) -> wire.Admit:
                packet = self._welcome(welcome, tree, commit, seated())
                sealed = seal_to_bucket("welcome", state.secret, state.acceptance, state.peer, packet)
                return wire.Admit(
                    device=acceptance.device, token_hash=acceptance.token_hash, box=box, welcome=sealed
                )

            await self._channel.seat(acceptance.key_package, seated, admit)
        erase(self._vault, box)
        return Progress(card.name, "seated")

    def _read_package(self, package: bytes) -> KeyPackageInfo:
        info = read_key_package(package, suite=SUITE)
        now = self._channel.clock()
        for moment in (now, now - CLOCKS_DIFFER, now + CLOCKS_DIFFER):
            try:
                return read_key_package(package, suite=SUITE, now=moment)
            except CryptoError:
                continue
        # Valid but for its lifetime.
        raise _Clock(f"the lifetime of {info.ref.hex()[:8]} is not now")

    def _welcome(self, welcome: bytes, tree: bytes | None, commit: Commit, seated: Seated) -> bytes:
        log = self._channel.log
        return steps.Welcome(
            channel=log.row.id,
            welcome=welcome,
            tree=tree,
            charter=log.row.charter,
            seq=log.chain.seq,
            chain=log.chain.head,
            state=canonical(log.folded),
            members=[
                steps.Seat(
                    credential=m.credential,
                    device=m.device,
                    name=m.name,
                    public=m.public,
                    fingerprint=m.fingerprint,
                    keys=list(m.keys),
                    heard=m.heard,
                )
                for m in log.members.values()
            ],
            committer=log.row.credential,
            commit=canonical(commit),
            seated=seated,
            complaints=list(log.store.complaint_keys().items()),
        ).encode()
