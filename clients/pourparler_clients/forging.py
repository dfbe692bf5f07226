"""For tests only: a member's client that misbehaves as it is told, and a service that lies.

    mal = Hostile(person)                       # the person's own device, vault, keys and place in the group
    await mal.act(Approved(digest), counter=7)  # any event, with any counter and stamp, whether it counts or not
    await mal.commit(add=[package], seated=[one])   # any commit; nobody asked whether the rules allow it
    await mal.break_path(victim)                # a commit that one device alone cannot process
    copy = await mal.take(entry)                # what another member signed, out of its entry ...
    await mal.replay(copy)                      # ... and sent again under that member's next key
    claim(person, card)                         # this device says from now on that the card is its own
    with playing_all() as known: ...            # one person makes up a whole channel from public cards
    with lying_welcome(change): ...             # what an inviter tells the newcomer about the channel

    person.line.rewrite = withhold(seq)         # the service lies to one device: withhold, redate, swap, no_welcome

What `Hostile` sends is authentic, for it comes from a member. It goes on as the others would take it: a commit that
counts for them brings it into the next epoch, so it can attack again. A test of an attack shows besides that the same
call succeeds when the rule allows it: else it would prove nothing. `go_on` is what has to hold after every attack.

Nothing here validates, and no product code imports it; the service it talks to, the vaults and the keys are real.
Longer than 500 lines, for its attacks share one forged device.
"""

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.hpke import MLKEM768_X25519, open_
from pourparler_crypto.mls import CHARTER, Group, KeyPackageBundle, make_key_package
from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.forging import Forger, Twist
from pourparler_crypto.mls.framing import AuthenticatedContent, seal_private
from pourparler_crypto.mls.proposals import Proposal
from pourparler_crypto.mls.secrettree import APPLICATION, HANDSHAKE
from pourparler_crypto.stamp import seal_stamp
from pourparler_policies import fold, payload, wire
from pourparler_policies import invitation as steps
from pourparler_policies.admission import CREDENTIAL_BYTES
from pourparler_policies.errors import PolicyError
from pourparler_policies.fold.encoding import digest as state_digest
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.events import Commit, Ground
from pourparler_policies.fold.events import Event as Procedure
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Act, Attesting, Envelope, Event, Said, Seated
from pourparler_policies.wire import PROBLEM_URN

from .attesting import Attestations
from .channel import Channel
from .judging import Judged, judge_commit
from .log import Log
from .outbox import Kind, Outgoing
from .sealing import bucket_for
from .store import State
from .suite import SUITE
from .testing import Person, Rewrite, rewrite_pages

Stamp = tuple[int, bytes]  # the point of the procedure that an entry says its author has seen


@dataclass(frozen=True, slots=True)
class Taken:
    """What a member signed, taken out of its entry: `leaf` is the member's, `handshake` the entry's flag."""

    content: AuthenticatedContent
    leaf: int
    handshake: bool


