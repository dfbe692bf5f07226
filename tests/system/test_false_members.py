"""A member who plays false: attacks that a reviewer made, each of which once succeeded."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pourparler_clients.errors import Halted, Unreachable, UserError, Waits
from pourparler_clients.examine import found, traces, vault_pages
from pourparler_clients.sealing import bucket_for
from pourparler_clients.store import State
from pourparler_clients.testing import PASSPHRASE, House, Person, breaks
from pourparler_crypto.mls.forging import Forger, Twist
from pourparler_crypto.mls.nodes import LeafNode
from pourparler_crypto.stamp import seal_stamp
from pourparler_policies import invitation as steps
from pourparler_policies import payload, wire
from pourparler_policies.fold import subject_digest
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.facts import Open, Phase, Recess
from pourparler_policies.limits import DAY
from pourparler_policies.payload import Envelope, Event, Said
from pourparler_policies.release.decoding import decode_state
from pourparler_policies.wire import Route


async def post(person: Person, sealed: bytes, *, handshake: bool, life: int = 3600) -> None:
    """Appends what this person's own client would not."""
    row = person.log.row
    with person.log.step():
        row.count += 1
    seen = await person.channel._api.channel(person.channel.id)
    append = wire.Append(
        entry=os.urandom(16),
        handshake=handshake,
        sealed=sealed,
        life=life,
        delete_hash=os.urandom(32),
        handshake_head=seen.handshake_head,
        count=row.count,
    )
    await person.channel._api.append(person.channel.id, append.model_dump_json().encode())


def envelope(person: Person, *events: Event) -> Envelope:
    return Envelope(seq=person.log.chain.seq, chain=person.log.chain.head, events=list(events))


def forged_path(person: Person, change: Any) -> tuple[bytes, Any]:
    """A commit that its author signed, with a leaf that `change` made, in a bucket's size; and its next epoch."""
    stamp = seal_stamp(person.log.stamp_key(), payload.encode(envelope(person)))
    forger = Forger(person.log.group)
    sign = forger.sign
    forger.sign = lambda content, **options: sign(content, **{**options, "authenticated_data": stamp})  # type: ignore[method-assign]
    forged = forger.commit(twist=Twist(leaf=change))
    size = bucket_for(len(forged.message))
    missing = size - len(forged.message)
    for _ in range(4):
        message = Forger(person.log.group).private(forged.content, padding=bytes(missing))
        if len(message) == size:
            return message, forged.following
        missing -= len(message) - size
    raise AssertionError("no padding fits")


async def test_nobody_takes_the_credential_of_another_and_speaks_in_its_name(house: House) -> None:
    ada, ben, mal = await house.room("ada", "ben", "mal")
    victim = next(m for m in mal.log.group.members if m.credential == ada.log.row.credential)
    stolen = mal.log.group._state.tree.leaf(victim.leaf)
    assert isinstance(stolen, LeafNode)
    message, following = forged_path(mal, lambda leaf: replace(leaf, credential=stolen.credential))
    epoch = ben.log.group.epoch
    await post(mal, message, handshake=True)
    for person in (ada, ben):
        await person.sync()
        assert person.log.group.epoch == epoch  # the commit is void, for everybody alike
        assert {member.name for member in person.log.members.values()} == {"ada", "ben", "mal"}
    said = payload.encode(envelope(ben, Said(id=os.urandom(16), text="I, Ada, accept", life=60)))
    await post(mal, following.encrypt(said, pad_to=bucket_for)[0], handshake=False)
    await ben.sync()
    assert ben.texts() == []


async def test_the_same_forged_path_with_the_own_credential_is_accepted(house: House) -> None:
    """The control of the test above: the forging kit makes valid commits, the credential made it void."""
    ada, ben, mal = await house.room("ada", "ben", "mal")
    epoch = ben.log.group.epoch
    message, _ = forged_path(mal, lambda leaf: leaf)
    await post(mal, message, handshake=True)
    for person in (ada, ben):
        await person.sync()
        assert person.log.group.epoch == epoch + 1
        assert person.state is State.OPEN


def swapped(packet: steps.Welcome) -> steps.Welcome:
    one, two = packet.members
    members = [
        one.model_copy(update={"device": two.device}),
        two.model_copy(update={"device": one.device}),
    ]
    return packet.model_copy(update={"members": members})


def heard_later(packet: steps.Welcome) -> steps.Welcome:
    members = [seat.model_copy(update={"heard": seat.heard + 1}) for seat in packet.members]
    return packet.model_copy(update={"members": members})


def approved_by_another(packet: steps.Welcome) -> steps.Welcome:
    """The folded state with one subject more on the table, as if the newcomer's side had approved it."""
    folded = decode_state(packet.state)
    state = folded.consent
    subject = Recess(state.time + DAY)
    held = Open(subject, next(iter(state.rules.parties)), dict.fromkeys(state.seats, True))
    table = {**state.open, subject_digest(state.rules, subject): held}
    return packet.model_copy(update={"state": canonical(replace(folded, consent=replace(state, open=table)))})


