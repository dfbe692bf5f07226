"""Before there is a channel: institution and rules first, names only when everybody has said yes."""

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pourparler_clients import inquiries
from pourparler_clients.api import Api
from pourparler_clients.cli.inquire import _shown
from pourparler_clients.device import Device
from pourparler_clients.errors import Unreachable, UserError
from pourparler_clients.examine import found, vault_pages
from pourparler_clients.inquiries import ALL, MISSED, NOT_ALL, UNKNOWN, Held
from pourparler_clients.testing import CHEAP, PASSPHRASE, Commands, charter_of
from pourparler_clients.vault import Vault
from pourparler_crypto.card import CardKey
from pourparler_crypto.errors import NotAuthentic
from pourparler_crypto.sounding import Answer, BadDeal, Counted, dealt, inquiry
from pourparler_crypto.sounding.tally import xor
from pourparler_policies.charter import Charter
from pourparler_policies.charter.document import Card as Named
from pourparler_policies.charter.document import Intermediary
from pourparler_policies.charter.rules import Role
from pourparler_service.desktesting import START, Clock
from pourparler_service.settings import Settings
from pourparler_service.testing import threaded

WITHIN = {"answer_within": 1000, "collect_within": 200}
SECRET_NAMES = (b"Ada Cedar", b"Ben Heron", b"The hill people", b"The coast people")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path, clock: Clock) -> Iterator[str]:
    with threaded(Settings(tmp_path / "service", clock=clock)) as found:
        yield found


@pytest.fixture
def people(tmp_path: Path) -> Iterator[list[Device]]:
    made = [Device.create(tmp_path / name, PASSPHRASE, name, CHEAP) for name in ("Ada Cedar", "Ben Heron")]
    yield made
    for device in made:
        device.vault.close()


def charter(people: list[Device]) -> Charter:
    made = charter_of([person.card for person in people])
    parties = dict(zip(("hills", "coast"), made.parties.values(), strict=True))
    parties["hills"] = replace(parties["hills"], name="The hill people")
    parties["coast"] = replace(parties["coast"], name="The coast people")
    lantern = (Named(bytes(32), "Mia Lantern", Role.INTERMEDIARY),)
    body = Intermediary("Lantern", "go-between", "Lantern House", "Its members", "none", True, lantern)
    return replace(made, parties=parties, intermediaries={"lantern": body})


def inquired(people: list[Device], url: str, clock: Clock) -> list[Held]:
    _, texts = inquiries.make([p.card for p in people], charter(people), url, int(clock.now), **WITHIN)
    return [
        inquiries.receive(person.vault, person.card_key, text, int(clock.now))
        for person, text in zip(people, texts, strict=True)
    ]


def shown(held: Held) -> str:
    return repr(_shown(held))


async def visit(person: Device, clock: Clock) -> Held:
    (held,) = await inquiries.visit(person.vault, Api, int(clock.now))
    return held


@pytest.mark.parametrize(
    ("words", "result"),
    [((True, True), ALL), ((True, False), NOT_ALL), ((True, None), NOT_ALL), ((None, None), NOT_ALL)],
)
async def test_names_open_only_when_everybody_has_said_yes(
    people: list[Device], url: str, clock: Clock, tmp_path: Path, words: tuple[bool | None, ...], result: int
) -> None:
    before = inquired(people, url, clock)
    for person, held, word in zip(people, before, words, strict=True):
        assert "Lantern House" in shown(held)
        assert held.charter.purpose in shown(held)
        assert not [name for name in SECRET_NAMES if name.decode() in shown(held)]
        if word is not None:
            inquiries.answer(person.vault, held.handle, int(clock.now), yes=word)
    assert {shown(one) for one in before} == {shown(await visit(p, clock)) for p in people}
    for number, person in enumerate(people):
        pages = vault_pages_of(person, tmp_path / f"before-{number}")
        own = person.card.name.encode()
        assert found({name for name in SECRET_NAMES if name != own}, pages) == set()
    clock.now = START + 1101
    assert {(await visit(person, clock)).result for person in people} == {UNKNOWN}
    clock.now = START + 1200
    after = [await visit(person, clock) for person in people]
    assert {one.result for one in after} == {result}
    for one in after:
        opened = [name for name in SECRET_NAMES if name.decode() in repr(one.charter)]
        assert len(opened) == (4 if result == ALL else 0)
        assert one.secret == b""


def vault_pages_of(person: Device, place: Path) -> object:
    shutil.copytree(person.vault.directory, place)
    return vault_pages(place, PASSPHRASE)


