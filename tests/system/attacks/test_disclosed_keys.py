"""Keys that were in use are disclosed: afterwards every member can make up every word of every other, and before that,
in a live channel, nobody can do anything with them, not even to a device that is behind.
"""

import base64
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from pourparler_clients import ending
from pourparler_clients.ending import AWAY
from pourparler_clients.errors import PourparlerError
from pourparler_clients.examine import examining, open_entries
from pourparler_clients.forging import Hostile, fit, go_on
from pourparler_clients.store import ChannelStore, State
from pourparler_clients.testing import PASSPHRASE, House, Person, rewrite_pages, time_passes
from pourparler_crypto import complaint
from pourparler_crypto.complaint import Complaint
from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.mls import ApplicationMessage, Group
from pourparler_crypto.mls.forging import Forger
from pourparler_crypto.mls.suites import suite_of
from pourparler_crypto.stamp import seal_stamp
from pourparler_policies import payload, wire
from pourparler_policies.errors import PolicyError
from pourparler_policies.fold.events import Disclosed, Leaving
from pourparler_policies.fold.facts import Phase
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Act, Attesting, Envelope, Event, Said


def group_in(image: Path) -> Group:
    """The group as a copied vault has it."""
    with examining(image, PASSPHRASE) as vault:
        (channel,) = ChannelStore.all(vault)
        return Group.load(ChannelStore(vault, channel).records())


def disclosed(envelopes: list[bytes]) -> set[bytes]:
    """Seeds that are disclosed in what a member has read."""
    found: set[bytes] = set()
    for data in envelopes:
        try:
            events = payload.decode(data).events
        except PolicyError:
            continue
        acts = [event.event for event in events if isinstance(event, Act)]
        found |= {seed for act in acts if isinstance(act, Disclosed) for seed in act.seeds}
    return found


def public_of(seed: bytes, group: Group) -> bytes:
    return suite_of(group.suite).signer(seed).public


def forge(group: Group, leaf: int, seed: bytes, data: bytes) -> bytes:
    """An entry of that leaf, signed with this seed, under the next key of its author: every member has the rest."""
    content = Forger(group).sign(data, signer=suite_of(group.suite).signer(seed), leaf=leaf)
    return fit(lambda padding: Forger(group).private(content, padding=padding, leaf=leaf))


def leaf_of(group: Group, person: Person) -> int:
    return next(member.leaf for member in group.members if member.credential == person.log.row.credential)


# After the end


