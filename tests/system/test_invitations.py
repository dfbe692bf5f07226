"""An invitation that goes wrong is refused in one sentence, and leaves none of its one-time keys behind.

One file, although long: a table of what can go wrong at each step.
"""

import base64
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pourparler_clients import invitations, joining
from pourparler_clients.api import Api
from pourparler_clients.errors import Refused, Unreachable, UserError
from pourparler_clients.store import State
from pourparler_clients.testing import House, Person, breaks
from pourparler_crypto.card import Card, CardKey
from pourparler_crypto.mls import SUITE_PQ, SUITE_X25519_AES128, KeyPackageBundle, make_key_package
from pourparler_policies import charter as charters
from pourparler_policies import invitation as steps
from pourparler_policies.charter.withholding import AFTER, shown_before_acceptance
from pourparler_policies.fold.decoding import decode_commit
from pourparler_policies.fold.encoding import encode as canonical
from pourparler_policies.fold.events import Ground
from pourparler_policies.fold.facts import Amend
from pourparler_policies.limits import DAY, HOUR, MAX_BOX_LIFE
from pourparler_policies.release.decoding import decode_state


def keys_left(person: Person) -> list[tuple[Any, ...]]:
    return person.device.vault.rows("SELECT box, step FROM invitation")


def answer_box(person: Person, box: bytes) -> Any:
    """The Api at a box, with the token that the person's vault has."""
    kind = (
        joining.Joining
        if person.device.vault.row("SELECT channel FROM invitation")[0] is None
        else invitations.Inviting
    )  # type: ignore[index]
    _, state = invitations.load(person.device.vault, kind, box)
    return Api(state.url, state.token)


async def invited(house: House) -> tuple[Person, Person, str]:
    """Ada has opened a channel; its charter names Ben."""
    ada, ben = await house.opened("ada", "ben")
    return ada, ben, await ada.device.inviter(ada.channel).invite(ben.device.card)


async def ends(person: Person) -> list[tuple[str, str]]:
    """Where the person's invitations have come to, and why."""
    return [(step.step, step.reason) for step in await person.device.inviter(person.channel).progress()]


async def test_invitation_for_another_card_is_refused(house: House) -> None:
    _, _, text = await invited(house)
    eve = await house.person("eve")
    with pytest.raises(UserError, match="another card"):
        await eve.device.invitee().answer(text)
    assert keys_left(eve) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: text[:23],
        lambda text: "",
        lambda text: text.replace("pourparler-invitation:", "pourparler-card:"),
        lambda text: text[:500] + ("A" if text[500] != "A" else "B") + text[501:],
        lambda text: text + "AAAA",
        lambda text: text + "!",
        lambda text: text * 3,
        lambda text: text + "A" * 10_000_000,
        lambda text: "pourparler-invitation:é" + text[23:],
        lambda text: "pourparler-invitation:" + "A" * 3000,
    ],
)
async def test_damaged_truncated_or_oversized_invitation_is_refused(
    spoil: Callable[[str], str], house: House
) -> None:
    ada, ben, text = await invited(house)
    with pytest.raises(UserError, match="invitation"):
        await ben.device.invitee().answer(spoil(text))
    assert keys_left(ben) == []
    # The real one still works, also when a mail program broke its line.
    box = await ben.device.invitee().answer(text[:100] + "\r\n " + text[100:] + "\n")
    await ada.device.inviter(ada.channel).progress()
    assert await ben.device.invitee().offer(box) is not None


async def test_invitation_that_was_used_is_refused_and_leaves_nothing(house: House) -> None:
    ada, ben, text = await invited(house)
    box = await ben.device.invitee().answer(text)
    await ada.device.inviter(ada.channel).progress()
    await ben.device.invitee().offer(box)
    await ben.device.invitee().accept(box)
    await ada.device.inviter(ada.channel).progress()
    assert await ben.device.invitee().join(box) == ada.channel.id
    assert keys_left(ada) == keys_left(ben) == []
    with pytest.raises(UserError, match="used already"):
        await ben.device.invitee().answer(text)
    assert keys_left(ben) == []
    assert len(ben.device.channels()) == 1


