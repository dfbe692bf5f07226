"""Whoever accepts, declines or says nothing: traffic, notices, status, export and vault are the same."""

from pathlib import Path

import pytest

from pourparler_clients.cli import soundlines
from pourparler_clients.cli.table import do_words
from pourparler_clients.errors import UserError
from pourparler_clients.examine import found, vault_pages
from pourparler_clients.signing_testing import Hours
from pourparler_clients.sounding_testing import PACKAGES, Recorder, common_room, stage_of
from pourparler_clients.soundings import NOT_ALL
from pourparler_clients.testing import PASSPHRASE, House, Person
from pourparler_crypto.sounding import Answer, Begun
from pourparler_crypto.sounding.tally import pieces
from pourparler_policies.sounding.device import Stage


def status(person: Person) -> object:
    shown = person.channel.soundings.status()
    assert shown is not None
    return soundlines.shown(shown, "Side", person.channel.soundings.left())


def row(person: Person) -> list[int]:
    kept = person.device.vault.row("SELECT own, secret, tally, result, value FROM sounding")
    return [len(one) if isinstance(one, bytes) else one for one in kept]  # type: ignore[union-attr]


async def test_who_accepts_declines_or_says_nothing_does_and_shows_the_same(
    house: House, hours: Hours, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    room = await common_room(house, hours, "ada", "ben", "cyd", present=["mia"])
    ada, ben, cyd, mia = room.people
    recorders = {person.name: Recorder(person.line) for person in room.people}
    await room.ask(*PACKAGES, by=mia)
    before = [status(person) for person in (ada, ben, cyd)]
    assert before[0] == before[1] == before[2]
    asked = {name: len(one.requests) for name, one in recorders.items()}
    begun = [opening_secrets(person) for person in (ada, ben, cyd)]
    room.answer("ada", True, True, True)
    room.answer("ben", False, False, False)
    # Answering sends nothing, and shows nowhere: cyd has said nothing.
    assert asked == {name: len(one.requests) for name, one in recorders.items()}
    assert [status(person) for person in (ada, ben, cyd)] == before
    rows = [row(person) for person in (ada, ben, cyd)]
    assert rows[0] == rows[1] == rows[2]
    for person in (ada, ben, cyd):
        await do_words("sound status", person.channel, as_json=True)
    exports = capsys.readouterr().out.splitlines()
    assert exports[0] == exports[1] == exports[2]
    held = [Answer.decode(person.log.soundings.kept.secret) for person in (ada, ben, cyd)]
    await room.handed_in()
    assert await room.closed() == {NOT_ALL}
    after = [status(person) for person in (ada, ben, cyd)]
    assert after[0] == after[1] == after[2]
    traffic = [recorders[person.name] for person in (ada, ben, cyd)]
    handing = [[one for one in each.at_the_tally() if one[0] == "POST"] for each in traffic]
    assert handing[0] == handing[1] == handing[2]
    assert {one[1] for one in handing[0]} == {"/v1/tallies", "/v1/tallies/…/slot"}
    assert not any(token for each in traffic for *_, token in each.at_the_tally())
    assert traffic[0].appended() == traffic[1].appended() == traffic[2].appended()
    notices = [
        [(one.kind, one.text) for one in room.told[person.name] if one.kind in soundlines.KINDS]
        for person in (ada, ben, cyd)
    ]
    assert notices[0] == notices[1] == notices[2]
    assert notices[0] == [("sounded", ""), ("sounding", "ready"), ("counted", "")]
    assert not [one for one in recorders["mia"].at_the_tally() if one[0] == "POST"]
    # And nothing of it is in any page of a vault any more, with its passphrase.
    for number, (person, answer, secrets) in enumerate(zip((ada, ben, cyd), held, begun, strict=True)):
        needles = {answer.token, *pieces(answer.ready), *pieces(answer.yes), *secrets}
        await person.close()
        assert found(needles, vault_pages(person.copy(tmp_path / f"copy-{number}"), PASSPHRASE)) == set()


def opening_secrets(person: Person) -> set[bytes]:
    """What the registration erased: there is nothing of it to be had."""
    assert stage_of(person) is Stage.READY
    with pytest.raises(Exception):  # noqa: B017 -- whatever it says, these are no such secrets
        Begun.decode(person.log.soundings.kept.secret)
    return set()


async def test_before_answering_the_screen_says_what_it_commits_to_and_what_others_learn(
    house: House, hours: Hours, capsys: pytest.CaptureFixture[str]
) -> None:
    room = await common_room(house, hours, "ada", "ben")
    await room.ask(PACKAGES[0])
    capsys.readouterr()
    with pytest.raises(UserError, match="--yes"):  # what is typed next in a talk would be said to everybody
        await do_words("sound answer --all", room.person("ada").channel, as_json=False)
    capsys.readouterr()
    await do_words("sound answer --all --yes", room.person("ada").channel, as_json=False)
    shown = capsys.readouterr().out
    assert shown.index("Whoever accepts learns the other's answer") < shown.index("Noted on this device")
    assert "count on your word" in shown
    assert "all the others together" not in shown
    assert "in this room" not in shown
    await do_words("sound status", room.person("ada").channel, as_json=False)
    first = capsys.readouterr().out
    await do_words("sound status", room.person("ben").channel, as_json=False)
    assert capsys.readouterr().out == first
    await do_words("sound answer --none --yes", room.person("ada").channel, as_json=False)
    await do_words("sound answer 1 --yes", room.person("ben").channel, as_json=False)
    assert await room.counted() == {NOT_ALL}
    with pytest.raises(Exception, match="nothing to answer"):
        await do_words("sound answer 1 --yes", room.person("ben").channel, as_json=False)


async def test_only_the_first_device_of_a_side_answers_and_a_second_delegates_silence_spoils_nothing(
    house: House, hours: Hours
) -> None:
    room = await common_room(house, hours, "ada", "ben")
    ada, ben = room.people
    eve = await house.person("eve")
    eve.clock.offset = hours.offset
    await house.seat(ada, eve)
    room.channels[0].append(eve)
    await ada.channel.soundings.ask(PACKAGES, answer_within=3600, collect_within=600)
    await room.through(lambda: [stage_of(p) for p in (ada, ben, eve)].count(Stage.READY) == 2, ada, ben, eve)
    assert stage_of(eve) is Stage.WATCHING
    room.answer("ada", True, False, False)
    room.answer("ben", True, True, True)
    await room.handed_in(ada, ben)
    assert await room.closed() == {0}
