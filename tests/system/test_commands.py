"""The command line against a real service: real processes, real vaults, and nothing lost when one is killed.

One file, although long: every command is tried on one desk.
"""

import argparse
import asyncio
import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pourparler_clients.cli import build_parser
from pourparler_clients.demo.processes import Process
from pourparler_clients.device import Device
from pourparler_clients.outbox import Kind
from pourparler_clients.store import ChannelStore
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, Done, House, Running, pourparler
from pourparler_clients.vault import Vault
from pourparler_crypto.card import Card
from pourparler_crypto.note import Note
from pourparler_policies.charter.questionnaire import write
from pourparler_policies.charter.testing import answers
from pourparler_policies.limits import HANDSHAKE_BURST
from pourparler_service.grants import issue
from pourparler_service.testing import ServerProcess, wire_text

SEED = int(os.environ.get("POURPARLER_SEED", "0")) or random.SystemRandom().randrange(2**32)
ROUNDS = 6
QUICK = ("--newcomer-handshakes", str(HANDSHAKE_BURST))  # whoever was just seated attests at once


class Desk:
    """Vaults and commands of some people at one service."""

    def __init__(self, commands: Commands, server: ServerProcess, root: Path) -> None:
        self.commands, self.server, self.root = commands, server, root
        self._vaults: dict[str, Path] = {}

    def vault(self, name: str) -> Path:
        return self._vaults.get(name, self.root / f"vault-{name}")

    def make(self, *names: str) -> None:
        for name in names:
            Device.create(self.vault(name), PASSPHRASE, name, CHEAP).vault.close()

    def room(self, *names: str) -> None:
        """People who are in one channel already, each a party, in vaults that nobody has open."""

        async def meet() -> None:
            house = House(self.server.url, lambda: issue(self.server.data)[0], self.root)
            for person in await house.room(*names):
                self._vaults[person.name] = person.directory
            await house.close()

        asyncio.run(meet())

    def run(self, name: str, *arguments: str | Path, text: bytes = b"") -> Done:
        return self.commands(*arguments, "--vault", self.vault(name), passphrase=PASSPHRASE, text=text)

    def ok(self, name: str, *arguments: str | Path, text: bytes = b"") -> Done:
        done = self.run(name, *arguments, text=text)
        assert done.status == 0, done
        assert "Traceback" not in done.errors
        return done

    def card(self, name: str) -> Path:
        """A file with the card of a vault."""
        card = self.root / f"{name}.card"
        self.ok(name, "card", "show", "--out", card, "--json")
        return card

    def open(self, name: str, *others: str) -> None:
        """A channel whose charter, in a file, names these people's cards, each as a party."""
        cards = [Card.decode(self.card(person).read_text()) for person in (name, *others)]
        parties = {
            f"side-{number}": {
                "name": f"Side {number}",
                "capacity": "personal",
                "decides": "any delegate",
                "cards": [{"name": card.name, "role": "delegate", "fingerprint": card.fingerprint.hex()}],
            }
            for number, card in enumerate(cards)
        }
        charter = self.root / "charter.toml"
        charter.write_text(write(answers(title="Two wells") | {"parties": parties, "intermediaries": {}}))
        grant = wire_text(issue(self.server.data)[0]).encode()
        self.ok(name, "open", "--service", self.server.url, "--charter", charter, "--json", text=grant)

    def bring_in(self, inviter: str, name: str) -> None:
        """Who has the consent of everybody is invited, and joins."""
        invitation = self.root / f"{name}.invitation"
        waiting = self.commands.start(
            *("invite", self.card(name), "--vault", self.vault(inviter), "--out", invitation),
            *("--wait", "1m", "--json"),
            passphrase=PASSPHRASE,
        )
        waiting.event(name=name)
        self.ok(name, "join", invitation, "--accept", "--json")
        waiting.event(step="seated")
        waiting.end()

    def attest(self, *names: str) -> None:
        """Everybody looks in, again and again, until all have attested each other."""
        for _ in range(10):
            looks = [self.ok(name, "who", "--json").records[-1]["members"] for name in names]
            if all(m["phase"] == "present" and (m["you"] or m["attested_by_you"]) for look in looks for m in look):
                return
        raise AssertionError("they have not attested each other")

    def codes(self, name: str) -> list[str]:
        """Of what is on the table."""
        return [one["code"] for one in self.ok(name, "table", "--json").records if one["event"] == "subject"]

    def talk(self, name: str) -> Running:
        process = self.commands.start("talk", "--vault", self.vault(name), "--json", passphrase=PASSPHRASE)
        process.event(event="ready")
        return process

    def read(self, name: str) -> list[str]:
        return [record["text"] for record in self.ok(name, "read", "--json").records if record["event"] == "said"]

    def said(self, name: str) -> list[dict[str, Any]]:
        return [record for record in self.ok(name, "read", "--json").records if record["event"] == "said"]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture
