"""Random histories: whatever happens in whatever order, all members agree on every epoch's secrets and tree.

Each device saves the changes of each call, and its store is compared with the whole state every time; devices
restart from their stores at random. A history is a list of small numbers, so a failing one shrinks to a short one.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pourparler_crypto.errors import CryptoError
from pourparler_crypto.mls import CHARTER, Group, ReceivedProposal
from pourparler_crypto.mls.suites import (
    SUITE_P256_AES128,
    SUITE_PQ,
    SUITE_X25519_AES128,
    SUITE_X25519_CHACHA,
)
from pourparler_crypto.testing import Device, Room

ACTS = (
    "add",
    "add",
    "add without a path",
    "remove",
    "update",
    "update",
    "new signature key",
    "message",
    "message",
    "late message",
    "read late messages",
    "restart",
    "propose an update",
    "propose a removal",
    "propose an add",
    "race",
    "drop",
    "psk",
    "charter",
    "everything at once",
)
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTS), st.integers(0, 10_000), st.integers(0, 10_000)), min_size=6, max_size=24
)


class History:
    """Plays the steps."""

    def __init__(self, suite: int, cap: int) -> None:
        self.room = Room(suite, 2)
        self.cap = cap
        self.late: list[tuple[bytes, bytes, Device]] = []  # text, message, sender: not read yet by anyone
        self.refs: list[bytes] = []  # proposals of this epoch, and what they do
        self.touched: set[int] = set()  # leaves that they touch
        self.proposed: list[Device] = []  # whom they add

    def pick(self, number: int) -> Device:
        return self.room.members[number % len(self.room.members)]

    def play(self, steps: list[Step]) -> None:
        for act, first, second in steps:
            getattr(self, act.replace(" ", "_"))(self.pick(first), second)
        self.read_late_messages(self.pick(0), 0)
        for device in self.room.members:
            device.reload()
            self.room.talk(device)
        self.room.agree()

    def commit(self, by: Device, **options: Any) -> None:
        """With every proposal that waits and does not collide; messages of the old epoch are read before it."""
        self.read_late_messages(by, 0)
        if by.leaf not in self.touched:
            removed = {device.leaf for device in options.get("remove", ())}
            if not removed & self.touched:
                options["proposals"] = self.refs
        taken = self.proposed if options.get("proposals") else []
        adds = list(options.pop("add", ()))
        room = self.room
        pending = by.stage(
            add=[device.bundle.key_package for device in adds],
            remove=[device.leaf for device in options.pop("remove", ())],
            **options,
        )
        known = {**options.get("psks", {})}
        room.deliver(pending.commit, room.others(by), psks=known)
        by.enter(pending.staged.apply())
        for device in [*taken, *adds]:
            assert pending.welcome is not None
            device.enter(Group.join(device.bundle, pending.welcome, ratchet_tree=pending.ratchet_tree, psks=known))
            room.members.append(device)
        room.agree()
        self.refs, self.touched, self.proposed = [], set(), []

    def newcomers(self, number: int) -> list[Device]:
        free = self.cap - len(self.room.members) - len(self.proposed)
        return [self.room.newcomer() for _ in range(min(number, free))]

    def others(self, by: Device, number: int) -> list[Device]:
        """Some others to remove; two members at least stay."""
        candidates = [device for device in self.room.others(by) if device.leaf not in self.touched]
        count = min(1 + number % 3, len(self.room.members) - len(self.touched) - 2)
        start = number % len(candidates) if candidates else 0
        return (candidates[start:] + candidates[:start])[: max(0, count)]

    # acts

    def add(self, by: Device, number: int) -> None:
        self.commit(by, add=self.newcomers(1 + number % 4))

    def add_without_a_path(self, by: Device, number: int) -> None:
        self.commit(by, add=self.newcomers(1 + number % 4), update=False)

    def remove(self, by: Device, number: int) -> None:
        self.commit(by, remove=self.others(by, number))

    def update(self, by: Device, number: int) -> None:
        self.commit(by)

    def new_signature_key(self, by: Device, number: int) -> None:
        self.commit(by, new_signature_key=True)

    def message(self, by: Device, number: int) -> None:
        self.room.talk(by, number.to_bytes(4))

    def late_message(self, by: Device, number: int) -> None:
        text = number.to_bytes(8)
        self.late.append((text, by.send(text, pad_to=number % 700), by))

    def read_late_messages(self, by: Device, number: int) -> None:
        """Everyone reads them, newest first or rotated."""
        start = number % len(self.late) if self.late else 0
        for text, message, sender in reversed(self.late[start:] + self.late[:start]):
            for reader in self.room.others(sender):
                assert reader.read(message) == text
        self.late = []

    def restart(self, by: Device, number: int) -> None:
        by.reload()

    def hand_out(self, by: Device, message: bytes) -> bytes:
        refs = set()
        for device in self.room.others(by):
            received = device.receive(message)
            assert isinstance(received, ReceivedProposal)
            assert received.sender == by.leaf
            refs.add(received.ref)
        (ref,) = refs
        self.refs.append(ref)
        return ref

    def propose_an_update(self, by: Device, number: int) -> None:
        if by.leaf not in self.touched:
            self.touched.add(by.leaf)
            self.hand_out(by, by.propose(by.group.propose_update(new_signature_key=bool(number % 2))))

    def propose_a_removal(self, by: Device, number: int) -> None:
        for gone in self.others(by, number)[:1]:
            self.touched.add(gone.leaf)
            self.hand_out(by, by.propose(by.group.propose_remove(gone.leaf)))

    def propose_an_add(self, by: Device, number: int) -> None:
        for new in self.newcomers(1):
            self.proposed.append(new)
            self.hand_out(by, by.propose(by.group.propose_add(new.bundle.key_package)))

    def race(self, by: Device, number: int) -> None:
        """Two commit; the service takes one, the other is dropped and refused by all."""
        loser = self.pick(number)
        lost = loser.stage() if loser is not by else None
        self.commit(by)
        if lost is not None:
            for device in self.room.members:
                with pytest.raises(CryptoError):
                    device.group.decrypt(lost.commit)

    def drop(self, by: Device, number: int) -> None:
        by.stage(remove=[device.leaf for device in self.others(by, number)])

    def psk(self, by: Device, number: int) -> None:
        self.commit(by, psks={number.to_bytes(2): b"secret"}, update=bool(number % 2))

    def charter(self, by: Device, number: int) -> None:
        self.commit(by, extensions=[(CHARTER, number.to_bytes(32))] if number % 3 else [])

    def everything_at_once(self, by: Device, number: int) -> None:
        self.commit(
            by,
            add=self.newcomers(1 + number % 3),
            remove=self.others(by, number),
            psks={b"psk": number.to_bytes(4)},
            extensions=[(CHARTER, number.to_bytes(32))],
            new_signature_key=True,
        )


MODEST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(MODEST, max_examples=3)
MANY = settings(MODEST, max_examples=15)


@MODEST
@given(STEPS)
def test_all_members_agree_through_any_history_in_suite_1(steps: list[Step]) -> None:
    History(SUITE_X25519_AES128, 12).play(steps)


@pytest.mark.parametrize("suite", [SUITE_P256_AES128, SUITE_X25519_CHACHA, SUITE_PQ])
@FEW
@given(steps=STEPS)
def test_all_members_agree_through_any_history_in_the_other_suites(suite: int, steps: list[Step]) -> None:
    History(suite, 8).play(steps)


@pytest.mark.slow
@MANY
@given(
    st.lists(
        st.tuples(st.sampled_from(ACTS), st.integers(0, 10_000), st.integers(0, 10_000)), min_size=25, max_size=50
    )
)
def test_up_to_32_members_agree_through_long_histories(steps: list[Step]) -> None:
    history = History(SUITE_X25519_AES128, 32)
    history.commit(history.pick(0), add=history.newcomers(14))
    history.play(steps)


@pytest.mark.parametrize("suite", [SUITE_X25519_AES128, SUITE_PQ])
def test_a_group_of_32_grows_talks_and_shrinks_to_one(suite: int) -> None:
    history = History(suite, 32)
    history.commit(history.pick(0), add=history.newcomers(30))
    room = history.room
    assert len(room.members) == 32
    for device in room.members[::5]:
        room.commit(device)
    room.talk(room.members[-1])
    while len(room.members) > 1:
        room.commit(room.members[0], remove=room.members[1:][-7:])
    assert room.members[0].group._state.tree.leaves == 1
    room.commit(room.members[0])
    assert [member.leaf for member in room.members[0].group.members] == [0]


@pytest.mark.parametrize("suite", [SUITE_X25519_AES128, SUITE_P256_AES128, SUITE_X25519_CHACHA, SUITE_PQ])
def test_one_fixed_history_with_every_act_in_every_suite(suite: int) -> None:
    steps = [(act, 7 * number, 11 * number + 1) for number, act in enumerate(ACTS * 2)]
    History(suite, 10).play(steps)