class Hostile:
    """One person's client in the hands of somebody who keeps no rule. See the module for its use."""

    def __init__(self, person: Person) -> None:
        self.person = person

    @property
    def log(self) -> Log:
        """Its log, as its honest part keeps it."""
        return self.person.log

    @property
    def credential(self) -> bytes:
        """Of its leaf, 16 bytes."""
        return self.log.row.credential

    def stamp(self) -> Stamp:
        """The true point of the procedure."""
        return self.log.chain.seq, self.log.chain.head

    def envelope(self, *events: Event, stamp: Stamp | None = None) -> Envelope:
        """Any events in one envelope."""
        seq, chain = stamp or self.stamp()
        return Envelope(seq=seq, chain=chain, events=list(events))

    # Entries

    async def post(self, sealed: bytes, *, handshake: bool, life: int | None = None) -> bytes:
        """Appends any bytes; they count for nothing to its own client. Returns the entry's id."""
        return await self._send(
            Kind.SAID, sealed, b"", handshake=handshake, life=life or self.log.charter.retention.procedure
        )

    async def act(
        self,
        *events: Procedure,
        counter: int | None = None,
        stamp: Stamp | None = None,
        handshake: bool = True,
        life: int | None = None,
    ) -> bytes:
        """Posts events of the procedure, whether they count or not. Returns the entry's id."""
        await self.catch_up()
        first = counter if counter is not None else self.person.channel.sealer._counter() + 1
        acts = [Act.of(number, event) for number, event in enumerate(events, first)]
        return await self._apply(Kind.ACT, self.envelope(*acts, stamp=stamp), handshake=handshake, life=life)

    async def say(self, text: str, *, stamp: Stamp | None = None, handshake: bool = False) -> bytes:
        """Says something, whether it counts or not."""
        await self.catch_up()
        said = Said(id=os.urandom(16), text=text, life=3600)
        return await self._apply(Kind.SAID, self.envelope(said, stamp=stamp), handshake=handshake, life=3600)

    async def attest(self, peer: Person, *messages: bytes) -> None:
        """Steps of an attestation, whatever they are."""
        await self.catch_up()
        made = [Attesting(peer=peer.log.row.credential, step=message) for message in messages]
        await self._apply(Kind.SAID, self.envelope(*made), handshake=False, life=None)

    async def raw(self, data: bytes, *, handshake: bool = True) -> bytes:
        """Posts any application data, authentic as its own; its own client takes it for nothing."""
        await self.catch_up()
        with self.log.step():
            sealed, changes = self.log.group.encrypt(data, pad_to=bucket_for)
            self.log.store.change_records(changes)
        return await self.post(sealed, handshake=handshake)

    async def _apply(self, kind: Kind, envelope: Envelope, *, handshake: bool, life: int | None) -> bytes:
        envelope = envelope.model_copy(update={"key": self.log.group.next_generation()})
        data = payload.encode(envelope)
        with self.log.step():
            sealed, changes = self.log.group.encrypt(data, pad_to=bucket_for)
            self.log.store.change_records(changes)
        life = life or self.log.charter.retention.procedure
        return await self._send(kind, sealed, data if handshake == envelope.procedure else b"", handshake, life)

    async def catch_up(self) -> None:
        """Folds to the head, and does nothing of what it owes."""
        async with self.person.channel._turn:
            await self.person.channel.pulling.pull()

    async def _send(
        self,
        kind: Kind,
        sealed: bytes,
        envelope: bytes,
        handshake: bool,
        life: int,
        admit: wire.Admit | None = None,
        commit: bytes = b"",
    ) -> bytes:
        channel = self.person.channel
        seen = await channel._api.channel(channel.id)
        with self.log.step():
            self.log.row.handshake_head = seen.handshake_head
            outgoing = channel.sealer._put(
                kind, sealed, envelope, handshake=handshake, life=life, draft=None, admit=admit, commit=commit
            )
        async with channel._turn:
            await channel.sending.send(outgoing)
        return outgoing.entry

    # Commits

    async def commit(
        self,
        *,
        add: Sequence[bytes] = (),
        remove: Sequence[bytes] = (),
        seated: Sequence[Seated] = (),
        extensions: Sequence[tuple[int, bytes]] | None = None,
        admit: wire.Admit | None = None,
        twist: Twist | None = None,
        stamp: Stamp | None = None,
        explained: bytes | None = None,
        **more: Any,
    ) -> bytes:
        """Posts any commit. `twist` sends it along a wrong path (then it only renews its author's leaf).

        `explained` takes the place of the sealed explanation; `more` goes to `Group.stage`. Returns the entry's id.
        """
        await self.catch_up()
        log = self.log
        envelope = self.envelope(*seated, stamp=stamp)
        envelope = envelope.model_copy(update={"key": log.group.next_generation(handshake=True)})
        data = payload.encode(envelope)
        sealed_stamp = explained if explained is not None else seal_stamp(log.stamp_key(), data)
        if twist is not None:
            message, following = self._twisted(twist, sealed_stamp)
            commit = Commit(updated=(self.credential,)) if explained is None else None
        else:
            leaves = [member.leaf for member in log.group.members if member.credential in remove]
            pending = log.group.stage(
                add=add,
                remove=leaves,
                update=True,
                new_signature_key=True,
                extensions=extensions,
                authenticated_data=sealed_stamp,
                pad_to=bucket_for,
                **more,
            )
            message, following = pending.commit, pending.staged.apply()
            with log.step():
                log.store.change_records(pending.changes)
            commit = (
                self._judged(
                    lambda: judge_commit(
                        log.folded,
                        log.members,
                        log.group,
                        pending.staged,
                        envelope,
                        log.row.cursor + 1,
                        self._now(),
                    )
                )
                if explained is None
                else None
            )
        if commit is not None:
            with log.step():
                log.store.replace_records(following.records(), pending=True)
        return await self._send(
            Kind.COMMIT,
            message,
            data if commit is not None else b"",
            True,
            log.charter.retention.procedure,
            admit,
            canonical(commit) if commit is not None else b"",
        )

    def _now(self) -> int:
        return max(self.person.clock(), self.log.consent.time)

    @staticmethod
    def _judged(judge: Callable[[], Judged]) -> Commit | None:
        try:
            return judge().commit
        except PolicyError:
            return None

    def _twisted(self, twist: Twist, stamp: bytes) -> tuple[bytes, Group]:
        forger = Forger(self.log.group)
        sign = forger.sign
        forger.sign = lambda content, **options: sign(content, **{**options, "authenticated_data": stamp})  # type: ignore[method-assign]
        forged = forger.commit(twist=twist)
        message = fit(lambda padding: self._private(forged.content, padding))
        self._use_up()
        return message, forged.following

    def _use_up(self) -> None:
        """The handshake key that a copy of this device's state has sealed with."""
        tree = self.log.group._state.secret_tree
        with self.log.step():
            self.log.store.change_records(tree.take(tree.find(self.log.group.own_leaf, HANDSHAKE)))

    async def break_path(self, *victims: Person, explained: bytes | None = None) -> bytes:
        """A commit whose path these devices alone cannot process: each alone under its part of the tree."""
        await self.catch_up()
        wrong = {self.leaf_of(victim.log.row.credential) for victim in victims}
        return await self.commit(twist=Twist(secret=self._wrong_for(wrong)), explained=explained)

    def _wrong_for(self, leaves: set[int]) -> Callable[[int, int, bytes], bytes]:
        state = self.log.group._state
        tree = state.tree.copy()
        receivers = [tree.resolution(copath, []) for _, copath in tree.filtered_direct_path(state.own_leaf)]
        places = {
            (level, position)
            for level, resolution in enumerate(receivers)
            for position, node in enumerate(resolution)
            if any(_is_above(node, 2 * leaf) for leaf in leaves)
        }
        return lambda level, position, secret: os.urandom(len(secret)) if (level, position) in places else secret

    def leaf_of(self, credential: bytes) -> int:
        """The leaf index of a member."""
        return next(member.leaf for member in self.log.group.members if member.credential == credential)

    async def propose_alone(self, proposal: Proposal, *, life: int = 1) -> bytes:
        """An MLS proposal in an entry of its own. Returns its reference, for `commit(proposals=[…])`."""
        await self.catch_up()
        content = Forger(self.log.group).sign(proposal)
        message = fit(lambda padding: self._private(content, padding))
        self._use_up()
        await self.post(message, handshake=False, life=life)
        state = self.log.group._state
        reference = content.proposal_ref(state.suite)
        state.keep_proposal(reference, content)
        return reference

    def _private(self, content: AuthenticatedContent, padding: bytes, **more: Any) -> bytes:
        return Forger(self.log.group).private(content, padding=padding, **more)

    async def far_ahead(self, victim: Person) -> bytes:
        """Junk under a key of that member's which no epoch has. No member can tell that it is junk."""
        await self.catch_up()
        state = Forger(self.log.group).state
        step = state.secret_tree.find(self.leaf_of(victim.log.row.credential), APPLICATION)
        step.generation = 2**20
        head = vl(state.context.group_id) + state.context.epoch.to_bytes(8)
        sealed = fit(
            lambda padding: seal_private(state.sender_data, step, bytes(4), head, 1, b"", b"junk" + padding)
        )
        return await self.post(sealed, handshake=False)

    # What others signed

    async def take(self, entry: bytes) -> Taken:
        """What its author signed in an entry that this device has not folded yet."""
        channel = self.person.channel
        page = await channel._api.entries(channel.id, self.log.row.cursor)
        found = next(one for one in page.entries if one.entry == entry)
        content, _, _ = Group.load(self.log.group.records())._open_private(found.sealed)
        leaf = content.sender[1]
        if leaf is None:
            raise AssertionError("a member's entry has a leaf")
        return Taken(content, leaf, found.handshake)

    async def replay(self, taken: Taken, *, handshake: bool | None = None) -> bytes:
        """The same signed content again, under the next key of its author: every member has the keys for it."""
        await self.catch_up()

        sealed = fit(lambda padding: self._private(taken.content, padding, leaf=taken.leaf))
        return await self.post(sealed, handshake=taken.handshake if handshake is None else handshake)

    async def newest(self) -> bytes:
        """The id of the log's newest entry."""
        channel = self.person.channel
        page = await channel._api.entries(channel.id, self.log.row.cursor)
        return page.entries[-1].entry

    # Seats

    async def add(
        self, bundle: KeyPackageBundle, card: Card, ground: Ground, digest: bytes = b"", **changes: Any
    ) -> bytes:
        """Seats a card under a KeyPackage of its own choice, with a box that nobody reads. Returns the entry's id."""
        box, token = os.urandom(16), os.urandom(32)
        await self.person.channel.create_box(box, token, 3600)
        seated = Seated(
            credential=credential_of(bundle),
            device=os.urandom(16),
            name=card.name,
            public=card.public,
            fingerprint=card.fingerprint,
            ground=ground,
            digest=digest,
        ).model_copy(update=changes)
        admit = wire.Admit(
            device=seated.device, token_hash=hashlib.sha256(token).digest(), box=box, welcome=bytes(1024)
        )
        return await self.commit(add=[bundle.key_package], seated=[seated], admit=admit)

    async def charter(self, charter_hash: bytes) -> bytes:
        """Puts a charter's hash into the group context."""
        return await self.commit(extensions=[(CHARTER, charter_hash)])