def desk(commands: Commands, server: ServerProcess, tmp_path: Path) -> Desk:
    return Desk(commands, server, tmp_path)


@pytest.mark.slow
def test_every_command_answers_people_and_programs(desk: Desk) -> None:
    new = pourparler("card", "new", "--name", "eve", "--vault", desk.vault("eve"), "--json", passphrase=PASSPHRASE)
    assert new.records[0]["card"].startswith("pourparler-card:")
    desk.make("ada", "ben")
    desk.open("ada", "ben")
    early = desk.run("ada", "say", text=b"Guten Morgen.\n")
    assert (early.status, "waits in the vault" in early.out) == (1, True)
    desk.bring_in("ada", "ben")
    desk.attest("ada", "ben")  # by looking in alone; what waited is said by itself
    assert desk.ok("ben", "say", "--json", "--life", "30m", text=b"Bonjour").records[-1] == {
        "said": True,
        "title": "Two wells",
    }
    said = desk.said("ada")
    assert [(one["name"], one["own"], one["text"]) for one in said] == [
        ("ada", True, "Guten Morgen."),
        ("ben", False, "Bonjour"),
    ]
    assert said[1]["expires_at"] - said[1]["received_at"] == 1800
    people = desk.ok("ben", "read").out
    assert "ada: Guten Morgen." in people
    assert "you: Bonjour" in people
    (who,), (also,) = desk.ok("ada", "who", "--json").records, desk.ok("ben", "who", "--json").records
    assert (who["channel_digits"], who["charter_digits"]) == (also["channel_digits"], also["charter_digits"])
    assert sorted(m["name"] for m in who["members"]) == ["ada", "ben"]
    shown = desk.ok("ada", "who").out
    assert "Side 1, delegate: ben (attested by you): attested" in shown
    assert "Side 0, delegate: ada (this device): attested" in shown
    assert desk.ok("ben", "channels", "--json").records[0]["members"] == ["ada", "ben"]
    card = json.loads(desk.ok("ben", "card", "show", "--json").out)
    check = desk.commands("card", "check", "-", "--json", text=card["card"].encode())
    (digits,) = (m["check_digits"] for m in who["members"] if m["name"] == "ben")
    assert check.records[0]["check_digits"] == card["check_digits"] == digits
    assert desk.run("ben", "resume", "--yes").status == 2
    assert desk.run("ben", "leave").errors.endswith("\npourparler: nothing was done\n")
    assert desk.ok("ben", "leave", "--yes", "--json").records == [{"state": "removed", "title": "Two wells"}]
    assert desk.run("ben", "say", text=b"too late").status == 2
    assert desk.ok("ada", "say", text=b"alone now").out.splitlines()[-1] == "Said in “Two wells”."
    assert [m["name"] for m in desk.ok("ada", "who", "--json").records[0]["members"]] == ["ada"]
    assert desk.ok("ada", "close", "--yes", "--json").records == [{"state": "closed", "title": "Two wells"}]
    assert desk.ok("ada", "channels", "--json").records == []


