"""The promises of the design, each by its name, as far as they are built (docs/threat-model.md says how far).

The whole of each stands in the suites beside this one; here each is seen once, in the open.
"""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pourparler_clients.errors import Halted, UserError
from pourparler_clients.examine import files_below, found, open_texts, pieces, stored_texts, traces, vault_pages
from pourparler_clients.signing_testing import Hours, release_room
from pourparler_clients.testing import PASSPHRASE, House, Person, rewrite_pages
from pourparler_crypto.errors import ProtocolError
from pourparler_crypto.mls import Group
from pourparler_crypto.note import Note
from pourparler_policies.charter.rules import Role
from pourparler_policies.fold.events import Approved, Enacted
from pourparler_policies.fold.facts import Admit, Close, Expel
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_policies.wire import Route
from pourparler_service.caps import Caps
from pourparler_service.grants import issue
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded

SECRET = "Both villages may use the wells on alternate days."


def records(person: Person) -> dict[str, bytes]:
    return person.log.store.records()


async def test_promise_1_content_nobody_but_the_channels_devices_can_read_anything(
    house: House, data: Path
) -> None:
    ada, ben, eve = await house.room("ada", "ben", "eve")
    before = Group.load(records(eve))
    await eve.channel.leave()
    await ben.sync()
    await ada.say(SECRET)
    await ben.sync()
    assert ben.texts() == [SECRET]
    sealed = ada.line.sealed[-1]
    with pytest.raises(ProtocolError):  # who has left holds old keys, and they open nothing
        before.decrypt(sealed)
    assert not found(traces(SECRET), [sealed, *files_below(data)])