def _is_above(node: int, leaf_node: int) -> bool:
    level = 0
    while node >> level & 1:
        level += 1
    return abs(node - leaf_node) < 1 << level


def fit(make: Callable[[bytes], bytes]) -> bytes:
    """A message padded to a bucket's size; `make` gets the padding."""
    size = bucket_for(len(make(b"")))
    missing = size - len(make(b""))
    for _ in range(6):
        message = make(bytes(missing))
        if len(message) == size:
            return message
        missing -= len(message) - size
    raise AssertionError("no padding fits")


def new_leaf() -> KeyPackageBundle:
    """A KeyPackage with its private halves, for a seat that nobody will take."""
    now = int(time.time())
    return make_key_package(SUITE, os.urandom(CREDENTIAL_BYTES), lifetime=(now - DAY, now + DAY))


def credential_of(bundle: KeyPackageBundle) -> bytes:
    """The credential of its leaf, 16 bytes."""
    from pourparler_crypto.mls import read_key_package  # noqa: PLC0415

    return read_key_package(bundle.key_package).credential


# Cards of others


@dataclass(frozen=True, slots=True)
class Claimed(Card):
    """Somebody's card, as an invitation to an impostor uses it: what is sealed to it opens with the `true` one."""

    true: Card

    def seal(self, info: bytes, plaintext: bytes) -> bytes:
        """To the impostor's own key."""
        return self.true.seal(info, plaintext)