@pytest.mark.slow
def test_every_command_of_consent_answers_people_and_programs(desk: Desk) -> None:
    def events(done: Done) -> list[str]:
        return [one["event"] for one in done.records]

    desk.room("ada", "ben")
    desk.make("cleo")
    assert desk.ok("ada", "table").out == "There is nothing on the table.\n"
    desk.ok("ada", "propose", "admit", desk.card("cleo"), "--side", "side-0", "--json")
    (code,) = desk.codes("ben")
    assert "approved by: ada" in desk.ok("ben", "table").out
    for words, told in (
        (("object", code), "objected"),
        (("yield", code), "yielded"),
        (("approve", code, "--confirm-at-home"), "approved"),
        (("withdraw", code), "withdrawn"),
    ):
        assert told in events(desk.ok("ben", *words, "--json"))
    refused = desk.run("ada", "approve", "00000" if code != "00000" else "11111")
    assert (refused.status, "nothing on the table has this code" in refused.errors) == (2, True)
    desk.ok("ben", "approve", code)
    desk.bring_in("ada", "cleo")
    desk.attest("ada", "ben", "cleo")
    desk.ok("cleo", "say", text=b"Here I am.")
    # Her own side puts her on hold and takes her off it, without anybody else's approval.
    desk.ok("ada", "hold", "cleo")
    desk.ok("ada", "say", text=b"Without her.")
    members = desk.ok("ben", "who", "--json").records[-1]["members"]
    assert sorted((m["name"], m["phase"]) for m in members) == [
        ("", "held"),
        ("ada", "present"),
        ("ben", "present"),
    ]
    digits = next(m["check_digits"] for m in members if not m["name"])
    desk.ok("ada", "propose", "lift", digits[:5])
    assert "away" in {m["phase"] for m in desk.ok("ben", "who", "--json").records[-1]["members"]}
    assert desk.read("ben") == ["Here I am.", "Without her."]


@pytest.mark.slow
def test_what_all_have_to_agree_to_is_done_when_they_have_and_not_before(desk: Desk) -> None:
    desk.room("ada", "ben")
    desk.ok("ada", "say", text=b"Here I am.")
    assert desk.read("ben") == ["Here I am."]
    desk.ok("ada", "propose", "erase")
    (code,) = desk.codes("ben")
    desk.ok("ben", "approve", code)
    assert desk.read("ada") == desk.read("ben") == []
    desk.ok("ben", "propose", "recess", "3d", "--without-approval")
    (code,) = desk.codes("ben")
    desk.ok("ben", "drop", code)
    assert desk.codes("ada") == []
    assert desk.ok("ada", "close", "--yes", "--json").records[-1]["state"] == "proposed"
    assert desk.ok("ben", "close", "--yes", "--json").records[-1]["state"] == "closing"
    assert desk.read("ada") == []  # she acknowledges it, and shows her keys
    assert desk.run("ben", "who").status == 1
    assert desk.run("ada", "who").status == 1
    assert desk.ok("ada", "channels", "--json").records == []


def test_bad_words_get_one_sentence_and_nothing_is_sent(desk: Desk) -> None:
    desk.room("ada", "ben")
    cases = [
        (b"\xff\xfe", "not UTF-8"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b"x" * 50_000, "50000 bytes"),
        (b"x" * 600_000, "longer than any message"),
    ]
    for text, sentence in cases:
        done = desk.run("ada", "say", text=text)
        assert done.status == 2
        assert sentence in done.errors
        assert len(done.errors.splitlines()) == 1
    assert desk.run("ada", "say", "--life", "30d", text=b"hello").status == 2
    assert desk.run("ada", "say", "--channel", "nonsense", text=b"hello").status == 2
    assert desk.run("ada", "say", "--channel", "9" * 5000, text=b"hello").status == 2
    assert desk.read("ada") == []


def test_bad_lines_to_talk_are_answered_one_by_one_and_the_talk_goes_on(desk: Desk) -> None:
    desk.room("ada", "ben")
    lines = [
        b"not an object",
        b'{"say": 7}',
        b'{"other": "x"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"say": "\\ud800"}',
        json.dumps({"say": "x" * 50_000}).encode(),
        b'{"say": "' + b"y" * 2_000_000 + b'"}',
        b"",
        json.dumps({"say": "good"}).encode(),
    ]
    done = desk.run("ada", "talk", "--json", text=b"\n".join(lines) + b"\n")
    assert done.status == 0, done
    assert "Traceback" not in done.errors
    kinds = [record["event"] for record in done.records]
    assert kinds.count("error") == 8
    assert desk.read("ada") == ["good"]