async def test_promise_3_expiry_past_its_time_a_message_can_be_opened_nowhere(
    house: House, data: Path, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(SECRET, life=60)
    await ben.sync()
    sealed = ada.line.sealed[-1]
    for person in (ada, ben):
        before = person.copy(tmp_path / f"{person.name}-living")
        stored = stored_texts(before, PASSPHRASE)
        halves = set(person.log.store.hours.at_hand().values())
        assert found(traces(SECRET), open_texts(stored, halves))
        # Once the service has destroyed its half: neither in what was copied before, nor in what is there now.
        assert not found(traces(SECRET), [*open_texts(stored, []), *vault_pages(before, PASSPHRASE)])
        person.clock.offset = 61
        person.device.purge()
        image = person.copy(tmp_path / f"{person.name}-later")
        assert not found(traces(SECRET), [*open_texts(stored_texts(image, PASSPHRASE), halves)])
        assert not found(pieces(one.sealed for one in stored), vault_pages(image, PASSPHRASE))
        # Not with the sealed bytes either, had somebody recorded them: the message's key is used up.
        with pytest.raises(ProtocolError):
            Group.load(records(person)).decrypt(sealed)


async def test_promise_4_joint_release_until_every_party_has_signed_there_is_no_signature_and_then_there_are_all(
    tmp_path: Path,
) -> None:
    hours, service = Hours(), tmp_path / "service"
    caps = Caps(newcomer_handshakes=HANDSHAKE_BURST)
    with threaded(Settings(service, caps, clock=hours)) as url:
        house = House(url, lambda: issue(service)[0], tmp_path)
        try:
            room = await release_room(house, hours, "ada", "ben", words=SECRET)
            board = f"{url}{Route.BOARD_NOTE.value.replace('{digest}', room.text.digest.hex())}"
            await room.ready()
            await room.sign(room.parties[0])
            await room.visit()
            # One has signed. No signature exists, nothing can be read at the service, and nothing tells who it was.
            assert room.notes() == []
            assert httpx.get(board, trust_env=False).status_code == 404
            assert not found(traces(SECRET), files_below(service))
            await room.sign(room.parties[1])
            await room.published()
            (note,) = set(room.notes())
            read = Note.parse(note)
            for public, signature in zip(read.communique.keys, read.signatures, strict=True):
                Ed25519PublicKey.from_public_bytes(public).verify(signature, room.text.text)
            assert httpx.get(board, trust_env=False).content == note
        finally:
            await house.close()


async def test_promise_5_consent_nobody_enters_whom_not_every_party_has_approved(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    eve = await house.person("eve")
    inviter, invitee = ada.device.inviter(ada.channel), eve.device.invitee()
    with pytest.raises(UserError, match="not on the table"):
        await inviter.invite(eve.device.card)
    body = next(party for party, one in ada.log.charter.parties.items() if one.name == "Side 0")
    await ada.channel.propose(Admit(body, Role.DELEGATE, eve.device.card.fingerprint))
    box = await invitee.answer(await inviter.invite(eve.device.card))
    await inviter.progress()
    await invitee.offer(box)
    await invitee.accept(box)
    for _ in range(2):
        (told,) = await inviter.progress()  # accepted by the newcomer and by one side, and by nobody else
        assert told.step == "waiting"
    assert await invitee.join(box) is None
    await ben.sync()
    assert {member.name for member in ben.log.members.values()} == {"ada", "ben"}
    (digest,) = ben.log.consent.open
    await ben.channel.do(Approved(digest))
    await ada.sync()
    assert [step.step for step in await inviter.progress()] == ["seated"]
    assert await invitee.join(box) is not None


async def test_promise_5_consent_nobody_is_put_out_and_nothing_is_closed_by_one_side_alone(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    with pytest.raises(UserError, match="refuse"):
        await ada.channel.remove(ben.log.row.credential)
    seat = ada.log.consent.devices[ben.device.card.fingerprint].seat
    for subject in (Expel(seat), Close()):
        digest = await ada.channel.propose(subject)
        with pytest.raises(UserError, match="not every party"):
            await ada.channel.do(Enacted(digest))
    await ben.sync()
    await ada.say(SECRET)
    await ben.sync()
    assert ben.texts() == [SECRET]


async def test_promise_7_a_blind_service_holds_no_names_texts_or_membership(house: House, data: Path) -> None:
    ada, ben = await house.room("ada-of-the-north", "ben-of-the-south", title="Two wells and a road")
    await ada.say(SECRET)
    await ben.say("We could live with that.")
    await ada.sync()
    words = (SECRET, "We could live with that.", "Two wells and a road", "ada-of-the-north", "ben-of-the-south")
    people = [p.device.card.fingerprint for p in (ada, ben)] + [p.device.card.public[:32] for p in (ada, ben)]
    members = [p.log.row.credential for p in (ada, ben)]
    needles = {trace for word in words for trace in traces(word)} | set(people) | set(members)
    for form in (bytes.hex, lambda value: base64.urlsafe_b64encode(value).decode()[:20]):
        needles |= {form(value).encode() for value in [*people, *members]}
    assert not found(needles, files_below(data))
    assert found([ada.log.row.device], files_below(data))  # the search works: this number the service does hold
    assert {len(sealed) for sealed in ada.line.sealed + ben.line.sealed} <= {1024, 4096, 16384, 65536}


async def test_promise_8_nothing_lost_an_acknowledged_message_survives_both_sides_crashing(
    house: House, tmp_path: Path
) -> None:
    ada, ben = await house.room("ada", "ben")
    await ada.say(SECRET)
    ben = await house.again(ben)
    ada = await house.again(ada)
    await ben.sync()
    assert ben.texts() == ada.texts() == [SECRET]


async def test_promise_8_an_old_copy_of_a_vault_notices_and_stops(house: House, tmp_path: Path) -> None:
    ada, ben = await house.room("ada", "ben")
    old = ada.copy(tmp_path / "old")
    await ada.say(SECRET)
    copy = Person.open(old, "ada")
    house.people.append(copy)
    with pytest.raises(Halted):
        await copy.say("from the copy")
    await ben.sync()
    assert ben.texts() == [SECRET]


async def test_a_service_that_lies_about_the_course_of_events_is_noticed(house: House) -> None:
    ada, ben = await house.room("ada", "ben")

    def later(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**entry, "received_at": entry["received_at"] + 1} for entry in entries if json.dumps(entry)]

    ben.line.rewrite = rewrite_pages(later)
    await ada.channel.refresh_keys()
    await ben.sync()
    ben.line.rewrite = None
    await ada.say(SECRET)
    assert [happening.kind for happening in await ben.sync()] == ["alarm", "said"]