@dataclass(frozen=True, slots=True, repr=False)
class ClaimedKey(CardKey):
    """An impostor's own key under the card of somebody else."""

    claimed: Card
    known: Mapping[bytes, bytes]  # what was sealed to the card by who plays its owner's peers too

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """With the key that it has, or from memory."""
        return self.known[sealed] if sealed in self.known else open_(MLKEM768_X25519, self.secret, info, sealed)

    def card(self, name: str) -> Card:
        """The card that it claims, whatever the name."""
        return self.claimed


def claim(
    impostor: Person, card: Card, stolen: CardKey | None = None, known: Mapping[bytes, bytes] | None = None
) -> None:
    """From now on this device says that the card is its own, without having its key; it has its own, or a `stolen` one.

    Who invites it (`House.bring_in`) is its accomplice: the invitation is sealed to the key which it does have.
    """
    device = impostor.device
    held = stolen or device._key
    true = held.card(device.card.name)
    plain = Card(card.name, card.public)
    key = ClaimedKey(held.secret, plain, {} if known is None else known)
    device._key = key
    device.card = Claimed(plain.name, plain.public, true)
    channels = device.channels

    def claimed() -> list[Channel]:
        opened = channels()
        for channel in opened:
            if channel.log.own_card is not plain:
                channel.log.own_card = plain
                channel.log.attestations = Attestations(channel.log.store, key, plain)
        return opened

    device.channels = claimed  # type: ignore[method-assign]


@contextmanager
def playing_all() -> Iterator[dict[bytes, bytes]]:
    """One person plays all parts, for `claim(..., known=...)`: what one of its devices seals, the others need not open.

    So it makes up whole channels, attestations included, and has no key of any card.
    """
    known: dict[bytes, bytes] = {}
    true = Card.seal

    def seal(self: Card, info: bytes, plaintext: bytes) -> bytes:
        sealed = true(self, info, plaintext)
        known[sealed] = plaintext
        return sealed

    Card.seal = seal  # type: ignore[method-assign]
    try:
        yield known
    finally:
        Card.seal = true  # type: ignore[method-assign]