async def test_after_the_end_any_member_makes_up_any_message_of_any_other_and_nobody_can_tell_it_from_a_true_one(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben", read_offline=True)
    author = ada.log.row.credential
    await ada.say("What I really think of it.")
    before = ben.copy(tmp_path / "before")
    true = ada.line.sealed[-1]
    await ben.sync()
    await ada.channel.refresh_keys()  # what she spoke under is replaced, and gone from every device but hers
    await ben.sync()
    epoch, leaf = group_in(before), leaf_of(group_in(before), ada)
    forged_data = payload.encode(
        payload.decode_application(_open(epoch, true).data).model_copy(
            update={"events": [Said(id=os.urandom(16), text="What Ben would like her to have said.", life=DAY)]}
        )
    )
    with pytest.raises(NotAuthentic):  # as long as the channel lives, Ben's own keys are not hers
        group_in(before).decrypt(forge(epoch, leaf, ben.log.group.signature_seed, forged_data))

    await ada.channel.close_for_all()
    await ben.channel.close_for_all()
    last = ben.copy(tmp_path / "last")
    held = len(ada.line.sealed)
    await ada.sync()
    await ben.sync()
    await ada.sync()
    assert ada.device.channels() == ben.device.channels() == []

    # All that follows is made of what came to Ben's device: two copies of his vault, and entries.
    seeds = disclosed(open_entries(last, PASSPHRASE, ada.line.sealed[held:]))
    key = epoch.member(leaf).signature_key
    (seed,) = [one for one in seeds if public_of(one, epoch) == key]
    forged = forge(epoch, leaf, seed, forged_data)
    assert len(forged) == len(true)
    for sealed, text in ((true, "What I really think of it."), (forged, "What Ben would like her to have said.")):
        received = _open(group_in(before), sealed)
        (event,) = payload.decode_application(received.data).events
        assert isinstance(event, Said)
        assert (received.sender, event.text) == (leaf, text)
        judge = Person.open(Path(shutil.copytree(before, tmp_path / f"judge of {len(text)}")), "judge")
        now = judge.clock()
        entry = wire.Entry(
            seq=judge.log.row.cursor + 1,
            entry=os.urandom(16),
            handshake=False,
            sealed=sealed,
            received_at=now,
            expires_at=now + DAY,
        )
        judge.log.fold([entry])
        assert [(one.text, one.sender) for one in judge.log.store.messages.shown(now)] == [(text, author)]
        await judge.close()


def _open(group: Group, sealed: bytes) -> ApplicationMessage:
    received = Group.load(group.records()).decrypt(sealed)
    assert isinstance(received, ApplicationMessage)
    return received


async def test_the_last_keys_too_are_disclosed_and_every_one_that_was_in_use_and_none_twice(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    for _ in range(2):
        await ada.channel.refresh_keys()
    keys = {public for member in ada.log.members.values() for public in member.keys}
    await ada.channel.close_for_all()
    await ben.channel.close_for_all()
    images = [ben.copy(tmp_path / "ben"), ada.copy(tmp_path / "ada")]
    group = group_in(images[0])
    await ada.sync()
    await ben.sync()
    await ada.sync()
    sealed = [*ada.line.sealed, *ben.line.sealed]
    shown = [seed for image in images for seed in disclosed(open_entries(image, PASSPHRASE, sealed))]
    assert {public_of(seed, group) for seed in shown} == keys


# In a live channel


async def weeks_later(*people: Person) -> None:
    """Long enough, and everybody comes by, for old keys to be disclosed."""
    for _ in range(2):
        time_passes(17 * DAY, *people)
        for person in people:
            await person.sync()
    for person in people:
        await person.sync()


def texts(person: Person) -> list[str]:
    return person.texts() if person.state is State.OPEN else []


async def test_a_disclosed_key_serves_to_say_do_attest_commit_and_complain_nothing_at_any_receiver(
    house: House, tmp_path: Path
) -> None:
    ada, ben, eve = everybody = await house.room("ada", "ben", "eve", absence=30 * DAY)
    hostile = Hostile(eve)
    start = eve.copy(tmp_path / "start")
    used = group_in(start).member(leaf_of(group_in(start), ada)).signature_key
    await ada.channel.refresh_keys()
    await weeks_later(*everybody)
    seeds, group = disclosed(READ), eve.log.group
    (old,) = [seed for seed in seeds if public_of(seed, group) == used]
    assert used in ada.log.members[ada.log.row.credential].keys  # members remember that it was hers
    living = ada.log.group.signature_seed
    assert living not in seeds
    leaf, behind = leaf_of(group, ada), ben
    states = {person.name: person.log.consent.devices for person in everybody}

    def data(*events: Event) -> bytes:
        seq, chain = hostile.stamp()
        number = Forger(eve.log.group).state.secret_tree.find(leaf, "application").generation
        return payload.encode(Envelope(seq=seq, chain=chain, key=number, events=list(events)))

    said = Said(id=os.urandom(16), text="Ada gives in.", life=DAY)
    leaving = Act.of(10_000, Leaving())
    step = Attesting(peer=ben.log.row.credential, step=os.urandom(64))

    # The same call, with her living key, would be believed: so what follows shows something.
    assert _open(eve.log.group, forge(eve.log.group, leaf, living, data(said))).sender == leaf

    for events, handshake in (((said,), False), ((leaving,), True), ((step,), False)):
        await hostile.catch_up()
        await hostile.post(forge(eve.log.group, leaf, old, data(*events)), handshake=handshake)
    # An entry of the epoch in which the key was in use: whoever would be there still could be deceived.
    old_group = group_in(start)
    await hostile.post(forge(old_group, leaf_of(old_group, ada), old, data(said)), handshake=False)
    await hostile.catch_up()
    await hostile.post(_commit(eve, leaf, old, data()), handshake=True)
    keys = eve.log.store.complaint_keys()
    for epoch in (eve.log.group.epoch, old_group.epoch):
        await hostile.catch_up()
        forged = _complaint(eve, ada, epoch, keys[epoch], old)
        told = complaint.open_(keys[epoch], eve.log.row.id, forged)
        eve.log.complaints.check(told, epoch, eve.log.members[ada.log.row.credential].keys)  # any key would do it
        await hostile.post(forged, handshake=True)
    for person in (ada, eve, behind):
        await person.sync()
        assert person.state is State.OPEN
        assert texts(person) == []
        devices = person.log.consent.devices
        assert {d.phase for d in devices.values()} == {Phase.PRESENT}
        assert devices[ada.device.card.fingerprint].met == states[person.name][ada.device.card.fingerprint].met
    await go_on(*everybody)


async def test_a_key_is_disclosed_once_though_the_device_has_no_half_of_a_newer_one_at_hand(house: House) -> None:
    ada, ben = await house.room("ada", "ben", absence=30 * DAY)
    await ada.channel.refresh_keys()
    time_passes(17 * DAY, ada, ben)
    await ada.sync()  # renews its key again
    await ben.sync()
    ada = await house.again(ada)
    time_passes(17 * DAY, ada, ben)
    for person in (ada, ben, ada, ben):
        await person.sync()
    events = [event for data in set(READ) for event in payload.decode(data).events]
    acts = [event.event for event in events if isinstance(event, Act) and isinstance(event.event, Disclosed)]
    assert len(acts) == len({act.seeds for act in acts}) > 0


READ: list[bytes] = []


@pytest.fixture(autouse=True)
def reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each device has read, application data as it was decrypted: what a member can keep who wants to."""
    READ.clear()
    true = payload.decode_application

    def keep(data: bytes) -> Envelope:
        READ.append(data)
        return true(data)

    monkeypatch.setattr(payload, "decode_application", keep)


def _commit(eve: Person, leaf: int, seed: bytes, stamp: bytes) -> bytes:
    """Eve's own renewal, as if it were of that leaf."""
    group, log = eve.log.group, eve.log
    sealed = seal_stamp(log.stamp_key(), stamp)
    forged = Forger(group).commit()
    content = Forger(group).sign(
        forged.content.content, signer=suite_of(group.suite).signer(seed), leaf=leaf, authenticated_data=sealed
    )
    content.confirmation_tag = forged.content.confirmation_tag
    return fit(lambda padding: Forger(group).private(content, padding=padding, leaf=leaf))


def _complaint(eve: Person, ada: Person, epoch: int, key: bytes, seed: bytes) -> bytes:
    """That Ada cannot follow: it would take her out of the group."""
    made = Complaint(ada.log.row.credential, 20_000, os.urandom(16))
    forger = Forger(eve.log.group)
    forger.group._state.signer = suite_of(eve.log.group.suite).signer(seed)
    signature = forger.group.sign(complaint.EXPORT_LABEL, made.signed(eve.log.row.id, epoch))
    made = Complaint(made.credential, made.counter, made.refused, signature)
    return complaint.seal(key, eve.log.row.id, epoch, made)


@pytest.mark.parametrize("guarded", [True, False])
async def test_who_is_so_far_behind_that_a_disclosed_key_could_deceive_believes_nothing_more(
    guarded: bool, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lying service and a member together; without the guard (the control) they succeed."""
    ada, ben, eve = await house.room("ada", "ben", "eve", absence=30 * DAY, messages=60 * DAY)
    await ada.say("Before Ben goes on a journey.")
    for person in (ben, eve):
        await person.sync()
    group = group_in(eve.copy(tmp_path / "then"))  # as Ben's device has it, too
    leaf = leaf_of(group, ada)
    seq, chain = ben.log.chain.seq, ben.log.chain.head
    await ada.channel.refresh_keys()
    await weeks_later(ada, eve)
    key = group.member(leaf).signature_key
    (seed,) = [one for one in disclosed(READ) if public_of(one, group) == key]

    number = Forger(group).state.secret_tree.find(leaf, "application").generation
    said = Said(id=os.urandom(16), text="Ben, accept it: Ada.", life=60 * DAY)
    sealed = forge(group, leaf, seed, payload.encode(Envelope(seq=seq, chain=chain, key=number, events=[said])))
    ben.clock.offset = 40 * DAY
    when = ben.log.row.received_at + 60  # so it seems that she wrote soon after he left
    entry = {
        "seq": ben.log.row.cursor + 1,
        "entry": base64.urlsafe_b64encode(os.urandom(16)).decode(),
        "handshake": False,
        "sealed": base64.urlsafe_b64encode(sealed).decode(),
        "received_at": when,
        "expires_at": when + 60 * DAY,
    }
    ben.line.rewrite = rewrite_pages(lambda entries: [entry])
    if not guarded:
        monkeypatch.setattr(ending.Ending, "is_out", lambda self, now: False)
    with suppress(PourparlerError):  # whatever comes of it later: he has been shown it
        await ben.sync()
    if guarded:
        assert (ben.state, ben.log.row.trouble) == (State.HALTED, AWAY)
        assert "Ben, accept it: Ada." not in ben.texts()
    else:
        assert "Ben, accept it: Ada." in ben.texts()