async def test_declined_invitation_leaves_nothing_on_the_device(house: House) -> None:
    ada, ben, text = await invited(house)
    box = await ben.device.invitee().answer(text)
    await ada.device.inviter(ada.channel).progress()
    await ben.device.invitee().offer(box)
    await ben.device.invitee().decline(box)
    assert keys_left(ben) == []
    assert await ends(ada) == [("failed", "over")]
    assert keys_left(ada) == []
    assert len(ada.log.members) == 1


async def test_declined_after_all_seats_nobody(house: House) -> None:
    ada, ben, text = await invited(house)
    invitee = ben.device.invitee()
    box = await invitee.answer(text)
    await ada.device.inviter(ada.channel).progress()
    await invitee.offer(box)
    assert not invitee.accepted(box)
    await invitee.accept(box)
    assert invitee.accepted(box)
    await invitee.decline(box)
    assert await ends(ada) == [("failed", "over")]
    assert len(ada.log.members) == 1


async def test_declined_without_the_service_leaves_nothing_on_the_device(house: House) -> None:
    ada, ben, text = await invited(house)
    box = await ben.device.invitee().answer(text)
    breaks("DELETE", "", reached=False)(ben.line)
    await ben.device.invitee().decline(box)
    assert keys_left(ben) == []
    assert len(ada.log.members) == 1


async def test_box_that_is_gone_is_said_to_be_over_and_the_keys_wait_for_their_end(house: House) -> None:
    ada, ben, text = await invited(house)
    invitee = ben.device.invitee()
    box = await invitee.answer(text)
    await ada.device.inviter(ada.channel).progress()
    await invitee.offer(box)
    async with answer_box(ada, box) as api:
        await api.remove_box(box)
    with pytest.raises(UserError, match="is over"):
        await invitee.accept(box)
    with pytest.raises(UserError, match="is over"):
        await invitee.join(box)
    with pytest.raises(UserError, match="is over"):
        await invitee.answer(text)
    assert len(keys_left(ben)) == 1


async def test_line_that_breaks_when_the_box_is_removed_costs_no_seat(house: House) -> None:
    ada, ben, text = await invited(house)
    invitee = ben.device.invitee()
    box = await invitee.answer(text)
    await ada.device.inviter(ada.channel).progress()
    await invitee.offer(box)
    await invitee.accept(box)
    await ada.device.inviter(ada.channel).progress()
    breaks("DELETE", "", reached=False)(ben.line)
    assert await invitee.join(box) == ada.channel.id
    assert keys_left(ben) == []
    assert ben.state is State.OPEN


@pytest.mark.parametrize(
    ("ahead", "inviter_ahead", "told"),
    [
        (2 * HOUR, 0, ("seated", "")),
        (2 * DAY - HOUR, 0, ("seated", "")),  # a day in the lifetime, and a day of tolerance
        (0, 2 * HOUR, ("seated", "")),
        (3 * DAY, 0, ("failed", "clock")),
        (0, 20 * DAY, ("failed", "clock")),
    ],
)
async def test_clocks_may_differ_by_a_day_and_a_wrong_clock_is_not_blamed_on_anybody(
    ahead: int, inviter_ahead: int, told: tuple[str, str], house: House
) -> None:
    ada, ben, text = await invited(house)
    ben.clock.offset, ada.clock.offset = ahead, inviter_ahead
    box = await ben.device.invitee().answer(text)
    await ada.device.inviter(ada.channel).progress()
    await ben.device.invitee().offer(box)
    await ben.device.invitee().accept(box)
    assert await ends(ada) == [told]
    if told[0] == "seated":
        assert await ben.device.invitee().join(box) == ada.channel.id


async def test_host_of_a_new_invitation_is_told_before_any_connection(house: House) -> None:
    ada, ben, text = await invited(house)
    invitee = ben.device.invitee()
    host = ada.log.row.url.removeprefix("http://")
    assert invitee.host(text) == host
    assert ben.line.requests == []
    assert keys_left(ben) == []
    await invitee.answer(text)
    assert invitee.host(text) is None