def test_what_is_said_while_the_service_is_down_is_plainly_not_said(desk: Desk, tmp_path: Path) -> None:
    with_service = ServerProcess(tmp_path / "data", *QUICK)
    try:
        desk.server = with_service
        desk.room("ada", "ben")
        with_service.stop()
        done = desk.run("ada", "say", text=b"for later")
        assert done.status == 1
        assert done.out.startswith("Not said:")
        assert "say it again when there is a connection" in done.out
        assert desk.run("ada", "who").status == 2
        again = ServerProcess(with_service.data, "--port", with_service.url.rpartition(":")[2])
        try:
            assert desk.read("ada") == []
            desk.ok("ada", "say", text=b"for later")
            assert desk.read("ada") == ["for later"]
        finally:
            again.stop()
    finally:
        if with_service.process.poll() is None:
            with_service.stop()


@pytest.mark.slow
def test_talk_shows_what_is_there_says_when_the_service_is_away_and_sends_when_it_is_back(
    desk: Desk, tmp_path: Path
) -> None:
    first = ServerProcess(tmp_path / "data", *QUICK)
    desk.server = first
    try:
        desk.room("ada", "ben")
        desk.ok("ada", "say", text=b"before")
        talk = desk.commands.start("talk", "--vault", desk.vault("ada"), "--json", passphrase=PASSPHRASE)
        talk.event(event="said", text="before")
        talk.event(event="ready")
    finally:
        first.stop()
    talk.event(event="offline")
    talk.write(json.dumps({"say": "while away"}))
    talk.event(event="waiting")
    second = ServerProcess(first.data, "--port", first.url.rpartition(":")[2])
    try:
        assert {talk.event()["event"] for _ in range(2)} == {"online", "said"}
    finally:
        second.stop()
    talk.event(event="offline")
    talk.write(json.dumps({"say": "away again"}))
    talk.event(event="waiting")
    third = ServerProcess(first.data, "--port", first.url.rpartition(":")[2])
    try:
        talk.event(event="said", text="away again")
        talk.end()
        assert desk.read("ada") == ["before", "while away", "away again"]
    finally:
        third.stop()


def test_channel_that_others_have_closed_is_said_and_not_passed_over(desk: Desk) -> None:
    desk.room("ada", "ben", "cleo")
    for name in ("ada", "ben"):
        desk.ok(name, "close", "--yes")
    desk.ok("cleo", "close", "--yes")
    for name in ("ben", "ada", "ben"):  # each acknowledges it; then they show their keys
        desk.ok(name, "who")
    assert desk.run("cleo", "say", text=b"One more thing.").status == 1
    for name, command in (("ben", "who"), ("ada", "say")):
        done = desk.run(name, command, text=b"hello")
        assert (done.status, done.errors) == (1, ""), done
        told = "“Two wells” has been closed; everything of it here is erased."
        assert done.out.splitlines()[-1] == f"{told} Nothing kept from here can prove who said it."
        assert desk.ok(name, "channels", "--json").records == []


def test_join_asks_before_it_connects_and_not_again_once_the_charter_is_accepted(desk: Desk) -> None:
    async def carry_on() -> list[str]:
        async with Device.open(desk.vault("ada"), PASSPHRASE) as device:
            (channel,) = device.channels()
            await channel.sync()
            return [step.step for step in await device.inviter(channel).progress()]

    desk.make("ada", "ben")
    desk.open("ada", "ben")
    invitation = desk.root / "invitation"
    desk.ok("ada", "invite", desk.card("ben"), "--out", invitation)
    refused = desk.run("ben", "join", invitation)
    assert refused.status == 2
    assert f"whether to connect to {desk.server.url.removeprefix('http://')}:" in refused.errors
    assert asyncio.run(carry_on()) == ["offered"]
    assert desk.run("ben", "join", invitation, "--accept", "--wait", "1s").status == 1
    assert asyncio.run(carry_on()) == ["answered"]
    unasked = desk.run("ben", "join", invitation, "--wait", "1s")
    assert unasked.status == 2
    assert "accept the charter" in unasked.errors
    assert desk.run("ben", "join", invitation, "--accept", "--wait", "1s").status == 1
    assert asyncio.run(carry_on()) == ["seated"]
    assert desk.ok("ben", "join", invitation, "--json").records[-1]["title"] == "Two wells"


