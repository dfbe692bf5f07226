"""A run inside real MLS groups: both sides take the same from the group, and leaves may be renewed meanwhile."""

from pourparler_crypto.dpa import Context, Pair
from pourparler_crypto.dpa.testing import Seat, new_card
from pourparler_crypto.mls import SUITE_X25519_AES128, ApplicationMessage
from pourparler_crypto.testing import Device, Room


def leaf_key(of: Device, at: Device) -> bytes:
    """The signature key of a device's leaf, as another sees it."""
    (key,) = (member.signature_key for member in at.group.members if member.leaf == of.leaf)
    return key


def context(device: Device) -> Context:
    group = device.group
    return Context(group.group_id, group.epoch, group.tree_hash)


def seats(first: Device, second: Device) -> tuple[Seat, Seat]:
    """Both in the epoch that the later Add began, each from its own group alone."""
    (key1, card1), (key2, card2) = new_card("Amal"), new_card("Boris")
    mine, theirs = card1.fingerprint, card2.fingerprint
    pair1 = Pair(context(first), mine, leaf_key(first, first), theirs, leaf_key(second, first))
    pair2 = Pair(context(second), theirs, leaf_key(second, second), mine, leaf_key(first, second))
    return Seat(pair1, key1, card1, card2), Seat(pair2, key2, card2, card1)


def carry(room: Room, sender: Device, to: Device, message: bytes) -> bytes:
    """Through the group: everybody reads it, and MLS says whose leaf sent it."""
    sealed = sender.send(message)
    for reader in room.others(sender):
        result = reader.receive(sealed)
        assert isinstance(result, ApplicationMessage)
        assert result.sender == sender.leaf
        if reader is to:
            data = result.data
    return data


def test_a_run_goes_through_a_channel_in_which_leaves_are_renewed_between_its_steps() -> None:
    room = Room(SUITE_X25519_AES128, 2)
    newcomer = room.newcomer()
    room.commit(room.members[0], add=[newcomer])
    old, new = room.members[0], room.members[2]
    seat1, seat2 = seats(old, new)
    assert seat1.pair == seat2.pair.mirrored
    seat1.lineage, seat2.lineage = [seat1.pair.peer_leaf], [seat2.pair.peer_leaf]
    out1, out2 = seat1.begin(), seat2.begin()
    for step in range(4):
        in2, in1 = carry(room, old, new, out1), carry(room, new, old, out2)
        renewing, watching = (old, seat2) if step % 2 else (new, seat1)
        room.commit(renewing, new_signature_key=True)
        watching.lineage = [*watching.lineage, leaf_key(renewing, new if renewing is old else old)]
        answer1, answer2 = seat1.receive(in1), seat2.receive(in2)
        out1, out2 = answer1 or b"", answer2 or b""
    assert seat1.attested
    assert seat2.attested
    assert seat1.attested.leaf == leaf_key(new, old) != seat1.pair.peer_leaf
    assert seat2.attested.leaf == leaf_key(old, new) != seat2.pair.peer_leaf


def test_two_groups_that_an_inviter_gave_one_name_and_one_epoch_are_two_contexts() -> None:
    one, other = Room(SUITE_X25519_AES128, 2), Room(SUITE_X25519_AES128, 2)
    first, second = context(one.members[1]), context(other.members[1])
    assert (first.group_id, first.epoch) == (second.group_id, second.epoch)
    assert first != second
