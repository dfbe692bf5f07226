"""Single messages (RFC 9420, 6, 9): what is not authentic changes nothing; a key opens one message, once."""

from collections.abc import Callable

import pytest

from pourparler_crypto.errors import (
    KeyUsed,
    Malformed,
    NotAcceptable,
    NotAuthentic,
    OwnMessage,
    ProtocolError,
    TooFarAhead,
    Unsupported,
    UsageError,
    WrongEpoch,
    WrongGroup,
)
from pourparler_crypto.mls import SUPPORTED_SUITES, ApplicationMessage, Group, limits
from pourparler_crypto.mls.codec import vl
from pourparler_crypto.mls.forging import Forger
from pourparler_crypto.mls.framing import (
    APPLICATION,
    COMMIT,
    PRIVATE_MESSAGE,
    PROPOSAL_CONTENT,
    PUBLIC_MESSAGE,
    frame,
    read_authenticated_content,
)
from pourparler_crypto.mls.proposals import REMOVE, Proposal
from pourparler_crypto.testing import Device, Room

SUITE = 1


@pytest.fixture
def room() -> Room:
    return Room(SUITE, 3)


def refuse(reader: Device, message: bytes, error: type[ProtocolError], match: str | None = None) -> None:
    """The message is refused with exactly this error, and nothing at all has changed."""
    before = reader.group.records()
    with pytest.raises(ProtocolError, match=match) as caught:
        reader.group.decrypt(message)
    assert type(caught.value) is error
    assert reader.group.records() == before == reader.stored


# reading once, in any order (9.1, 9.2)


@pytest.mark.parametrize("suite", SUPPORTED_SUITES)
def test_a_message_is_read_by_everyone_and_by_each_only_once(suite: int) -> None:
    room = Room(suite, 3)
    sender, *readers = room.members
    message = sender.send(b"once", authenticated_data=b"beside")
    for reader in readers:
        result = reader.receive(message)
        assert isinstance(result, ApplicationMessage)
        assert (result.data, result.sender, result.authenticated_data) == (b"once", sender.leaf, b"beside")
        refuse(reader, message, KeyUsed)
        reader.reload()
        refuse(reader, message, KeyUsed)


def test_messages_are_read_in_any_order_and_each_only_once(room: Room) -> None:
    sender, reader, _ = room.members
    messages = [sender.send(bytes((number,))) for number in range(12)]
    for number in (5, 0, 11, 3, 4, 10, 1, 2, 9, 8, 6, 7):
        assert reader.read(messages[number]) == bytes((number,))
        reader.reload()
        refuse(reader, messages[number], KeyUsed)


def test_proposals_and_application_data_have_ratchets_of_their_own(room: Room) -> None:
    sender, reader, _ = room.members
    first = sender.send(b"first")
    proposal = sender.propose(sender.group.propose_remove(room.members[2].leaf))
    second = sender.send(b"second")
    assert reader.read(second) == b"second"
    reader.receive(proposal)
    assert reader.read(first) == b"first"


def test_the_key_of_a_message_that_is_late_is_kept_but_only_for_so_many(room: Room) -> None:
    sender, reader, _ = room.members
    messages = [sender.send(b"") for _ in range(limits.MAX_SKIPPED + 2)]
    reader.read(messages[-1])
    refuse(reader, messages[0], KeyUsed)
    reader.read(messages[1])
    reader.read(messages[-2])


def test_the_keys_kept_for_late_messages_are_bounded_over_many_leaps(room: Room) -> None:
    sender, reader, _ = room.members
    leap = limits.MAX_SKIPPED - 10
    messages = [sender.send(b"") for _ in range(3 * leap)]
    for number in range(leap - 1, len(messages), leap):
        reader.read(messages[number])
    kept = len(reader.group._state.secret_tree.find(sender.leaf, "application").ratchet.skipped)
    assert kept == limits.MAX_SKIPPED
    refuse(reader, messages[0], KeyUsed)
    refuse(reader, messages[leap], KeyUsed)
    assert reader.read(messages[-2]) == b""