async def test_whatever_is_said_the_vault_and_the_screen_look_alike_and_it_can_be_taken_back_only(
    people: list[Device], url: str, clock: Clock
) -> None:
    held = inquired(people, url, clock)
    sizes = {len(one.secret) for one in held}
    inquiries.answer(people[0].vault, held[0].handle, START, yes=True)
    inquiries.answer(people[1].vault, held[1].handle, START, yes=False)
    now = [inquiries.all(person.vault)[0] for person in people]
    assert {len(one.secret) for one in now} == sizes
    assert shown(now[0]) == shown(now[1])
    with pytest.raises(UserError, match="take it back"):
        inquiries.answer(people[1].vault, held[1].handle, START, yes=True)
    inquiries.answer(people[0].vault, held[0].handle, START, yes=False)
    kept = Answer.decode(inquiries.all(people[0].vault)[0].secret)
    assert kept.given
    with pytest.raises(UserError, match="over"):
        inquiries.answer(people[0].vault, held[0].handle, START + 1000, yes=False)


async def test_who_does_not_come_by_counts_as_a_no_and_a_silent_service_changes_nothing(
    people: list[Device], url: str, clock: Clock
) -> None:
    held = inquired(people, url, clock)
    for person, one in zip(people, held, strict=True):
        inquiries.answer(person.vault, one.handle, START, yes=True)
    clock.now = START + 1101

    def dead(_url: str, bearer: bytes | None) -> Api:
        return Api(
            "http://127.0.0.1:9",
            bearer,
            httpx.MockTransport(lambda _: (_ for _ in ()).throw(httpx.ConnectError("no"))),
        )

    with pytest.raises(Unreachable):
        await inquiries.visit(people[0].vault, dead, int(clock.now))
    await visit(people[0], clock)
    clock.now = START + 1200
    assert (await visit(people[0], clock)).result == NOT_ALL
    assert (await visit(people[1], clock)).result == MISSED
    people[0]._real_clock = lambda: START + 1200 + 3 * 86_400
    people[0].purge()
    assert inquiries.all(people[0].vault) == []


def test_an_inquiry_for_another_card_a_damaged_one_or_one_that_is_over_is_refused(
    people: list[Device], clock: Clock
) -> None:
    digits, texts = inquiries.make(
        [p.card for p in people], charter(people), "https://example.org", START, **WITHIN
    )
    ada, ben = people
    assert inquiries.receive(ada.vault, ada.card_key, texts[0], START).digits == digits
    inquiries.receive(ada.vault, ada.card_key, "\n".join([texts[0][:100], texts[0][100:]]), START)
    assert len(inquiries.all(ada.vault)) == 1
    for text in (
        texts[0],
        texts[1][:-9],
        texts[1][:500] + "A" + texts[1][501:],
        "hello",
        "pourparler-inquiry:é",
        "",
    ):
        with pytest.raises(UserError):
            inquiries.receive(ben.vault, ben.card_key, text, START)
    with pytest.raises(UserError, match="over"):
        inquiries.receive(ben.vault, ben.card_key, texts[1], START + 1200)
    with pytest.raises(UserError):
        inquiries.make([ada.card], charter(people), "https://example.org", START, **WITHIN)
    with pytest.raises(UserError):
        inquiries.make([p.card for p in people], charter(people), "http://example.org", START, **WITHIN)


def test_sides_stand_in_a_random_order_and_sizes_do_not_depend_on_names(people: list[Device]) -> None:
    orders, sizes = set(), set()
    for number in range(24):
        made = charter(people)
        if number % 2:
            made = replace(made, parties={**made.parties, "hills": replace(made.parties["hills"], name="H")})
        marked = replace(
            made, parties={**made.parties, "hills": replace(made.parties["hills"], confirmation="home")}
        )
        _, texts = inquiries.make([p.card for p in people], marked, "https://example.org", START, **WITHIN)
        sizes |= {len(text) for text in texts}
        held = inquiry.Inquiry.open_with(people[0].card_key, raw(texts[0]))
        orders.add(held.rules.index(b'"confirmation":"home"') < held.rules.index(b'"confirmation":"none"'))
    assert orders == {True, False}  # a chance of 2**-23 that it is not
    assert len(sizes) == 1


def raw(text: str) -> bytes:
    import base64

    body = text.removeprefix("pourparler-inquiry:")
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def test_a_dealer_who_seals_no_names_or_asks_about_something_else_is_caught() -> None:
    key = CardKey.generate()
    cards = [key.card("Ada"), CardKey.generate().card("Ben")]
    tally, sealed = inquiry.inquire(cards, b"rules", b"names", b"https://example.org", 1000, 2000)
    good = inquiry.Inquiry.open_with(key, sealed[0])
    for changes in (
        {"rules": b"other"},
        {"address": b"https://example.net"},
        {"sealed_names": good.sealed_names[::-1]},
    ):
        with pytest.raises(BadDeal):
            inquiry.Inquiry.open_with(key, replace(good, **changes).seal_to(cards[0]))  # type: ignore[arg-type]
    with pytest.raises(NotAuthentic):
        inquiry.Inquiry.open_with(key, sealed[1])
    _, shares = dealt.deal(2, 1, 1000, 2000, bytes(32))
    false = inquiry.Inquiry(dealt.tally_of(shares, 1000, 2000, bytes(32)), shares[0], b"", b"", os.urandom(99))
    with pytest.raises(BadDeal):
        false.names(Counted(0, xor(shares[0].values, shares[1].values)))
    assert good.names(Counted(0, os.urandom(32))) is None
    assert tally.handle == good.tally.handle


