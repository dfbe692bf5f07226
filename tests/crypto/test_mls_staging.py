"""Staged commits: shown before they are applied, dropped at no cost but a generation, never half applied."""

import pytest

from pourparler_crypto.errors import (
    KeyUsed,
    NotAcceptable,
    ProtocolError,
    RemovedFromGroup,
    UsageError,
    WrongEpoch,
)
from pourparler_crypto.mls import CHARTER, SUPPORTED_SUITES, Group, ReceivedProposal, limits
from pourparler_crypto.testing import Device, Room

SUITE = 1


@pytest.fixture
def room() -> Room:
    return Room(SUITE, 4, warm=True)


def generation(device: Device) -> int:
    """Of its next handshake key, as stored."""
    return int.from_bytes(device.stored[f"ratchet/{device.leaf}/handshake"][:8])


# what is shown


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_a_commit_shows_who_is_added_removed_and_updated_before_it_is_applied(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    committer, reader, gone, updated = room.members
    new = room.newcomer()
    message = updated.propose(updated.group.propose_update())
    refs = {device.receive(message).ref for device in (committer, reader, gone)}  # type: ignore[union-attr]
    pending = committer.stage(
        add=[new.bundle.key_package],
        remove=[gone.leaf],
        proposals=list(refs),
        authenticated_data=b"beside",
    )
    for staged in (pending.staged, reader.staged(pending.commit)):
        assert (staged.sender, staged.epoch) == (committer.leaf, committer.group.epoch + 1)
        assert [member.credential for member in staged.added] == [b"4"]
        assert [(member.leaf, member.credential) for member in staged.removed] == [(gone.leaf, b"2")]
        assert {member.leaf for member in staged.updated} == {committer.leaf, updated.leaf}
        assert staged.authenticated_data == b"beside"
        assert staged.has_path
        assert not staged.removes_me
        assert staged.extensions is None
    assert pending.staged.own
    assert not reader.staged(committer.stage().commit).own


def test_the_next_epoch_exports_before_it_is_applied_what_it_exports_after(room: Room) -> None:
    pending = room.members[0].stage()
    staged = room.members[1].staged(pending.commit)
    before = staged.export_from_next("label", b"context", 48)
    assert before == staged.apply().export("label", b"context", 48)
    assert before == pending.staged.export_from_next("label", b"context", 48)
    assert before != room.members[1].group.export("label", b"context", 48)


# refusing and dropping


def test_a_refused_commit_leaves_the_group_usable(room: Room) -> None:
    committer, reader, other, _ = room.members
    before = reader.group.epoch, reader.group.tree_hash, reader.group.epoch_authenticator
    staged = reader.staged(committer.stage(remove=[other.leaf]).commit)
    del staged
    reader.reload()
    assert (reader.group.epoch, reader.group.tree_hash, reader.group.epoch_authenticator) == before
    room.talk(committer)
    room.commit(other)


def test_a_dropped_commit_of_ones_own_never_rewinds_its_generation(room: Room) -> None:
    committer, reader, _, _ = room.members
    dropped = [committer.stage().commit for _ in range(3)]
    assert generation(committer) == 3
    committer.reload()
    kept = committer.stage()
    assert generation(committer) == 4
    staged = reader.staged(kept.commit)
    assert staged.apply().epoch_authenticator == kept.staged.apply().epoch_authenticator
    # A dropped one could still be accepted instead: it is another commit under another key.
    assert reader.staged(dropped[1]).apply().epoch_authenticator != staged.apply().epoch_authenticator
    with pytest.raises(KeyUsed):
        reader.group.decrypt(dropped[1])


def test_of_two_commits_in_one_epoch_the_loser_drops_its_own_and_follows(room: Room) -> None:
    winner, loser, *_ = room.members
    won, lost = winner.stage(), loser.stage()
    room.deliver(won.commit, room.others(winner))
    winner.enter(won.staged.apply())
    room.agree()
    for device in room.members:
        with pytest.raises(WrongEpoch):
            device.group.decrypt(lost.commit)
    room.commit(loser)


def test_staging_that_fails_changes_nothing(room: Room) -> None:
    device = room.members[0]
    before = device.group.records()
    for options in (
        {"remove": [device.leaf]},
        {"remove": [9]},
        {"remove": [2, 2]},
        {"add": [b""]},
        {"add": [room.members[1].bundle.key_package]},
        {"proposals": [bytes(32)]},
        {"extensions": [(CHARTER, b"a"), (CHARTER, b"b")]},
        {"extensions": [(0xF999, b"unsupported")]},
        {"resumption_epochs": [999]},
        {"authenticated_data": bytes(limits.MAX_MESSAGE)},
    ):
        with pytest.raises((UsageError, ProtocolError)):
            device.group.stage(**options)  # type: ignore[arg-type]
        assert device.group.records() == before
    room.commit(device)


def test_applying_twice_gives_the_same_group_and_leaves_the_old_one_alone(room: Room) -> None:
    committer, reader, *_ = room.members
    pending = committer.stage(add=[room.newcomer().bundle.key_package])
    for device, staged in ((committer, pending.staged), (reader, reader.staged(pending.commit))):
        before = device.group.records()
        following = staged.apply()
        assert staged.apply() is following
        assert following.epoch == device.group.epoch + 1
        following.encrypt(b"in the new epoch")
        assert device.group.records() == before == device.stored
    # Both epochs can be stored before the service has decided.
    assert Group.load(pending.staged.apply().records()).epoch == committer.group.epoch + 1
    room.talk(committer)


def test_messages_of_the_old_epoch_are_read_while_a_commit_waits(room: Room) -> None:
    committer, reader, *_ = room.members
    pending = committer.stage()
    late = committer.send(b"still the old epoch")
    staged = reader.staged(pending.commit)
    assert reader.read(late) == b"still the old epoch"
    reader.enter(staged.apply())
    committer.enter(pending.staged.apply())
    message = committer.send(b"the new epoch")
    assert reader.read(message) == b"the new epoch"


# one's own removal


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_the_removed_device_learns_it_and_has_no_next_epoch(suite: int) -> None:
    room = Room(suite, 4, warm=True)
    committer, gone, *_ = room.members
    pending = committer.stage(remove=[gone.leaf])
    staged = gone.staged(pending.commit)
    assert staged.removes_me
    with pytest.raises(RemovedFromGroup):
        staged.apply()
    with pytest.raises(RemovedFromGroup):
        staged.export_from_next("x", b"", 16)
    # It may refuse, as long as the service has not accepted: its epoch goes on.
    room.talk(committer)


def test_one_leaves_by_proposing_ones_own_removal(room: Room) -> None:
    leaving, committer, *_ = room.members
    message = leaving.propose(leaving.group.propose_remove(leaving.leaf))
    refs = [device.receive(message).ref for device in room.others(leaving)]  # type: ignore[union-attr]
    assert room.commit(committer, proposals=refs[:1]) == [leaving]
    room.talk(committer)


# Updates and signature keys


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_a_new_signature_key_takes_over_with_the_commit(suite: int) -> None:
    room = Room(suite, 3, warm=True)
    device = room.members[0]
    old = device.group.member(device.leaf).signature_key
    room.commit(device, new_signature_key=True, update=False)
    assert device.group.member(device.leaf).signature_key != old
    device.reload()
    room.talk(device)
    room.commit(device)


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
@pytest.mark.parametrize("new_key", [False, True])
def test_an_own_update_survives_a_restart_and_takes_over_when_someone_commits_it(
    suite: int, new_key: bool
) -> None:
    room = Room(suite, 4, warm=True)
    author, committer, *_ = room.members
    message = author.propose(author.group.propose_update(new_signature_key=new_key))
    refs = [device.receive(message).ref for device in room.others(author)]  # type: ignore[union-attr]
    for device in room.members:
        device.reload()
    room.commit(committer, proposals=refs[:1])
    author.reload()
    room.talk(author)
    room.commit(author)


def test_an_own_update_that_nobody_commits_is_forgotten_with_the_epoch(room: Room) -> None:
    author = room.members[0]
    author.propose(author.group.propose_update(new_signature_key=True))
    assert any(name.startswith("update/") for name in author.stored)
    for device in room.others(author):
        device.group = Group.load(device.stored)
    room.commit(room.members[1])
    assert not any(name.startswith(("update/", "proposal/")) for name in author.stored)
    room.talk(author)


def test_proposals_are_kept_up_to_a_cap_and_refused_beyond(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pourparler_crypto.mls.group.MAX_PROPOSALS", 3)
    author, reader, *_ = room.members
    messages = [author.propose(author.group.propose_psk(bytes((number,)))) for number in range(4)]
    for message in messages[:3]:
        assert isinstance(reader.receive(message), ReceivedProposal)
    with pytest.raises(NotAcceptable) as caught:
        reader.group.decrypt(messages[3])
    reader.save(caught.value.changes)
    room.commit(reader)


# PSKs


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_psks_are_mixed_in_external_by_reference_and_of_earlier_epochs(suite: int) -> None:
    room = Room(suite, 3, warm=True)
    first, second, third = room.members
    room.commit(first, psks={b"id": b"secret"})
    room.commit(second, resumption_epochs=[first.group.epoch, first.group.epoch - 1])
    message = third.propose(third.group.propose_psk(b"another"))
    refs = [device.receive(message).ref for device in (first, second)]  # type: ignore[union-attr]
    room.commit(first, proposals=refs[:1], known_psks={b"another": b"secret"}, add=[room.newcomer()])
    room.talk(room.members[-1])


def test_only_so_many_resumption_psks_are_kept(room: Room) -> None:
    for _ in range(limits.MAX_RESUMPTION_PSKS + 2):
        room.commit(room.members[0])
    device = room.members[0]
    names = [name for name in device.stored if name.startswith("psk/")]
    assert len(names) == limits.MAX_RESUMPTION_PSKS
    assert f"psk/{device.group.epoch}" in names


# records


def test_damaged_records_are_refused(room: Room) -> None:
    stored = room.members[0].stored
    for name, value in stored.items():
        if name.startswith(("psk/", "secret/", "proposal/")):
            continue
        for damaged in (value[:-1], b"", b"\xff" + value[1:]):
            with pytest.raises(UsageError):
                Group.load({**stored, name: damaged})
    for name in ("epoch", "tree", "keys"):
        with pytest.raises(UsageError):
            Group.load({key: value for key, value in stored.items() if key != name})
    with pytest.raises(UsageError):
        Group.load({})
    other = Room(SUITE, 2).members[0].stored
    with pytest.raises(UsageError):
        Group.load({**stored, "tree": other["tree"]})