def test_skipping_forward_is_capped_and_a_message_beyond_changes_nothing(room: Room) -> None:
    sender, reader, _ = room.members
    messages = [sender.group.encrypt(b"")[0] for _ in range(limits.MAX_FORWARD + 2)]
    refuse(reader, messages[-1], TooFarAhead)
    reader.read(messages[limits.MAX_FORWARD])
    reader.read(messages[-1])


def test_a_ratchet_at_its_end_refuses_to_go_on(room: Room) -> None:
    sender = room.members[0]
    step = sender.group._state.secret_tree.find(sender.leaf, "application")
    step.ratchet.generation = 2**32
    sender.group._state.secret_tree.take(step)
    with pytest.raises(UsageError):
        sender.group.encrypt(b"")


# own messages


def test_the_echo_of_a_message_that_this_device_sent_is_a_replay(room: Room) -> None:
    sender = room.members[0]
    message = sender.send(b"mine")
    refuse(sender, message, KeyUsed)


def test_a_message_of_this_leaf_that_this_state_has_not_sent_shows_another_copy(room: Room) -> None:
    original = room.members[0]
    copy = Group.load(original.stored)
    message, _ = copy.encrypt(b"from the copy")
    refuse(original, message, OwnMessage)


def test_an_own_commit_that_this_state_has_not_made_shows_another_copy(room: Room) -> None:
    original = room.members[0]
    refuse(original, Group.load(original.stored).stage().commit, OwnMessage)


def test_a_forged_own_message_by_someone_without_the_signature_key_is_not_authentic(room: Room) -> None:
    victim, insider, _ = room.members
    forger = Forger(insider.group)
    content = forger.sign(b"as the victim", leaf=victim.leaf)
    refuse(victim, forger.private(content, leaf=victim.leaf), NotAuthentic)


def test_a_public_message_in_this_devices_name_proves_nothing_unless_it_is_authentic(room: Room) -> None:
    """Else anyone could make a device believe that another copy of its vault is at work."""
    victim, insider, _ = room.members
    forger = Forger(victim.group)
    authentic = forger.sign(Proposal(REMOVE, 2), wire_format=PUBLIC_MESSAGE)
    refuse(victim, forger.public(authentic, membership_tag=bytes(32)), NotAuthentic)
    other = Forger(insider.group).sign(Proposal(REMOVE, 2), wire_format=PUBLIC_MESSAGE, leaf=victim.leaf)
    refuse(victim, forger.public(other), NotAuthentic)
    refuse(victim, forger.public(authentic), OwnMessage)


# what the signature binds (6.1)


def other_group(room: Room) -> Group:
    return Group.create(SUITE, b"another group", b"x")


@pytest.mark.parametrize(
    "forge",
    [
        lambda f, room: f.private(f.sign(b"x", signer=room.members[2].group._state.signer)),
        lambda f, room: f.private(f.sign(b"x", context=b"")),
        lambda f, room: f.private(f.sign(b"x", context=other_group(room)._state.context.raw)),
        lambda f, room: f.private(f.sign(b"x", leaf=room.members[2].leaf)),
    ],
    ids=["another member's key", "no group context", "another group's context", "another sender's leaf"],
)
def test_a_signature_for_anything_else_does_not_verify(room: Room, forge: Callable[..., bytes]) -> None:
    insider, reader, _ = room.members
    refuse(reader, forge(Forger(insider.group), room), NotAuthentic, "signature")
    room.talk(insider)


def test_an_insider_cannot_speak_for_another_member(room: Room) -> None:
    insider, reader, victim = room.members
    forger = Forger(insider.group)
    message = forger.private(forger.sign(b"x", leaf=victim.leaf), leaf=victim.leaf)
    refuse(reader, message, NotAuthentic, "signature")
    room.talk(victim)


def test_a_commit_signed_as_private_is_refused_when_sent_as_public_and_the_reverse(room: Room) -> None:
    insider, reader, _ = room.members
    forger = Forger(insider.group)
    private = forger.sign(Proposal(REMOVE, 2), wire_format=PRIVATE_MESSAGE)
    refuse(reader, forger.public(private), NotAuthentic)
    public = forger.sign(Proposal(REMOVE, 2), wire_format=PUBLIC_MESSAGE)
    refuse(reader, forger.private(public), NotAuthentic)


