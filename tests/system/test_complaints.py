"""A commit that one device alone cannot process halts it; it says so, and comes back without approvals."""

import os

from pourparler_clients.sealing import bucket_for
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person
from pourparler_clients.troubles import UNPROCESSABLE
from pourparler_crypto import complaint
from pourparler_crypto.complaint import Complaint
from pourparler_crypto.mls.forging import Forger, Twist
from pourparler_crypto.stamp import seal_stamp
from pourparler_policies import payload, wire
from pourparler_policies.fold.facts import Phase
from pourparler_policies.payload import Envelope


async def post(person: Person, sealed: bytes) -> None:
    """Appends what this person's own client would not."""
    await person.sync()
    with person.log.step():
        person.log.row.count += 1
    append = wire.Append(
        entry=os.urandom(16),
        handshake=True,
        sealed=sealed,
        life=3600,
        delete_hash=os.urandom(32),
        handshake_head=person.log.row.handshake_head,
        count=person.log.row.count,
    )
    await person.channel._api.append(person.channel.id, append.model_dump_json().encode())


def breaking_one_path(person: Person) -> bytes:
    """A valid commit by the second leaf, with a path secret that its neighbour, the first leaf, cannot open."""
    log = person.log
    envelope = Envelope(seq=log.chain.seq, chain=log.chain.head, events=[])
    stamp = seal_stamp(log.stamp_key(), payload.encode(envelope))
    forger = Forger(log.group)
    sign = forger.sign
    forger.sign = lambda content, **options: sign(content, **{**options, "authenticated_data": stamp})  # type: ignore[method-assign]
    forged = forger.commit(
        twist=Twist(secret=lambda level, position, secret: os.urandom(len(secret)) if level == 0 else secret)
    )
    size = bucket_for(len(forged.message))
    missing = size - len(forged.message)
    for _ in range(4):
        message = Forger(log.group).private(forged.content, padding=bytes(missing))
        if len(message) == size:
            return message
        missing -= len(message) - size
    raise AssertionError("no padding fits")


def phase(watcher: Person, person: Person) -> Phase:
    return watcher.log.consent.devices[person.device.card.fingerprint].phase


async def broken(house: House) -> list[Person]:
    """Ada cannot process Mal's commit; Cleo can."""
    ada, mal, cleo = await house.room("ada", "mal", "cleo")
    await ada.say("before")
    await cleo.sync()
    await post(mal, breaking_one_path(mal))
    await ada.sync()
    assert (ada.state, ada.log.row.trouble) == (State.HALTED, UNPROCESSABLE)
    return [ada, mal, cleo]


async def test_who_alone_cannot_process_a_commit_says_so_and_comes_back_without_approvals(house: House) -> None:
    ada, _, cleo = await broken(house)
    assert ada.texts() == ["before"]  # a halt erases nothing
    epoch = cleo.log.group.epoch
    told = [happening.kind for happening in await cleo.sync()]
    assert "stranded" in told
    assert cleo.log.group.epoch == epoch + 2  # Mal's commit counts for everybody else; the stranded leaf goes
    assert phase(cleo, ada) is Phase.AWAY
    await house.bring_in(cleo, ada)
    for _ in range(10):
        for person in (ada, cleo):
            await person.sync()
    assert phase(cleo, ada) is Phase.PRESENT
    await cleo.say("good to have you back")
    await ada.sync()
    assert ada.texts() == ["good to have you back"]
    assert ada.state is State.OPEN
    assert ada.log.epoch_digits() == cleo.log.epoch_digits()


async def test_a_complaint_that_could_not_be_sent_is_sent_after_a_restart_and_once(house: House) -> None:
    ada, mal, cleo = await house.room("ada", "mal", "cleo")
    await post(mal, breaking_one_path(mal))
    sent = len(ada.line.sealed)

    def down(method: str, path: str, status: int, data: bytes) -> tuple[int, bytes]:
        return (503, b"") if method == "POST" else (status, data)

    ada.line.rewrite = down  # it arrives, and the answer does not
    try:
        await ada.sync()
    except Exception as error:
        assert type(error).__name__ in ("Unreachable", "Refused")
    ada.line.rewrite = None
    ada = await house.again(ada)
    for _ in range(3):
        await ada.sync()
    assert ada.state is State.HALTED
    complaints = [sealed for sealed in ada.line.sealed[sent:] if complaint.is_complaint(sealed)]
    assert len(set(complaints)) == 1
    await cleo.sync()
    assert phase(cleo, ada) is Phase.AWAY
    assert ada.log.store.own_complaint() == b""


async def test_a_complaint_in_the_name_of_another_strands_nobody(house: House) -> None:
    ada, mal, cleo = await house.room("ada", "mal", "cleo")
    log = mal.log
    epoch = log.group.epoch
    for credential in (ada.log.row.credential, cleo.log.row.credential, b"x" * 16):
        made = Complaint(credential, 50, b"e" * 16)
        signature = log.group.sign(complaint.EXPORT_LABEL, made.signed(log.row.id, epoch))
        made = Complaint(credential, 50, b"e" * 16, signature)
        await post(mal, complaint.seal(log.complaints.key(), log.row.id, epoch, made))
    await post(mal, complaint.MAGIC + os.urandom(complaint.SIZE - len(complaint.MAGIC)))
    for person in (ada, mal, cleo):
        happened = await person.sync()
        assert not {"stranded", "alarm", "halted"} & {one.kind for one in happened}
        assert {device.phase for device in person.log.consent.devices.values()} == {Phase.PRESENT}
    await ada.say("as if nothing had been")
    await cleo.sync()
    assert cleo.texts() == ["as if nothing had been"]


async def test_a_member_who_complains_falsely_strands_only_itself(house: House) -> None:
    ada, mal, cleo = await house.room("ada", "mal", "cleo")
    log = mal.log
    made = Complaint(log.row.credential, 50, b"e" * 16)
    signature = log.group.sign(complaint.EXPORT_LABEL, made.signed(log.row.id, log.group.epoch))
    made = Complaint(made.credential, made.counter, made.refused, signature)
    await post(mal, complaint.seal(log.complaints.key(), log.row.id, log.group.epoch, made))
    await ada.sync()
    assert phase(ada, mal) is Phase.AWAY
    assert {phase(ada, ada), phase(ada, cleo)} == {Phase.PRESENT}