async def test_answer_is_kept_as_long_as_any_invitation_waits(house: House) -> None:
    ada, ben = await house.opened("ada", "ben")
    await ben.device.invitee().answer(await ada.device.inviter(ada.channel).invite(ben.device.card, MAX_BOX_LIFE))
    ben.clock.offset = MAX_BOX_LIFE
    ben.device.purge()
    assert len(keys_left(ben)) == 1
    ben.clock.offset = MAX_BOX_LIFE + DAY + 1
    ben.device.purge()
    assert keys_left(ben) == []


@pytest.mark.parametrize("slot", [steps.ANSWER, steps.OFFER, steps.ACCEPTANCE])
async def test_box_filled_by_somebody_else_spoils_the_invitation_and_its_keys_go(slot: int, house: House) -> None:
    ada, ben, text = await invited(house)
    inviter, invitee = ada.device.inviter(ada.channel), ben.device.invitee()
    (box,) = (box for box, _, _ in inviter.pending())
    junk = os.urandom(4096)
    api = answer_box(ada, box)
    if slot == steps.ANSWER:
        await api.deposit(box, slot, junk)
        with pytest.raises(UserError, match="spoiled"):
            await invitee.answer(text)
    elif slot == steps.OFFER:
        await invitee.answer(text)
        await api.deposit(box, slot, junk)
        with pytest.raises(UserError, match="spoiled"):
            await invitee.offer(box)
    else:
        await invitee.answer(text)
        await inviter.progress()
        await invitee.offer(box)
        await api.deposit(box, slot, junk)
        with pytest.raises(Refused):
            await invitee.accept(box)
        await invitee.decline(box)
    await api.close()
    assert await ends(ada) == [("failed", "over" if slot == steps.ACCEPTANCE else "spoiled")]
    assert keys_left(ada) == keys_left(ben) == []
    assert len(ada.log.members) == 1


async def accepted(
    house: House, spoil: Callable[[Person, steps.Acceptance], steps.Acceptance], reason: str
) -> None:
    """An invitee who accepts with something else than its own program would."""
    ada, ben, text = await invited(house)
    inviter, invitee = ada.device.inviter(ada.channel), ben.device.invitee()
    box = await invitee.answer(text)
    await inviter.progress()
    await invitee.offer(box)
    _, state = invitations.load(ben.device.vault, joining.Joining, box)
    assert isinstance(state, joining.Joining)
    honest = steps.Acceptance(key_package=package(), device=os.urandom(16), token_hash=os.urandom(32))
    sealed = invitations.seal_to_bucket(
        "acceptance", state.secret, state.offer, state.inviter, spoil(ada, honest).encode()
    )
    async with Api(state.url, state.token) as api:
        await api.deposit(box, steps.ACCEPTANCE, sealed)
    assert await ends(ada) == [("failed", reason)]
    assert keys_left(ada) == []
    assert ada.state is State.OPEN
    assert len(ada.log.members) == 1
    await house.bring_in(ada, ben)  # what was agreed about the card still holds
    await house.attest(ada)
    await ada.say("the channel goes on")


def package(**changes: Any) -> bytes:
    now = int(time.time())
    arguments = {"suite": SUITE_PQ, "credential": os.urandom(16), "lifetime": (now, now + DAY), **changes}
    made: KeyPackageBundle = make_key_package(
        arguments["suite"], arguments["credential"], lifetime=arguments["lifetime"]
    )
    return made.key_package


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda ada, it: it.model_copy(update={"key_package": package(credential=b"short")}), "refused"),
        (lambda ada, it: it.model_copy(update={"key_package": package(suite=SUITE_X25519_AES128)}), "spoiled"),
        (lambda ada, it: it.model_copy(update={"key_package": package(lifetime=(0, 1))}), "clock"),
        (lambda ada, it: it.model_copy(update={"key_package": b"junk"}), "spoiled"),
        (lambda ada, it: it.model_copy(update={"device": ada.log.row.device}), "refused"),
    ],
    ids=["short credential", "other suite", "lifetime over", "junk", "the inviter's own device number"],
)
async def test_hostile_acceptance_costs_the_invitation_and_nothing_else(
    spoil: Callable[[Person, steps.Acceptance], steps.Acceptance], reason: str, house: House
) -> None:
    await accepted(house, spoil, reason)