@contextmanager
def lying_welcome(change: Callable[[steps.Welcome], steps.Welcome]) -> Iterator[None]:
    """While it lasts, whoever invites tells the newcomer what `change` makes of the truth."""
    true = steps.Welcome.encode
    steps.Welcome.encode = lambda packet: true(change(packet))  # type: ignore[assignment, method-assign, arg-type]
    try:
        yield
    finally:
        steps.Welcome.encode = true  # type: ignore[method-assign]


# A service that lies to one device: values for `Line.rewrite`


def withhold(*seqs: int) -> Rewrite:
    """These entries are never shown."""
    return rewrite_pages(lambda entries: [entry for entry in entries if entry["seq"] not in seqs])


def redate(first: int, seconds: int) -> Rewrite:
    """Every entry from this one on was received so much later."""
    return rewrite_pages(
        lambda entries: [
            {**entry, "received_at": entry["received_at"] + seconds} if entry["seq"] >= first else entry
            for entry in entries
        ]
    )


def swap(first: int) -> Rewrite:
    """This entry and the next change places; nothing from there on is shown before both are there."""
    held: dict[int, dict[str, Any]] = {}

    def change(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        held.update({entry["seq"]: entry for entry in entries if entry["seq"] in (first, first + 1)})
        if len(held) < 2:
            return [entry for entry in entries if entry["seq"] < first]
        a, b = held[first], held[first + 1]
        swapped = [
            {**b, "seq": first, "received_at": a["received_at"]},
            {**a, "seq": first + 1, "received_at": b["received_at"]},
        ]
        rest = [entry for entry in entries if entry["seq"] not in held]
        return sorted(rest + swapped, key=lambda entry: int(entry["seq"]))

    return rewrite_pages(change)


def no_welcome() -> Rewrite:
    """The box stays empty where the Welcome should lie."""
    empty = {"type": f"{PROBLEM_URN}not-found", "title": "", "status": 404, "detail": ""}

    def rewrite(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if method == "GET" and "/boxes/" in path and path.endswith(f"/{steps.WELCOME}"):
            return 404, json.dumps(empty).encode()
        return status, data

    return rewrite


# What has to hold afterwards


async def settle(*people: Person, rounds: int = 4) -> list[list[str]]:
    """Everybody comes online a few times, in turn. Returns the kinds of what each was told."""
    told: list[list[str]] = [[] for _ in people]
    for _ in range(rounds):
        for number, person in enumerate(people):
            if person.state is not None:
                told[number] += [happening.kind for happening in await person.sync()]
    return told


def check_agreement(*people: Person) -> None:
    """AssertionError unless all hold the same state, show the same digits, and may send."""
    states = {person.name: person.state for person in people}
    if set(states.values()) != {State.OPEN}:
        troubles = {p.name: p.device.all_channels()[0].trouble for p in people if p.device.all_channels()}
        raise AssertionError(f"not everybody may send: {states} {troubles}")
    folded = {state_digest(person.log.consent) for person in people}
    shown = {person.log.epoch_digits() for person in people}
    if len(folded) != 1 or len(shown) != 1:
        raise AssertionError("they hold different states")


async def go_on(*people: Person) -> None:
    """The channel goes on for these people: they agree, and what each says is read by all the others."""
    await settle(*people, rounds=2)
    check_agreement(*people)
    mark = base64.urlsafe_b64encode(os.urandom(6)).decode()
    for person in people:
        await person.say(f"{person.name} {mark}")
    for person in people:
        await person.sync()
    said = {f"{person.name} {mark}" for person in people}
    for person in people:
        if not said <= set(person.texts()):
            raise AssertionError(f"{person.name} does not read what was said: {person.texts()}")
    check_agreement(*people)


__all__ = [
    "Claimed",
    "ClaimedKey",
    "Hostile",
    "Outgoing",
    "Taken",
    "check_agreement",
    "claim",
    "credential_of",
    "fit",
    "fold",
    "go_on",
    "lying_welcome",
    "new_leaf",
    "no_welcome",
    "playing_all",
    "redate",
    "settle",
    "swap",
    "withhold",
]