def test_a_public_message_needs_its_membership_tag(room: Room) -> None:
    insider, reader, _ = room.members
    forger = Forger(insider.group)
    content = forger.sign(Proposal(REMOVE, 2), wire_format=PUBLIC_MESSAGE)
    for tag in (b"", bytes(32), bytes(31)):
        refuse(reader, forger.public(content, membership_tag=tag), NotAuthentic, "membership tag")
    reader.receive(forger.public(content))


def test_application_data_is_never_taken_from_a_public_message(room: Room) -> None:
    insider, reader, _ = room.members
    state = insider.group._state
    framed = frame(state.context.group_id, state.context.epoch, (1, insider.leaf), b"", APPLICATION, vl(b"open"))
    content = read_authenticated_content(b"\x00\x01" + framed + vl(bytes(64)))
    content.signature = state.signer.sign(b"\x18MLS 1.0 FramedContentTBS" + vl(content.tbs(state.context.raw)))
    refuse(reader, Forger(insider.group).public(content), Malformed, "PublicMessage")


# group, epoch, leaf


def test_a_message_of_another_group_epoch_or_blank_leaf_is_refused(room: Room) -> None:
    insider, reader, gone = room.members
    forger = Forger(insider.group)
    refuse(reader, forger.private(forger.sign(b"x", group_id=b"another")), WrongGroup)
    late, early = reader.group.epoch - 1, reader.group.epoch + 1
    for epoch in (late, early):
        with pytest.raises(WrongEpoch) as caught:
            reader.group.decrypt(forger.private(forger.sign(b"x", epoch=epoch)))
        assert caught.value.epoch == epoch
    leaf = gone.leaf
    room.commit(insider, remove=[gone])
    for blank in (leaf, 77, 2**32 - 1):
        forger = Forger(insider.group)
        refuse(reader, forger.private(forger.sign(b"x", leaf=blank), told_leaf=blank), NotAuthentic, "blank")


def test_a_message_from_an_earlier_epoch_is_not_read_any_more(room: Room) -> None:
    sender, reader, _ = room.members
    late = sender.send(b"late")
    room.commit(sender)
    refuse(reader, late, WrongEpoch)


# padding and form (6.3.1)


def test_padding_that_is_not_zero_is_refused_and_zero_padding_is_not(room: Room) -> None:
    insider, reader, _ = room.members
    forger = Forger(insider.group)
    for padding in (b"\x01", b"\x00\x00\x01", b"\x00\x01\x00"):
        message = forger.private(forger.sign(b"x"), padding=padding)
        refuse(reader, message, Malformed, "padding")
    for padding in (b"", b"\x00", bytes(300)):
        assert reader.read(forger.private(forger.sign(b"x"), padding=padding)) == b"x"