def test_people_of_one_name_are_told_apart_by_digits(desk: Desk) -> None:
    desk.make("ada")
    Device.create(desk.vault("ben"), PASSPHRASE, "Ada", CHEAP).vault.close()
    desk.open("ada", "ben")
    invitation = desk.root / "ben.invitation"
    waiting = desk.commands.start(
        *("invite", desk.card("ben"), "--vault", desk.vault("ada"), "--out", invitation, "--wait", "1m", "--json"),
        passphrase=PASSPHRASE,
    )
    waiting.event(name="Ada")
    desk.ok("ben", "join", invitation, "--accept")
    waiting.event(step="seated")
    waiting.end()
    desk.attest("ada", "ben")
    desk.ok("ada", "say", text=b"hello")
    digits = {m["name"]: m["check_digits"] for m in desk.ok("ada", "who", "--json").records[-1]["members"]}
    assert f"ada ({digits['ada'][:5]}): hello" in desk.ok("ben", "read").out
    (said,) = desk.said("ben")
    assert (said["name"], said["check_digits"]) == ("ada", digits["ada"])
    who = desk.ok("ben", "who").out
    assert all(f"{name} ({card_digits[:5]})" in who for name, card_digits in digits.items())


def test_controls_and_direction_marks_are_shown_harmlessly(desk: Desk) -> None:
    desk.room("ada", "ben")
    evil = "start \x1b[2J\x07\x9b31m \u202eesrever\u2066 \r\x00 end\nsecond line"
    desk.ok("ada", "say", text=evil.encode())
    shown = desk.ok("ada", "read").out
    assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066\r\x00")
    assert "\\u202e" in shown
    assert "end\n    second line" in shown
    (record,) = desk.said("ada")
    assert record["text"] == evil
    raw = desk.ok("ada", "read", "--json").out
    assert "\x1b" not in raw


