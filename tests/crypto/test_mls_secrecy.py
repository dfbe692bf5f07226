"""What a thief of a device's stored state can and cannot read, and what a removed member can.

Forward secrecy: nothing sent before the theft, also within the epoch once it was read. Healing: nothing after the
victim's next update. The thief has the serialised records and is not bound by our API: it tries each private key
on each ciphertext, and each secret on each ratchet.
"""

import gc
import types
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from pourparler_crypto.errors import CryptoError, KeyUsed, NotAuthentic, ProtocolError, UsageError
from pourparler_crypto.mls import SUPPORTED_SUITES, Group, limits
from pourparler_crypto.mls.commitforms import Commit
from pourparler_crypto.mls.framing import AuthenticatedContent, open_private, open_sender_data, read_private
from pourparler_crypto.mls.secrettree import HANDSHAKE, SecretTree
from pourparler_crypto.mls.state import EpochState
from pourparler_crypto.mls.suites import Expander
from pourparler_crypto.testing import Device, Room

ALL = pytest.mark.parametrize("suite", SUPPORTED_SUITES)


def step_key(device: Device, kind: str = "application") -> bytes:
    """The AEAD key of the device's next message."""
    return device.group._state.secret_tree.find(device.leaf, kind).key


def held(*roots: object) -> list[object]:
    """Everything that can be reached from these, through whatever holds it."""
    seen: set[int] = set()
    found: list[object] = []
    todo: list[object] = list(roots)
    skipped = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, skipped):
            continue
        seen.add(id(thing))
        found.append(thing)
        todo.extend(gc.get_referents(thing))
    return found


def held_bytes(*roots: object) -> set[bytes]:
    return {thing for thing in held(*roots) if isinstance(thing, bytes)}


def holds(records: dict[str, bytes], secret: bytes) -> bool:
    return any(secret in value for value in records.values())


def secrets_of(records: dict[str, bytes], prefix: str) -> list[bytes]:
    return [value for name, value in records.items() if name.startswith(prefix)]


# Forward secrecy within the epoch (9.2)