def typed(vault: Path, file: Path, answer: str) -> tuple[int, str]:
    """Answers an inquiry at a terminal. The command's status, and what stood on the screen."""
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode() + b"\n")
    os.close(writing)
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "pourparler_clients.cli", "sound", "inquiry", file),
            *("--vault", vault, "--passphrase-fd", str(reading)),
        ],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        pass_fds=(reading,),
    )
    os.close(theirs)
    os.close(reading)
    screen = b""
    while b"Would you meet, on these terms? Type" not in screen:
        screen += os.read(ours, 4096)
    os.write(ours, answer.encode() + b"\n")
    with suppress(OSError):  # the terminal ends with the command
        while piece := os.read(ours, 4096):
            screen += piece
    os.close(ours)
    return command.wait(60), screen.decode()


def test_who_types_yes_in_another_way_is_understood_or_told_and_never_counted_as_a_no_in_silence(
    people: list[Device], tmp_path: Path
) -> None:
    ada, now = people[0], int(time.time())
    _, texts = inquiries.make(
        [p.card for p in people],
        charter(people),
        "https://example.org",
        now,
        answer_within=9999,
        collect_within=9999,
    )
    file = tmp_path / "inquiry"
    file.write_text(texts[0])
    place = Path(shutil.copytree(ada.vault.directory, tmp_path / "copy"))
    status, screen = typed(place, file, "Yes, gladly")
    assert (status, "nothing was answered" in screen) == (2, True), screen
    status, screen = typed(place, file, "Yes")
    assert status == 0, screen
    vault = Vault.open(place, PASSPHRASE)
    (held,) = inquiries.all(vault)
    vault.close()
    made = inquiries.receive(people[1].vault, people[1].card_key, texts[1], now)
    inquiries.answer(people[1].vault, made.handle, now, yes=True)
    (other,) = inquiries.all(people[1].vault)
    ready = [Answer.decode(one.secret).ready for one in (held, other)]
    assert held.tally.common(Counted(0, xor(*ready))) == 0


def test_by_hand_an_inquiry_is_made_read_answered_and_looked_after(people: list[Device], tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "two-wells.toml"
    charter_file = tmp_path / "charter.toml"
    cards = []
    commands = Commands(tmp_path)
    try:
        for person in people:
            card = tmp_path / f"{len(cards)}.card"
            card.write_text(person.card.encode())
            cards.append(card)
        cards.append(tmp_path / "lantern.card")
        cards[-1].write_text(CardKey.generate().card("Lantern").encode())
        charter_file.write_text(example.read_text())
        added = commands(
            "charter", "add", charter_file, "--card", f"north:delegate={cards[0]}", "--card",
            f"south:delegate={cards[1]}", "--card", f"bridge:intermediary={cards.pop()}",
        )  # fmt: skip
        assert added.status == 0, added.errors
        made = commands(
            "sound", "inquire", *cards, "--service", "http://127.0.0.1:9", "--charter", charter_file,
            "--out", tmp_path / "out", "--json", "--vault", people[0].vault.directory,
        )  # fmt: skip
        assert made.status == 0, made.errors
        kept = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
        again = commands(
            "sound", "inquire", *cards, "--service", "http://127.0.0.1:9", "--charter", charter_file,
            "--out", tmp_path / "out", "--vault", people[0].vault.directory,
        )  # fmt: skip
        assert (again.status, "choose another folder" in again.errors) == (2, True)  # another side's, perhaps
        assert kept == {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}
        for person, name in zip(people, ("1", "2"), strict=True):
            place = Path(shutil.copytree(person.vault.directory, tmp_path / f"copy-{name}"))
            read = commands(
                "sound", "inquiry", tmp_path / "out" / f"{name}.inquiry", "--say", "yes", "--vault",
                place, passphrase=PASSPHRASE,
            )  # fmt: skip
            assert read.status == 0, read.errors
            assert made.out.split('"digits": "')[1][:29] in read.out
            assert "Side 1" in read.out
            assert "Ben Heron" not in read.out
            after = commands("sound", "inquiries", "--vault", place, passphrase=PASSPHRASE)
            assert after.status == 0, after.errors
            assert "would you meet" in after.out
    finally:
        commands.close()
