"""No altered byte is believed: every truncation and flipped bit of what travels is refused, and changes nothing.

Of a Welcome this holds for the bytes that concern the joiner: another joiner's entry is not authenticated to it.
"""

import pytest

from pourparler_crypto.errors import Malformed, ProtocolError
from pourparler_crypto.mls import SUPPORTED_SUITES, Group, make_key_package, read_key_package
from pourparler_crypto.mls.suites import SUITE_PQ, SUITE_X25519_AES128, suite_of
from pourparler_crypto.mls.welcome import read_welcome
from pourparler_crypto.testing import LIFETIME, Device, Room

# Every bit in suite 1; elsewhere one bit of each byte, and of long hybrid messages of each thirteenth byte.
SUITES = pytest.mark.parametrize("suite", SUPPORTED_SUITES)


def positions(suite: int, length: int) -> range:
    return range(0, length, 13 if suite == SUITE_PQ and length > 2000 else 1)


def bits(suite: int, at: int) -> list[int]:
    return list(range(8)) if suite == SUITE_X25519_AES128 else [at % 8]


def flipped(suite: int, message: bytes) -> list[bytes]:
    changed = []
    for at in positions(suite, len(message)):
        for bit in bits(suite, at):
            changed.append(message[:at] + bytes((message[at] ^ 1 << bit,)) + message[at + 1 :])
    return changed


def cut(suite: int, message: bytes) -> list[bytes]:
    return [message[:at] for at in positions(suite, len(message))] + [message + b"\x00"]


def refuse_all(reader: Device, altered: list[bytes]) -> None:
    before = reader.group.records()
    for message in altered:
        with pytest.raises(ProtocolError):
            reader.group.decrypt(message)
    assert reader.group.records() == before
    for message in altered[::97]:  # and not only in sum
        with pytest.raises(ProtocolError):
            reader.group.decrypt(message)
        assert reader.group.records() == before


@SUITES
@pytest.mark.parametrize("fresh", [True, False], ids=["first of its sender", "a later one"])
def test_an_altered_application_message_is_refused_and_the_right_one_still_read(suite: int, fresh: bool) -> None:
    room = Room(suite, 3)
    sender, reader, _ = room.members
    if not fresh:
        room.talk(sender)
    message = sender.send(b"text", authenticated_data=b"beside", pad_to=200)
    refuse_all(reader, flipped(suite, message) + cut(suite, message))
    assert reader.read(message) == b"text"


@SUITES
def test_an_altered_commit_is_refused_and_the_right_one_still_applied(suite: int) -> None:
    room = Room(suite, 3, warm=True)
    committer, reader, _ = room.members
    pending = committer.stage(remove=[2])
    refuse_all(reader, flipped(suite, pending.commit) + cut(suite, pending.commit))
    assert reader.staged(pending.commit).apply().epoch == pending.staged.epoch


def test_an_altered_proposal_is_refused() -> None:
    room = Room(1, 3)
    author, reader, _ = room.members
    message = author.propose(author.group.propose_update())
    refuse_all(reader, flipped(1, message) + cut(1, message))
    reader.receive(message)


@SUITES
def test_an_altered_key_package_is_refused(suite: int) -> None:
    message = make_key_package(suite, b"someone", lifetime=LIFETIME).key_package
    read_key_package(message)
    for altered in flipped(suite, message) + cut(suite, message):
        with pytest.raises(ProtocolError):
            read_key_package(altered)


def welcome_of(suite: int, joiners: int) -> tuple[bytes, bytes, list[Device]]:
    room = Room(suite, 2, warm=True)
    new = [room.newcomer() for _ in range(joiners)]
    pending = room.members[0].stage(add=[device.bundle.key_package for device in new])
    assert pending.welcome is not None
    assert pending.ratchet_tree is not None
    return pending.welcome, pending.ratchet_tree, new


@SUITES
def test_an_altered_welcome_to_one_joiner_is_refused_at_every_byte(suite: int) -> None:
    welcome, tree, (new,) = welcome_of(suite, 1)
    Group.join(new.bundle, welcome, ratchet_tree=tree)
    for at in positions(suite, len(welcome)):
        altered = welcome[:at] + bytes((welcome[at] ^ 1 << at % 8,)) + welcome[at + 1 :]
        with pytest.raises(ProtocolError):
            Group.join(new.bundle, altered, ratchet_tree=tree)
    for altered in cut(suite, welcome):
        with pytest.raises(ProtocolError):
            Group.join(new.bundle, altered, ratchet_tree=tree)


def test_in_a_welcome_to_two_every_byte_is_refused_by_at_least_one_and_shared_ones_by_both() -> None:
    welcome, tree, joiners = welcome_of(1, 2)
    suite = suite_of(1)
    parsed = read_welcome(welcome)
    own = [(welcome.index(entry.new_member), len(entry.new_member)) for entry in parsed.secrets]
    # An entry ends where the next begins; the last one where the GroupInfo does. Lengths are shared bytes.
    entry_length = own[1][0] - own[0][0]
    spans = [range(start, start + entry_length - 1) for start, _ in own]
    for at in range(len(welcome)):
        altered = welcome[:at] + bytes((welcome[at] ^ 1 << at % 8,)) + welcome[at + 1 :]
        refused = []
        for device in joiners:
            try:
                Group.join(device.bundle, altered, ratchet_tree=tree)
            except ProtocolError:
                refused.append(device)
        expected = [device for device, span in zip(joiners, spans, strict=True) if at in span] or joiners
        assert set(expected) <= set(refused), at
    assert suite.number == parsed.cipher_suite


@SUITES
def test_an_altered_ratchet_tree_is_refused_at_every_byte(suite: int) -> None:
    welcome, tree, (new,) = welcome_of(suite, 1)
    for at in positions(suite, len(tree)):
        altered = tree[:at] + bytes((tree[at] ^ 1 << at % 8,)) + tree[at + 1 :]
        with pytest.raises(ProtocolError):
            Group.join(new.bundle, welcome, ratchet_tree=altered)
    for altered in cut(suite, tree):
        with pytest.raises(Malformed):
            Group.join(new.bundle, welcome, ratchet_tree=altered)