@ALL
def test_a_key_is_gone_from_store_and_memory_once_its_message_was_sent_or_read(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    sender, *readers = room.members
    for number in range(3):
        key = step_key(sender)
        ratchet = sender.group._state.secret_tree.find(sender.leaf, "application")
        message = sender.send(bytes((number,)))
        assert not holds(sender.stored, key)
        assert key not in held_bytes(sender.group)
        del ratchet
        for reader in readers:
            assert reader.read(message) == bytes((number,))
            assert not holds(reader.stored, key)
            assert key not in held_bytes(reader.group)


@ALL
def test_the_root_of_the_secret_tree_is_gone_at_the_first_use_of_the_epoch(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    sender, reader, *_ = room.members
    ((root_secret),) = secrets_of(reader.stored, "secret/")
    first = sender.group._state.secret_tree.find(sender.leaf, "application")
    assert first.fresh is not None
    reader.read(sender.send(b"x"))
    for device in (sender, reader):
        assert not holds(device.stored, root_secret)
        assert root_secret not in held_bytes(device.group)
        # What is left covers the leaves that have not sent, and none above the sender.
        left = {int(name[7:]) for name in device.stored if name.startswith("secret/")}
        assert left == {2, 5}


def stolen_keys(suite: int, records: dict[str, bytes], leaves: int, generations: int) -> Iterator[bytes]:
    """Every message key that follows from the stored secrets, by whatever way."""
    state = EpochState.load(records)
    tree = state.secret_tree
    for leaf in range(leaves):
        for kind in ("application", HANDSHAKE):
            for generation in range(generations):
                try:
                    yield tree.find(leaf, kind, generation).key
                except (CryptoError, KeyError):
                    continue
    # And as if each stored secret were the root of a whole tree: a kept ancestor would show.
    for value in set(records.values()) | {value[8:] for value in records.values()}:
        if len(value) == state.suite.hash_length:
            forged = SecretTree.start(state.suite, leaves, value)
            for leaf in range(leaves):
                yield forged.find(leaf, "application", 0).key


@ALL
def test_a_thief_of_the_stored_state_cannot_derive_the_key_of_a_message_that_was_read(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    sender, reader, *_ = room.members
    keys, messages = [], []
    for _ in range(3):
        keys.append(step_key(sender))
        messages.append(sender.send(b"secret"))
    before = dict(reader.stored)
    assert set(keys) <= set(stolen_keys(suite, before, 4, 3))  # before the reading, of course it can
    for number in (1, 0):
        reader.read(messages[number])
    for device in (sender, reader):
        found = set(stolen_keys(suite, device.stored, 4, 3))
        assert keys[0] not in found
        assert keys[1] not in found
    assert keys[2] in set(stolen_keys(suite, reader.stored, 4, 3))
    thief = Group.load(reader.stored)
    for number in (0, 1):
        with pytest.raises(KeyUsed):
            thief.decrypt(messages[number])


# Forward secrecy between epochs


@ALL
def test_nothing_of_an_earlier_epoch_stays_in_store_or_memory(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    committer, _, third, _ = room.members
    room.talk(third)
    old = {device.name: dict(device.stored) for device in room.members}
    message = third.send(b"unread")
    for _ in range(2):
        room.commit(committer, update=True)
    for device in room.members:
        records = old[device.name]
        state = EpochState.load(records)
        secrets = secrets_of(records, "secret/") + [value[8:] for value in secrets_of(records, "ratchet/")]
        secrets += [
            state.init_secret,
            state.exporter_secret,
            state.sender_data_secret,
            state.membership_key,
            state.authenticator,
        ]
        memory = held_bytes(device.group)
        assert device.group._state.init_secret in memory  # so that the search is known to find
        for secret in secrets:
            assert not holds(device.stored, secret)
            assert secret not in memory
        with pytest.raises(ProtocolError):
            device.group.decrypt(message)
        changed = 0
        for index, key in state.keys.items():
            node = device.group._state.tree.nodes[index]
            if node is None or node.encryption_key != key.public:
                changed += 1
                assert key.private not in memory
                assert not holds(device.stored, key.private)
        assert changed


@ALL
def test_private_keys_of_blanked_and_cut_nodes_are_gone(suite: int) -> None:
    room = Room(suite, 8, warm=True)
    stays = room.members[0]
    old = {index: key.private for index, key in stays.group._state.keys.items()}
    assert set(old) == {0, 1, 3, 7}
    room.commit(room.members[1], remove=room.members[4:])
    assert stays.group._state.tree.leaves == 4
    assert set(stays.group._state.keys) == {0, 1, 3}
    memory = held_bytes(stays.group)
    for index in (1, 3, 7):
        assert not holds(stays.stored, old[index])
        assert old[index] not in memory


@ALL
def test_only_resumption_psks_outlive_their_epoch_and_they_open_nothing(suite: int) -> None:
    room = Room(suite, 3, warm=True)
    device = room.members[0]
    old = set(device.stored.values())
    room.commit(device)
    kept = {name for name, value in device.stored.items() if value in old}
    assert {name.split("/")[0] for name in kept} == {"psk"}
    assert len(kept) <= limits.MAX_RESUMPTION_PSKS


@ALL
def test_no_keyed_hash_state_outlives_what_it_was_made_for(suite: int) -> None:
    """HMAC states are as secret as their key, and no search for bytes would find them."""
    room = Room(suite, 4, warm=True)
    for device in room.members:
        room.talk(device)
    room.commit(room.members[0])
    for device in room.members:
        room.talk(device)
        expanders = [thing for thing in held(device.group) if isinstance(thing, Expander)]
        assert expanders == [device.group._state.sender_data._expander]


# Healing, removal


class Thief:
    """Holds stolen records and listens to everything."""

    def __init__(self, records: dict[str, bytes]) -> None:
        self.group = Group.load(records)

    def follow(self, commit: bytes) -> None:
        """As the device itself would: works until the device heals."""
        staged = self.group.decrypt(commit)
        self.group = staged.apply()  # type: ignore[union-attr]

    def open_commit(self, commit: bytes) -> AuthenticatedContent:
        """The content of a commit of the epoch whose ratchets it has, whoever sent it."""
        state = self.group._state
        private = read_private(commit, 4)
        leaf, generation, guard = open_sender_data(state.sender_data, private)
        step = state.secret_tree.find(leaf, HANDSHAKE, generation)
        return open_private(state.suite, private, step, guard)

    def opens_a_path_secret(self, commit: bytes, contexts: Iterable[bytes]) -> bool:
        """Try each stolen private key on each ciphertext of the path, under each context that may be right."""
        state = self.group._state
        content = self.open_commit(commit).content
        assert isinstance(content, Commit)
        assert content.path is not None
        keys = [key.load(state.suite) for key in state.keys.values()]
        keys += [state.suite.kem.load_private(own.encryption_private) for own in state.own_updates.values()]
        sealed = [each for node in content.path.nodes for each in node.encrypted_path_secret]
        assert keys
        assert sealed
        for key in keys:
            for each in sealed:
                for context in contexts:
                    try:
                        state.suite.decrypt_with_label(
                            key, b"UpdatePathNode", context, each.kem_output, each.ciphertext
                        )
                    except (NotAuthentic, ValueError):
                        continue
                    return True
        return False


def provisional_context(device: Device, following: Group) -> bytes:
    """The context under which a commit's path is sealed: the new epoch's, with the old transcript (12.4.1)."""
    return replace(
        following._state.context,
        confirmed_transcript_hash=device.group._state.context.confirmed_transcript_hash,
    ).raw


@ALL
def test_a_thief_follows_until_the_victim_updates_and_then_reads_nothing(suite: int) -> None:
    room = Room(suite, 6, warm=True)
    victim, other, *_ = room.members
    thief = Thief(dict(victim.stored))

    pending = other.stage()
    context = provisional_context(other, pending.staged.apply())
    assert thief.opens_a_path_secret(pending.commit, [context])  # the control: the theft was real
    thief.follow(pending.commit)
    room.deliver(pending.commit, room.others(other))
    other.enter(pending.staged.apply())
    assert thief.group.epoch_authenticator == victim.group.epoch_authenticator

    pending = victim.stage()
    context = provisional_context(victim, pending.staged.apply())
    assert not thief.opens_a_path_secret(pending.commit, [context])
    room.deliver(pending.commit, room.others(victim))
    victim.enter(pending.staged.apply())
    room.agree()

    for by in (other, victim, room.members[3]):
        pending = by.stage()
        with pytest.raises(CryptoError):
            thief.follow(pending.commit)
        message = by.send(b"healed")
        with pytest.raises(CryptoError):
            thief.group.decrypt(message)
        room.deliver(pending.commit, room.others(by))
        by.enter(pending.staged.apply())
    assert thief.group.epoch_authenticator != victim.group.epoch_authenticator


@ALL
def test_an_update_committed_by_someone_else_heals_too(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    victim, committer, *_ = room.members
    stolen = dict(victim.stored)
    message = victim.propose(victim.group.propose_update())
    refs = [device.receive(message).ref for device in room.others(victim)]  # type: ignore[union-attr]
    pending = committer.stage(proposals=refs[:1])
    context = provisional_context(committer, pending.staged.apply())
    thief = Thief(stolen)
    assert not thief.opens_a_path_secret(pending.commit, [context])
    assert Thief(dict(victim.stored)).opens_a_path_secret(pending.commit, [context])  # the victim itself can
    room.deliver(pending.commit, room.others(committer))
    committer.enter(pending.staged.apply())
    room.agree()
    with pytest.raises(CryptoError):
        thief.group.decrypt(victim.send(b"healed"))


@ALL
def test_a_removed_member_reads_nothing_later_whatever_key_it_tries(suite: int) -> None:
    room = Room(suite, 6, warm=True)
    committer, _, gone, *_ = room.members
    before = dict(gone.stored)
    pending = committer.stage(remove=[gone.leaf])
    context = provisional_context(committer, pending.staged.apply())
    assert not Thief(before).opens_a_path_secret(pending.commit, [context])
    assert Thief(dict(room.members[3].stored)).opens_a_path_secret(pending.commit, [context])  # the control
    assert room.deliver(pending.commit, room.others(committer)) == [gone]
    committer.enter(pending.staged.apply())
    room.agree()
    for by in room.members[:2]:
        message = by.send(b"without you")
        with pytest.raises(CryptoError):
            gone.group.decrypt(message)
        room.commit(by)


@ALL
def test_several_removed_at_once_read_nothing_even_together(suite: int) -> None:
    room = Room(suite, 8, warm=True)
    committer, *_ = room.members
    gone = room.members[3:7]
    thieves = [Thief(dict(device.stored)) for device in gone]
    pending = committer.stage(remove=[device.leaf for device in gone])
    context = provisional_context(committer, pending.staged.apply())
    assert not any(thief.opens_a_path_secret(pending.commit, [context]) for thief in thieves)
    assert room.deliver(pending.commit, room.others(committer)) == gone


@ALL
def test_a_newcomer_reads_nothing_from_before_it_came(suite: int) -> None:
    room = Room(suite, 3, warm=True)
    sender = room.members[0]
    message = sender.send(b"before")
    new = room.newcomer()
    room.commit(sender, add=[new])
    with pytest.raises(ProtocolError):
        new.group.decrypt(message)
    old = set(room.members[1].group._state.resumption_psks) - {new.group.epoch}
    assert not old & set(new.group._state.resumption_psks)
    with pytest.raises(CryptoError):
        new.group.stage(resumption_epochs=[new.group.epoch - 1])


def test_no_secret_shows_in_a_repr_or_an_error() -> None:
    room = Room(1, 2, warm=True)
    device = room.members[0]
    state = device.group._state
    shown = repr(device.group) + repr(state) + repr(device.bundle) + repr(state.signer) + repr(state.secret_tree)
    shown += repr(state.secret_tree.find(0, "application")) + repr(next(iter(state.keys.values())))
    shown += repr(device.stage().staged)
    for secret in (state.init_secret, state.signer.private, device.bundle.init_private, step_key(device)):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    with pytest.raises(UsageError) as caught:
        Group.load({**device.stored, "keys": device.stored["keys"][:-1]})
    assert device.stored["keys"].hex()[:64] not in str(caught.value)