async def test_device_number_of_somebody_else_is_refused_before_the_others_would_void_it(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    dan = await house.person("dan")
    await house.put_on_the_table(ada, dan)
    inviter, invitee = ada.device.inviter(ada.channel), dan.device.invitee()
    box = await invitee.answer(await inviter.invite(dan.device.card))
    await inviter.progress()
    await invitee.offer(box)
    _, state = invitations.load(dan.device.vault, joining.Joining, box)
    assert isinstance(state, joining.Joining)
    number = ben.log.row.device
    acceptance = steps.Acceptance(key_package=package(), device=number, token_hash=os.urandom(32)).encode()
    sealed = invitations.seal_to_bucket("acceptance", state.secret, state.offer, state.inviter, acceptance)
    async with Api(state.url, state.token) as api:
        await api.deposit(box, steps.ACCEPTANCE, sealed)
    before = len(ada.line.sealed)
    assert [(step.step, step.reason) for step in await inviter.progress()] == [("failed", "refused")]
    assert len(ada.line.sealed) == before
    await ada.say("ada")
    await ben.say("ben")
    await ada.sync()
    assert ada.texts() == ben.texts() == ["ada", "ben"]
    assert ada.log.epoch_digits() == ben.log.epoch_digits()


Lie = Callable[[steps.Welcome], dict[str, Any]]


def another_charter(packet: steps.Welcome) -> dict[str, Any]:
    return {"charter": replace(charters.decode(packet.charter), title="Two other wells").encode()}


def of_another_charter(packet: steps.Welcome) -> dict[str, Any]:
    folded = decode_state(packet.state)
    rules = replace(folded.consent.rules, charter=bytes(32))
    return {"state": canonical(replace(folded, consent=replace(folded.consent, rules=rules)))}


def one_more(packet: steps.Welcome) -> dict[str, Any]:
    (me,) = packet.members
    return {"members": [me, me.model_copy(update={"credential": b"x" * 16, "device": b"y" * 16})]}


def twice(packet: steps.Welcome) -> dict[str, Any]:
    return {"members": packet.members * 2}


def odd_name(packet: steps.Welcome) -> dict[str, Any]:
    (me,) = packet.members
    return {"members": [me.model_copy(update={"name": "ada\u202e"})]}


def another_name(packet: steps.Welcome) -> dict[str, Any]:
    (me,) = packet.members
    return {"members": [me.model_copy(update={"name": "eve"})]}


def another_card(packet: steps.Welcome) -> dict[str, Any]:
    (me,) = packet.members
    card = Card(me.name, CardKey.generate().card("eve").public)
    return {"members": [me.model_copy(update={"public": card.public, "fingerprint": card.fingerprint})]}


def nobody_approved(packet: steps.Welcome) -> dict[str, Any]:
    folded = decode_state(packet.state)
    (digest,) = folded.consent.open
    held = replace(folded.consent.open[digest], approvals={})
    return {"state": canonical(replace(folded, consent=replace(folded.consent, open={digest: held})))}


def another_commit(packet: steps.Welcome) -> dict[str, Any]:
    commit = decode_commit(packet.commit)
    return {"commit": canonical(replace(commit, added=(replace(commit.added[0], ground=Ground.ADMISSION),)))}


def somebody_else_seated(packet: steps.Welcome) -> dict[str, Any]:
    return {"seated": packet.seated.model_copy(update={"fingerprint": bytes(32)})}


def later(packet: steps.Welcome) -> dict[str, Any]:
    return {"seq": 10**6}


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (another_charter, "not the one you accepted"),
        *((lie, "list of members") for lie in (of_another_charter, one_more, twice, odd_name, another_name)),
        *((lie, "list of members") for lie in (another_card, nobody_approved, another_commit)),
        (somebody_else_seated, "list of members"),
        (later, "does not show"),
    ],
)
async def test_welcome_that_differs_from_what_was_accepted_is_refused(
    lie: Lie, told: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben, text = await invited(house)
    inviter, invitee = ada.device.inviter(ada.channel), ben.device.invitee()
    true = steps.Welcome.encode
    box = await invitee.answer(text)
    await inviter.progress()
    await invitee.offer(box)
    await invitee.accept(box)
    with monkeypatch.context() as patch:
        patch.setattr(steps.Welcome, "encode", lambda packet: true(packet.model_copy(update=lie(packet))))
        await inviter.progress()
    with pytest.raises((UserError, Refused), match=told):
        await invitee.join(box)
    assert ben.device.channels() == []
    if told != "does not show":  # that is what the service shows: it may show another thing later
        assert keys_left(ben) == []


@pytest.mark.parametrize("what", ["hash", "charter"])
async def test_charter_shown_before_acceptance_is_the_charter_of_the_channel(
    what: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben, text = await invited(house)
    inviter, invitee = ada.device.inviter(ada.channel), ben.device.invitee()
    true = steps.Offer.encode

    def softer(offer: steps.Offer) -> bytes:
        charter = charters.decode(offer.charter)
        mild = replace(charter, retention=replace(charter.retention, messages=HOUR))
        changes = {"hash": mild.hash} if what == "hash" else {"charter": mild.encode()}
        return true(offer.model_copy(update=changes))

    with monkeypatch.context() as patch:
        patch.setattr(steps.Offer, "encode", softer)
        box = await invitee.answer(text)
        await inviter.progress()
    shown = await invitee.offer(box)
    assert shown is not None
    await invitee.accept(box)
    await inviter.progress()
    with pytest.raises(UserError, match="not the one you accepted"):
        await invitee.join(box)
    assert ben.device.channels() == []
    assert keys_left(ben) == []


async def test_charter_that_was_amended_meanwhile_is_not_accepted_unseen(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    dan = await house.person("dan")
    await house.put_on_the_table(ada, dan)
    inviter, invitee = ada.device.inviter(ada.channel), dan.device.invitee()
    box = await invitee.answer(await inviter.invite(dan.device.card))
    await inviter.progress()
    await invitee.offer(box)
    await invitee.accept(box)
    longer = replace(ada.log.charter, retention=replace(ada.log.charter.retention, messages=14 * DAY))
    await house.agree(ada, Amend(longer.encode()))
    for person in (ada, ben):
        await person.sync()
        assert person.log.charter == longer
    assert await ends(ada) == [("failed", "refused")]  # no approval outlives its charter
    await house.put_on_the_table(ada, dan)
    assert await invitee.join(box) is None


async def test_names_are_shown_only_after_acceptance_when_the_charter_says_so(house: House) -> None:
    ada, ben, text = await invited(house)
    inviter, invitee = ada.device.inviter(ada.channel), ben.device.invitee()
    assert ada.log.charter.admission.names == AFTER
    box = await invitee.answer(text)
    await inviter.progress()
    shown = await invitee.offer(box)
    assert shown is not None
    assert shown.hash == ada.log.charter.hash
    assert (shown.body, shown.inviter) == ("side-1", "ada")
    assert shown.charter == shown_before_acceptance(ada.log.charter)
    assert ada.device.card.fingerprint not in {
        c.fingerprint for p in shown.charter.parties.values() for c in p.cards
    }
    await invitee.accept(box)
    await inviter.progress()
    await invitee.join(box)
    assert ben.log.charter == ada.log.charter


async def test_card_that_has_a_seat_or_is_ones_own_is_not_invited(house: House) -> None:
    ada, ben = await house.room("ada", "ben")
    with pytest.raises(UserError, match="already has a seat"):
        await ada.device.inviter(ada.channel).invite(ben.device.card)
    with pytest.raises(UserError, match="own card"):
        await ada.device.inviter(ada.channel).invite(ada.device.card)
    assert keys_left(ada) == []


async def test_two_invitations_to_one_card_seat_it_once(house: House) -> None:
    ada, ben, first = await invited(house)
    inviter, invitee = ada.device.inviter(ada.channel), ben.device.invitee()
    box = await invitee.answer(first)
    await inviter.progress()
    second = await inviter.invite(ben.device.card)
    other = await invitee.answer(second)
    await inviter.progress()
    for one in (box, other):
        await invitee.offer(one)
        await invitee.accept(one)
    assert sorted(step.step for step in await inviter.progress()) == ["failed", "seated"]
    assert keys_left(ada) == []
    assert len(ada.log.members) == 2


@pytest.mark.parametrize("name", ["ben\u202e", "b\x1b[2Jen", "e\u0301ve", "", " ben", "x" * 65, "a\nb"])
async def test_card_whose_name_the_others_would_refuse_is_not_invited(name: str, house: House) -> None:
    ada, ben = await house.opened("ada", "ben")
    with pytest.raises(ValueError, match=r"name|character"):
        try:
            await ada.device.inviter(ada.channel).invite(Card(name, ben.device.card.public))
        except UserError as error:
            raise ValueError(str(error)) from None
    assert keys_left(ada) == []


async def test_invitation_whose_box_was_never_made_blocks_no_other(house: House) -> None:
    ada, ben, cleo = await house.opened("ada", "ben", "cleo")
    inviter = ada.device.inviter(ada.channel)
    breaks("POST", "/boxes", reached=False)(ada.line)
    with pytest.raises(Unreachable):
        await inviter.invite(ben.device.card)
    box = await cleo.device.invitee().answer(await inviter.invite(cleo.device.card))
    told = {step.name: step.step for step in await inviter.progress()}
    assert told == {"ben": "failed", "cleo": "answered"}
    assert await cleo.device.invitee().offer(box) is not None


async def test_invitation_that_names_the_address_of_another_is_refused(house: House) -> None:
    ada, ben, _ = await invited(house)
    cleo = await house.person("cleo")
    # Cleo's channel, at the same service; she invites Ada to the box in which Ada waits for Ben.
    (box, _, state), *_ = ada.device.inviter(ada.channel).pending()
    address = steps.Address(url=state.url, box=box, token=state.token).encode()
    offer = invitations.Offer(address, os.urandom(32), state.public)
    with pytest.raises(UserError, match="spoiled"):
        await ada.device.invitee().answer(invitations.encode_invitation(offer.seal_to(ada.device.card)))
    assert len(keys_left(ada)) == 1
    assert cleo.device.channels() == ben.device.channels() == []


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1", "ftp://example.org", "http://[::1", "https://x:99999", "https://a@b", "file:///x"]
)
async def test_invitation_to_an_unprotected_or_odd_address_is_refused(url: str, house: House) -> None:
    ben = await house.person("ben")
    address = steps.Address(url=url, box=os.urandom(16), token=os.urandom(32)).encode()
    key = invitations.EphemeralKey.generate()
    text = invitations.encode_invitation(
        invitations.Offer(address, os.urandom(32), key.public).seal_to(ben.device.card)
    )
    with pytest.raises(UserError, match="https"):
        await ben.device.invitee().answer(text)
    assert keys_left(ben) == []


async def test_invitation_that_nobody_answered_is_erased_with_its_keys(house: House) -> None:
    ada, _, _ = await invited(house)
    assert len(keys_left(ada)) == 1
    ada.clock.offset = invitations.INVITATION_LIFE + 1
    ada.device.purge()
    assert keys_left(ada) == []


def test_invitations_are_text_that_any_mail_carries() -> None:
    text = invitations.encode_invitation(os.urandom(100))
    assert text.isascii()
    assert base64.urlsafe_b64decode(text.partition(":")[2] + "==")