def test_no_option_takes_a_secret_and_no_process_shows_one(desk: Desk) -> None:
    def options(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            yield action.dest
            if isinstance(action, argparse._SubParsersAction):
                for sub in action.choices.values():
                    yield from options(sub)

    secret = {
        name for name in options(build_parser()) if any(w in name for w in ("pass", "grant", "token", "key"))
    }
    public = {"key", "keys", "press_keys"}  # files of press keys
    vaults = {f"{which}_passphrase_fd" for which in ("new", "backup", "also", "other", "to", "side")}
    assert secret - public == {"passphrase_fd", "grant_file", *vaults}
    desk.room("ada", "ben")
    talk = Process(["talk", "--vault", str(desk.vault("ada")), "--json"], PASSPHRASE)
    talk.event(event="ready")
    for place in ("cmdline", "environ"):
        assert PASSPHRASE.encode() not in Path(f"/proc/{talk.pid}/{place}").read_bytes()
    talk.end_of_input()


def drafts(vault: Path) -> list[str]:
    """Texts that wait in a vault which nobody has open."""

    async def look() -> list[str]:
        async with Device.open(vault, PASSPHRASE) as device:
            (channel,) = device.channels()
            await channel.open_texts()
            waiting = channel.log.store.outbox.kept(Kind.SAID).values()
            return [event["text"] for content in waiting for event in json.loads(content)]

    return asyncio.run(look())


@pytest.mark.slow
def test_killing_talk_at_any_time_loses_and_doubles_nothing(desk: Desk) -> None:
    print(f"POURPARLER_SEED={SEED}")
    chosen = random.Random(SEED)
    desk.room("ada", "ben")
    talks = {name: desk.talk(name) for name in ("ada", "ben")}
    begun: list[str] = []  # every text that was handed to a process
    saved: list[str] = []  # those that a vault had taken
    for number in range(ROUNDS):
        victim, other = chosen.sample(("ada", "ben"), 2)
        for count in range(4):
            for name in (victim, other):
                text = f"{name} {number} {count}"
                begun.append(text)
                talks[name].write(json.dumps({"say": text}))
        time.sleep(chosen.uniform(0, 0.15))
        talks[victim].kill()
        saved += drafts(desk.vault(victim))
        talks[victim] = desk.talk(victim)
    for name, talk in talks.items():
        talk.write(json.dumps({"say": f"{name} last"}))
        talk.event(event="said", text=f"{name} last", own=True)
    for talk in talks.values():
        talk.end()
    texts = desk.read("ada")
    assert texts == desk.read("ben")
    assert len(texts) == len(set(texts))
    assert set(saved) <= set(texts) <= {*begun, "ada last", "ben last"}
    for name in ("ada", "ben"):
        mine = [text for text in texts if text.startswith(name)]
        order = [text for text in [*begun, f"{name} last"] if text in mine]
        assert mine == order
    assert len(texts) > ROUNDS, "nothing was said before the processes were killed: nothing was tested"
    assert drafts(desk.vault("ada")) == drafts(desk.vault("ben")) == []


def test_whoever_agrees_on_the_hour_of_a_sessions_end_is_told_what_goes_then_and_is_reminded(desk: Desk) -> None:
    desk.room("ada", "ben")
    proposed = desk.ok("ada", "propose", "adjourn", "+2h")
    assert "all that is said until then, is erased everywhere." in proposed.out
    assert "cannot be kept longer" in proposed.out
    assert "cannot be kept longer" in desk.ok("ben", "table").out
    assert "this session ends" not in desk.ok("ada", "read").out
    (code,) = desk.codes("ben")
    assert "cannot be kept longer" in desk.ok("ben", "approve", code).out
    for done in (desk.ok("ada", "say", text=b"Here I am."), desk.ok("ben", "read")):
        assert re.search(
            "— this session ends at .* UTC, in 2 hours: all that is said until then is erased", done.out
        )
    past = desk.run("ben", "propose", "adjourn", "2020-01-01T09:00Z")
    assert past.status != 0
    assert "a session ends later than now" in past.errors
    assert desk.run("ben", "propose", "adjourn", "soon").status != 0


def test_whoever_talks_is_told_shortly_before_a_sessions_end_and_when_it_has_come(desk: Desk) -> None:
    desk.room("ada", "ben")
    desk.ok("ada", "propose", "adjourn", "+25s")
    (code,) = desk.codes("ben")
    talking = desk.commands.start("talk", "--vault", desk.vault("ada"), "--json", passphrase=PASSPHRASE)
    talking.event(event="ready")
    desk.ok("ben", "approve", code)
    talking.event(event="adjourns")
    talking.event(event="adjourned")
    talking.end()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demonstration_keeps_what_it_was_asked_to_keep_and_nothing_of_what_was_said(tmp_path: Path) -> None:
    text = tmp_path / "text"
    paragraphs = ["Το πηγάδι ανήκει στο χωριό.", "The second well.\nOn two lines.", "第三口井。"]
    text.write_text("\n\n\n".join(paragraphs) + "\n", encoding="utf-8")
    kept = tmp_path / "kept"
    before = set(Path("/proc").glob("[0-9]*"))
    done = pourparler("demo", "--text", text, "--keep", kept, environment={"TMPDIR": str(tmp_path / "tmp")})
    assert done.status == 0, done
    assert "Nothing of what was said is left." in done.out
    assert {path.name for path in kept.iterdir()} >= {"server", "passphrases.txt", "vault-cedar", "vault-heron"}
    for path in kept.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(paragraph.encode() in data for paragraph in paragraphs)
    lines = (kept / "passphrases.txt").read_text().splitlines()
    passphrases = {name: passphrase for name, _, passphrase in (line.partition(": ") for line in lines)}
    for name, passphrase in passphrases.items():
        Vault.open(kept / f"vault-{name.lower()}", passphrase).close()
    assert "after: 0 files; 0 pieces" in done.out
    note = Note.parse((kept / "communique.note").read_bytes())
    note.check()
    assert "OpenSSL alone: 3 of 3 signatures verify." in done.out
    assert re.search(
        rf"Anybody reads it, while this service runs, at http://\S+/board/{note.communique.digest.hex()}\n",
        done.out,
    )
    old, new = (Card.decode((kept / f"Willow{which}.card").read_text()) for which in ("", "-again"))
    back = Device.open(kept / "vault-willow", passphrases["Willow"])
    assert back.card == new != old
    seated = {
        member.fingerprint for member in ChannelStore(back.vault, back.all_channels()[0].id).members().values()
    }
    back.vault.close()
    assert len(seated) == 4
    assert new.fingerprint in seated
    assert old.fingerprint not in seated
    left = {path for path in set(Path("/proc").glob("[0-9]*")) - before if _runs_in(path, kept)}
    assert left == set()


def _runs_in(process: Path, directory: Path) -> bool:
    try:
        return str(directory).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False