@pytest.mark.parametrize("length", [0, 1, 62, 63, 64, 1000, 16_000, 16_383, 16_384, 17_000])
def test_a_padded_message_has_exactly_the_wanted_length(room: Room, length: int) -> None:
    sender, reader, _ = room.members
    bare = len(sender.send(bytes(length)))
    for wanted in (bare - 1, bare, bare + 1, bare + 2, bare + 3, bare + 100, 20_000):
        message = sender.send(bytes(length), pad_to=wanted)
        assert reader.read(message) == bytes(length)
        assert len(message) == max(wanted, bare) or max(wanted, bare) < len(message) <= max(wanted, bare) + 2
    message = sender.send(bytes(length), pad_to=lambda size: (size + 255) // 256 * 256)
    assert len(message) % 256 in (0, 1, 2)
    assert reader.read(message) == bytes(length)


def test_a_commit_can_be_padded_like_any_message(room: Room) -> None:
    sender = room.members[0]
    assert len(sender.stage(pad_to=4096).commit) == 4096


def test_a_content_of_one_type_in_a_message_of_another_is_refused(room: Room) -> None:
    insider, reader, _ = room.members
    forger = Forger(insider.group)
    content = forger.sign(Proposal(REMOVE, 2))
    content.content_type = APPLICATION
    content.framed = content.framed[:-1] + b"\x02"
    before = reader.group.records()
    with pytest.raises((Malformed, NotAuthentic)):
        reader.group.decrypt(forger.private(content))
    assert reader.group.records() == before


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_an_unknown_content_type_is_refused(room: Room, kind: int) -> None:
    sender, reader, _ = room.members
    message = bytearray(sender.send(b"x"))
    at = 4 + 1 + len(b"the group") + 8
    assert message[at] == APPLICATION
    message[at] = kind
    refuse(reader, bytes(message), Malformed, "content type")


@pytest.mark.parametrize("kind", [PROPOSAL_CONTENT, COMMIT])
def test_the_content_type_is_bound_to_the_ciphertext(room: Room, kind: int) -> None:
    sender, reader, _ = room.members
    message = bytearray(sender.send(b"x"))
    message[4 + 1 + len(b"the group") + 8] = kind
    refuse(reader, bytes(message), NotAuthentic)


@pytest.mark.parametrize(
    "message",
    [b"", b"\x00", b"\x00\x01", b"\x00\x01\x00\x02", b"\x00\x02\x00\x02abc", b"\x00\x01\x00\x09abc", bytes(100)],
)
def test_what_is_no_message_is_malformed(room: Room, message: bytes) -> None:
    refuse(room.members[1], message, Malformed)


@pytest.mark.parametrize("wire_format", [3, 4, 5])
def test_what_is_not_for_a_group_is_malformed(room: Room, wire_format: int) -> None:
    refuse(room.members[1], b"\x00\x01" + wire_format.to_bytes(2) + bytes(80), Malformed)


def test_a_message_longer_than_the_cap_is_refused_before_it_is_parsed_and_never_made(room: Room) -> None:
    sender, reader, _ = room.members
    refuse(reader, b"\x00\x01\x00\x02" + bytes(limits.MAX_MESSAGE), Malformed, "longer")
    before = sender.group.records()
    with pytest.raises(UsageError):
        sender.group.encrypt(bytes(limits.MAX_MESSAGE))
    assert sender.group.records() == before


def test_external_joins_and_proposals_by_newcomers_are_refused_as_left_out(room: Room) -> None:
    insider, reader, _ = room.members
    state = insider.group._state
    for sender_type, content_type, body in (
        (3, PROPOSAL_CONTENT, b"\x00\x03" + bytes(4)),
        (4, COMMIT, b"\x00\x00"),
    ):
        framed = frame(state.context.group_id, state.context.epoch, (sender_type, None), b"", content_type, body)
        tail = vl(bytes(64)) + (vl(bytes(32)) if content_type == COMMIT else b"")
        refuse(reader, b"\x00\x01\x00\x01" + framed + tail, Unsupported)


def test_an_external_sender_that_the_group_does_not_list_is_not_authentic(room: Room) -> None:
    state = room.members[0].group._state
    framed = frame(
        state.context.group_id, state.context.epoch, (2, 0), b"", PROPOSAL_CONTENT, b"\x00\x03" + bytes(4)
    )
    refuse(room.members[1], b"\x00\x01\x00\x01" + framed + vl(bytes(64)), NotAuthentic, "does not list")


def test_sender_data_of_the_wrong_length_is_malformed(room: Room) -> None:
    sender, reader, _ = room.members
    message = sender.send(b"x")
    at = 4 + 1 + len(b"the group") + 8 + 1 + 1
    assert message[at] == 28
    refuse(reader, message[:at] + vl(message[at + 1 : at + 28]) + message[at + 29 :], Malformed, "sender data")


# authentic, and still refused: only the key is gone (9.2)


def test_an_authentic_message_that_is_not_acceptable_costs_its_key_and_nothing_else(room: Room) -> None:
    insider, reader, _ = room.members
    before = reader.group.records()
    commit = Forger(insider.group).commit([Proposal(REMOVE, 9)])
    with pytest.raises(NotAcceptable) as caught:
        reader.group.decrypt(commit.message)
    touched = {name.split("/")[0] for name in caught.value.changes}
    assert touched <= {"ratchet", "secret"}
    assert touched >= {"ratchet"}
    assert {**before, **reader.group.records()} != before
    reader.save(caught.value.changes)
    reader.reload()
    refuse(reader, commit.message, KeyUsed)