@pytest.mark.parametrize("lie", [swapped, heard_later, approved_by_another])
async def test_an_inviter_who_tells_the_newcomer_another_state_is_noticed_before_anybody_is_attested(
    house: House, monkeypatch: pytest.MonkeyPatch, lie: Callable[[steps.Welcome], steps.Welcome]
) -> None:
    ada, ben = await house.room("ada", "ben")
    cleo = await house.person("cleo")
    true = steps.Welcome.encode
    await house.put_on_the_table(ben, cleo)
    with monkeypatch.context() as patch:
        patch.setattr(steps.Welcome, "encode", lambda packet: true(lie(packet)))
        await house.bring_in(ben, cleo)
    await ada.sync()
    assert "alarm" in [happening.kind for happening in await cleo.sync()]
    assert cleo.log.epoch_digits() != ada.log.epoch_digits()
    with pytest.raises(Halted):
        await cleo.say("I would not speak to whom I do not know.")
    assert cleo.log.consent.devices[cleo.device.card.fingerprint].phase is Phase.LOBBY
    for person in (ada, ben):
        with pytest.raises(Waits):  # and nobody shows or says anything before cleo is out, or in
            await person.say("I would not speak before the newcomer either.")
    await ada.channel.remove(cleo.log.row.credential)
    for person in (ada, ben, ada, ben):
        await person.sync()
    assert [len(person.texts()) for person in (ada, ben)] == [2, 2]
    assert cleo.texts() == []


async def test_say_is_not_said_to_have_succeeded_when_the_channel_was_closed_first(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.channel.close_for_all()
    await ben.channel.close_for_all()  # what is on the table already is approved
    with pytest.raises(Halted):
        await ada.say("Is anybody there?")


async def test_say_is_not_said_to_have_succeeded_when_its_life_was_over_first(house: House) -> None:
    ada, _ = await house.room("ada", "ben")
    ada.line.before_request = lambda method, path: setattr(ada.clock, "offset", 100)
    with pytest.raises(UserError, match="was not said"):
        await ada.say("Quickly now.", life=2)


@pytest.mark.parametrize("act", ["leave", "close_for_all"])
async def test_a_farewell_that_failed_does_not_happen_by_itself_later(house: House, act: str) -> None:
    ada, ben = await house.room("ada", "ben")

    def down(method: str, path: str) -> None:
        if ada.log.store.outbox.waiting():
            raise httpx.ConnectError("down")

    ada.line.before_request = down
    with pytest.raises(Unreachable):
        await getattr(ada.channel, act)()
    ada.line.before_request = None
    await ada.sync()
    await ben.sync()
    assert (ada.state, ben.state) == (State.OPEN, State.OPEN)
    assert {device.phase for device in ben.log.consent.devices.values()} == {Phase.PRESENT}
    assert ben.log.consent.open == {}


async def test_a_channel_whose_changes_of_keys_would_outlive_the_operators_cap_is_not_founded(
    house: House,
) -> None:
    ada, ben = await house.person("ada"), await house.person("ben")

    def strict(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        if path != Route.SERVICE:
            return status, data
        told = json.loads(data)
        told["caps"]["longest_life"] = 7 * DAY
        return status, json.dumps(told).encode()

    ada.line.rewrite = strict
    with pytest.raises(UserError, match="choose less"):
        await house.found(ada, ben, messages=DAY, absence=7 * DAY)
    assert ada.device.all_channels() == []
    await house.found(ada, ben, messages=DAY, absence=5 * DAY)


async def test_a_founding_whose_answer_was_lost_goes_on_with_another_grant(house: House) -> None:
    ada, ben = await house.person("ada"), await house.person("ben")
    breaks("POST", Route.CHANNELS, reached=True)(ada.line)
    with pytest.raises(Unreachable):
        await house.found(ada, ben)
    await house.found(ada, ben)  # another grant: the first has been used
    assert len(ada.device.all_channels()) == 1
    await house.seat(ada, ben)
    await ada.say("Good evening.")


async def test_forgetting_a_channel_erases_it_here_in_any_state_and_without_a_line(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben", title="Winter wheat")
    await ben.say("The second village keeps its well.")
    await ada.sync()
    with ada.log.step():
        ada.log.halt("for a reason")
    channel = ada.channel.id

    def down(method: str, path: str) -> None:
        raise httpx.ConnectError("down")

    ada.line.before_request = down
    await ada.device.forget(channel)
    assert ada.device.all_channels() == []
    needles = {piece for text in ("Winter wheat", "The second village keeps its well.") for piece in traces(text)}
    assert not found(needles | {channel}, vault_pages(ada.copy(tmp_path / "image"), PASSPHRASE))
