"""`pourparler charter` as a mediator meets it: at a terminal, without one, with cards from files, with mistakes.

One file, although long: its tests share one desk with a terminal.
"""

import contextlib
import io
import os
import pty
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pourparler_clients.cli.drafting import Drafter, Stopped
from pourparler_clients.testing import Commands
from pourparler_crypto.card import Card, CardKey, check_digits
from pourparler_policies.charter import CharterErrors, explain, parse
from pourparler_policies.charter.presets import PRESETS, preset
from pourparler_policies.charter.testing import PLACEHOLDER, fill_cards, text

END = "\x04"  # Ctrl-D
KEEP = ""  # Enter

RULES = [
    *("Lake talks", "To look for ways out.", "en, ar"),  # what this is
    *("3", KEEP, KEEP),  # places
    *("7 days", KEEP, "12 weeks", "30 days", KEEP, KEEP, KEEP),  # lives
    *("chatham house", "yes"),  # attribution
    *("after acceptance", "no", KEEP),  # admission
    *("persons", "3 days", KEEP, "any party", KEEP, KEEP),  # release, soundings
    *("Each delegate", "one principal", "gist", "no"),  # reporting
    *("There is nothing to comment on.", KEEP),  # the agreed line in en, in ar
]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Card]:
    """Cards by their file."""
    place = tmp_path_factory.mktemp("cards")
    made = {}
    for name in ("Cedar", "Heron", "Otter", "Wren", "Rook"):
        card = CardKey.generate().card(name)
        file = place / f"{name.lower()}.card"
        file.write_text(card.encode() + "\n")
        made[str(file)] = card
    return made


def at_terminal(*arguments: str | Path, answers: list[str], files: int | None = None) -> tuple[int, str, str]:
    """One command at a terminal with somebody who answers; status, what it said, and its questions and errors.

    `files`: bytes that any file may have, as on a full disk.
    """
    ours, theirs = pty.openpty()
    typed = "".join(answer if answer == END else answer + "\n" for answer in answers).encode()
    assert len(typed) < 4000  # more does not fit into a terminal that nobody reads
    os.write(ours, typed)
    done = subprocess.run(
        [sys.executable, "-m", "pourparler_clients.cli", "charter", *map(str, arguments)],
        stdin=theirs,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=None if files is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (files, files)),
    )
    os.close(ours)
    os.close(theirs)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def places(cards: dict[str, Card]) -> list[str]:
    """Arguments that name one card for each of two parties and an intermediary."""
    cedar, heron, otter, *_ = cards
    return [
        *("--card", f"north:delegate={cedar}"),
        *("--card", f"south:head={heron}"),
        *("--card", f"panel:intermediary={otter}"),
    ]


def test_presets_are_listed_with_what_they_are_for(commands: Commands) -> None:
    lines = commands("charter", "new", "--list").out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, about] for name, about in PRESETS.items()]
    assert [one["preset"] for one in commands("charter", "new", "--list", "--json").records] == list(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_without_a_terminal_a_preset_is_written_as_it_is(commands: Commands, tmp_path: Path, name: str) -> None:
    file = tmp_path / "charter.toml"
    done = commands("charter", "new", "--preset", name, "--out", file)
    assert (done.status, done.errors) == (0, "")
    assert file.read_text() == preset(name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600  # it says who talks with whom
    waiting = [str(n) for n, line in enumerate(preset(name).split("\n"), 1) if PLACEHOLDER in line]
    assert f"Cards wait at lines {', '.join(waiting)}: " in done.out
    assert "institution: this is an example from a preset" in done.out
    shown = commands("charter", "new", "--preset", name, "--out", "-")
    assert shown.out == preset(name)


def test_no_file_is_overwritten_unless_one_says_so(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "charter.toml"
    file.write_text("mine")
    done = commands("charter", "new", "--preset", "shuttle", "--out", file)
    assert (done.status, done.out) == (2, "")
    assert (
        done.errors == f"pourparler: {file} exists already: choose another file with --out, or say --overwrite\n"
    )
    status, _, errors = at_terminal("new", "--out", file, answers=["Lake talks", END])
    assert status == 2
    assert "Lake talks" not in errors
    assert "called" not in errors  # said before anything is asked
    status, _, errors = at_terminal("new", "--out", tmp_path / "none" / "c.toml", answers=["Lake talks", END])
    assert (status, errors.count("\n")) == (2, 1)
    assert errors.startswith(f"pourparler: there is no directory {tmp_path / 'none'}")
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere")
    assert commands("charter", "new", "--preset", "shuttle", "--out", link).status == 2
    assert file.read_text() == "mine"
    assert commands("charter", "new", "--preset", "shuttle", "--out", file, "--overwrite").status == 0
    assert file.read_text() == preset("shuttle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["charter.toml", "link.toml"]


def test_cards_come_from_their_files(commands: Commands, tmp_path: Path, cards: dict[str, Card]) -> None:
    file = tmp_path / "charter.toml"
    cedar, heron, otter, wren, rook = cards
    given = ["--card", f"north:delegate={cedar}"]
    assert commands("charter", "new", "--preset", "workshop", *given, "--out", file).status == 0
    done = commands(
        "charter", "add", file, "--card", f"north:assistant={heron}", "--card", f"panel:intermediary={otter}"
    )
    assert done.status == 0
    for path in (heron, otter):
        assert f"Card of {cards[path].name}: {cards[path].check_digits}; compare" in done.out
    done = commands(
        "charter", "add", file, "--card", f"south:delegate={wren}", "--card", f"south:delegate={rook}", "--json"
    )
    (told,) = done.records
    assert [card["name"] for card in told["cards"]] == ["Wren", "Rook"]
    assert PLACEHOLDER in file.read_text()
    charter = parse(fill_cards(file.read_text()))
    held = {card.fingerprint: (card.name, str(card.role)) for card in charter.parties["north"].cards}
    assert held[cards[cedar].fingerprint] == ("Cedar", "delegate")
    assert held[cards[heron].fingerprint] == ("Heron", "assistant")
    assert charter.intermediaries["panel"].cards[0].fingerprint == cards[otter].fingerprint
    assert {cards[wren].fingerprint, cards[rook].fingerprint} < {
        c.fingerprint for c in charter.parties["south"].cards
    }
    comments = [line for line in preset("workshop").split("\n") if line.startswith("#")]
    assert [line for line in file.read_text().split("\n") if line.startswith("#")] == comments


def test_cards_that_do_not_fit_change_nothing(commands: Commands, tmp_path: Path, cards: dict[str, Card]) -> None:
    file = tmp_path / "charter.toml"
    file.write_text(preset("workshop"))
    cedar, heron, *_ = cards
    cut, strange = tmp_path / "cut.card", tmp_path / "strange.card"
    cut.write_text(cards[cedar].encode()[:-9])
    strange.write_text(CardKey.generate().card("Hero\u202en").encode())
    for words, sentence in [
        (f"east:delegate={cedar}", "this charter has no east; it has north, panel, south"),
        (f"panel:delegate={cedar}", "nobody of panel is delegate: write intermediary"),
        (f"north:spy={cedar}", "there is no role spy: write head, delegate, assistant, interpreter, intermediary"),
        (f"north={cedar}", "--card is written PARTY:ROLE=FILE, for example north:delegate=cedar.card"),
        ("north:delegate=", "--card is written PARTY:ROLE=FILE, for example north:delegate=cedar.card"),
        (
            f"north:delegate={tmp_path / 'none.card'}",
            f"the card {tmp_path / 'none.card'} cannot be read: No such file",
        ),
        (f"north:delegate={cut}", "this card is incomplete or was altered in copying: ask for it again"),
        (
            f"north:delegate={strange}",
            f"the name on the card {strange} cannot stand in a charter (this holds U+202E",
        ),
        (f"north:delegate={file}", "this is not a card: a card begins with pourparler-card:"),
    ]:
        done = commands("charter", "add", file, "--card", f"north:delegate={heron}", "--card", words)
        assert (done.status, done.out) == (2, "")
        assert done.errors.startswith(f"pourparler: {sentence}"), done.errors
        assert done.errors.count("\n") == 1
        new = tmp_path / "new.toml"
        done = commands("charter", "new", "--preset", "workshop", "--out", new, "--card", words)
        assert done.status == 2
        assert not new.exists()
    piped = commands("charter", "add", "-", "--card", f"north:delegate={heron}", text=preset("workshop").encode())
    assert (piped.status, piped.errors) == (2, "pourparler: name the charter's file: it is changed where it is\n")
    twice = commands("charter", "add", file, *(["--card", f"north:delegate={heron}"] * 2))
    assert twice.errors == "pourparler: the card of Heron is named in this charter already\n"
    assert file.read_text() == preset("workshop")


def test_who_may_read_a_charter_stays_as_it_was_when_a_card_is_added(
    commands: Commands, tmp_path: Path, cards: dict[str, Card]
) -> None:
    file, link = tmp_path / "charter.toml", tmp_path / "link.toml"
    file.write_text("\ufeff" + preset("workshop"))  # some editors begin with this mark
    file.chmod(0o640)
    link.symlink_to(file)
    cedar, *_ = cards
    assert commands("charter", "add", link, "--card", f"north:delegate={cedar}").status == 0
    assert link.is_symlink()
    assert "Cedar" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_questionnaire_asks_for_every_rule_and_makes_a_charter(tmp_path: Path, cards: dict[str, Card]) -> None:
    file = tmp_path / "charter.toml"
    wren = list(cards)[3]
    bodies = [
        *("The north", "personal", "any delegate", KEEP, KEEP),  # its card is there; no more cards
        *("The south", "mandated", "the head", "the ministry, within 5 days", wren, "assistant", KEEP),
        *("no",),  # no third party
        *("The panel", "facilitator", "A university", "A foundation", "none", "yes", KEEP, "no"),
    ]
    status, out, asked = at_terminal("new", "--out", file, *places(cards), answers=[*RULES, *bodies])
    assert (status, "Traceback" in asked) == (0, False), asked
    assert "How long a message lives at most" in asked
    assert "(a length of time, 1 minute to 400 days)" in asked
    assert "notice [3 days]: " in asked
    assert "2  chatham house: what was said may be used outside, but not who said it" in asked
    charter = parse(file.read_text())
    assert (charter.title, charter.languages) == ("Lake talks", ("en", "ar"))
    assert (charter.retention.after_reading, charter.retention.notice) == (0, 3 * 86400)
    assert (charter.attribution.ideas, charter.admission.recall) == (True, False)
    assert (charter.release.signatories, charter.release.sign_within) == ("persons", 3 * 86400)
    assert charter.agreed_line == {"en": "There is nothing to comment on."}
    south = charter.parties["south"]
    assert (south.decides, south.confirmation) == (0, "the ministry, within 5 days")
    assert {(card.name, str(card.role)) for card in south.cards} == {("Heron", "head"), ("Wren", "assistant")}
    assert [card.name for card in charter.intermediaries["panel"].cards] == ["Otter"]
    assert "Next: `pourparler charter check`" in out


def test_a_wrong_answer_is_told_with_its_reason_and_asked_again(tmp_path: Path, cards: dict[str, Card]) -> None:
    file = tmp_path / "charter.toml"
    cedar, heron, *_ = cards
    rules = [*RULES]
    rules[2:2] = ["english", KEEP]  # no language tag; no answer where one is needed
    rules[rules.index("7 days") : 1 + rules.index("7 days")] = ["soon", "500 days", "7 days"]
    rules[rules.index("chatham house")] = "2"
    rules[rules.index("yes") : rules.index("yes")] = ["perhaps"]
    bodies = [
        *("The North!", "north", "The north", "1", "the loudest", "any delegate", KEEP),
        *(str(tmp_path / "none.card"), cedar, "delegate", KEEP),
        *("north", "south", "The north", "personal", "3 of the delegates", KEEP),
        *(cedar, heron, "delegate", KEEP, "no"),  # the same card again is refused
        *("no",),  # no intermediary
        "The south",  # asked again: two parties of one name
        *("1 of us", "any delegate"),  # asked again: one card cannot be three
    ]
    status, _, asked = at_terminal("new", "--out", file, answers=[*rules, *bodies])
    for reason in (
        "This is no language tag: write the tag of BCP 47",
        "An answer is needed here.",
        "This is no length of time: write a number and minutes, hours, days or weeks",
        "This length of time is out of range: choose from 1 minute to 400 days",
        "This is neither yes nor no: write yes or no",
        "This cannot be an identifier",
        "This identifier is taken",
        "This is no decision rule",
        "none.card cannot be read: No such file",
        "This card is named already: one card has one place.",
        "parties.south.decides: fewer deciding cards than the rule asks",
        "parties.south.name: another body has this name",
    ):
        assert reason in asked, reason
    assert status == 0, asked
    charter = parse(file.read_text())
    assert charter.parties["south"].name == "The south"
    assert charter.retention.messages == 7 * 86400


def test_times_that_do_not_fit_together_are_asked_for_again(tmp_path: Path, cards: dict[str, Card]) -> None:
    file = tmp_path / "charter.toml"
    rules = [*RULES]
    rules[rules.index("30 days") + 1] = "30 days"  # the notice
    rules[rules.index("30 days")] = "5 days"  # the absence limit
    bodies = [
        *("The north", "personal", "any delegate", KEEP, KEEP),
        *("The south", "personal", "the head", KEEP, KEEP, "no"),
        *("The panel", "host", "A house", "Nobody", "none", "yes", KEEP, "no"),
        "2 days",
    ]
    status, _, asked = at_terminal("new", "--out", file, *places(cards), answers=[*rules, *bodies])
    assert "retention.notice: longer than the absence limit; choose at most retention.absence." in asked
    assert status == 0
    assert parse(file.read_text()).retention.notice == 2 * 86400


def test_questions_that_an_answer_made_pointless_are_not_asked(tmp_path: Path) -> None:
    rules = [*RULES]
    at = rules.index("persons")
    rules[at : at + 5] = ["nobody"]
    _, _, asked = at_terminal("new", "--out", tmp_path / "charter.toml", answers=[*rules, END])
    assert "appointment" not in asked
    assert "Reporting home" in asked


def test_cards_may_come_later(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "charter.toml"
    bodies = [
        *("north", "The north", "personal", "2 of the delegates", KEEP, KEEP),
        *("south", "The south", "personal", "the head", KEEP, KEEP, "no", "no"),
    ]
    status, out, _ = at_terminal("new", "--out", file, answers=[*RULES, *bodies])
    assert status == 0
    assert "Cards wait at lines " in out
    assert file.read_text().count(PLACEHOLDER) == 5  # what each needs to act, and one in reserve
    assert commands("charter", "check", file).status == 1
    assert parse(fill_cards(file.read_text()))


BODIES = [
    *("north", "The north", "personal", "any delegate", KEEP, KEEP),
    *("south", "The south", "personal", "the head", KEEP, KEEP, "no"),
    *("yes", "panel", "The panel", "host", "A house", "Nobody", "none", "yes", KEEP, "no"),
]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_answered_ends_in_a_text_or_with_what_was_answered(data: st.DataObject) -> None:
    lines = [line.encode() for line in [*RULES, *BODIES]]
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        odd = data.draw(
            st.sampled_from([b"", b"\xff", b"1", b"yes", b"the head", b"\xe2\x80\xae", b"a.b", b"x" * 20_000])
        )
        lines[at : at + data.draw(st.integers(0, 1))] = [odd]
    stdin = io.TextIOWrapper(io.BytesIO(b"\n".join(lines) + b"\n"))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()):
        patch.setattr(sys, "stdin", stdin)
        try:
            written = Drafter([]).questionnaire()
        except Stopped as stopped:
            written = stopped.text
    if written:
        try:
            parse(fill_cards(written))
        except CharterErrors as found:
            assert not any("cannot be read" in error.what for error in found.errors), written


def test_end_of_input_keeps_what_was_answered(commands: Commands, tmp_path: Path) -> None:
    file = tmp_path / "charter.toml"
    status, out, asked = at_terminal("new", "--out", file, answers=[*RULES[:7], END])
    assert (status, out) == (2, "")
    assert asked.splitlines()[-1] == (
        f"pourparler: the questions ended early: what you answered is in {file}; `pourparler charter check` says "
        "what is missing there"
    )
    assert 'title = "Lake talks"' in file.read_text()
    assert 'messages = "7 days"' in file.read_text()
    done = commands("charter", "check", file)
    assert done.status == 1
    assert '"absence" is missing' in done.out


def test_end_of_input_before_any_answer_writes_nothing(commands: Commands, tmp_path: Path) -> None:
    sentence = (
        "pourparler: no question was answered, so nothing was written; without a terminal, start from a preset "
        "(--preset)"
    )
    status, out, asked = at_terminal("new", "--out", tmp_path / "charter.toml", answers=[END])
    assert (status, out, asked.splitlines()[-1]) == (2, "", sentence)
    done = commands("charter", "new", "--out", tmp_path / "charter.toml")
    assert (done.status, done.errors.splitlines()[-1]) == (2, sentence)
    assert list(tmp_path.iterdir()) == []
    refused = commands("charter", "new", "--no-questions", "--out", tmp_path / "charter.toml")
    assert refused.errors.startswith("pourparler: without questions, a charter begins with a preset")


def test_at_a_terminal_a_preset_asks_only_for_what_it_cannot_know(tmp_path: Path, cards: dict[str, Card]) -> None:
    file = tmp_path / "charter.toml"
    cedar, heron, otter, wren, rook = cards
    answers = [
        *(KEEP, "To see what can be done.", "en, ar"),
        *(KEEP, "لا تعليق لدينا."),  # the agreed lines
        *(KEEP, heron, KEEP),  # the north's name, its second and third card: one was given, one comes later
        *("Those from the south", heron, wren, rook, KEEP),  # a card that the north has, then others
        *(KEEP, KEEP, "A college in the hills", "Fees", "none", "no", "yes", otter),
    ]
    given = ["--preset", "workshop", "--card", f"north:delegate={cedar}"]
    status, out, asked = at_terminal("new", *given, "--out", file, answers=answers)
    assert status == 0, asked
    assert "title [Spring workshop]: " in asked
    assert "How long a message lives" not in asked
    assert "Example: A university's programme" in asked
    assert "institution:   An answer is needed here." in asked  # nobody declares by pressing Enter
    assert "Every intermediary declares this: write yes, or make it a party." in asked
    assert "the card of Heron is named in this charter already" in asked
    assert "Cards wait at lines " in out
    charter = parse(fill_cards(file.read_text()))
    assert (charter.title, charter.purpose) == ("Spring workshop", "To see what can be done.")
    assert charter.agreed_line["ar"] == "لا تعليق لدينا."
    assert charter.intermediaries["panel"].institution == "A college in the hills"
    assert {card.name for card in charter.parties["north"].cards} == {"Cedar", "Heron", "Third participant"}
    assert {card.name for card in charter.parties["south"].cards} == {"Wren", "Rook", "Third participant"}
    assert "# people travel home" in file.read_text()


def test_a_preset_is_written_without_questions_if_one_says_so(tmp_path: Path) -> None:
    file = tmp_path / "charter.toml"
    arguments = ["new", "--preset", "shuttle", "--no-questions", "--out", file]
    status, _, asked = at_terminal(*arguments, answers=[END])
    assert (status, asked) == (0, "")
    assert file.read_text() == preset("shuttle")


def test_answers_are_not_lost_when_the_file_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "charter.toml"
    status, out, errors = at_terminal("new", "--out", file, answers=[*RULES, END], files=64)
    assert status == 2
    assert errors.splitlines()[-1].endswith("the charter stands above instead")
    assert 'title = "Lake talks"' in out
    assert list(tmp_path.iterdir()) == []


def test_check_tells_every_error_with_line_and_remedy_and_ends_with_status_1(
    commands: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "charter.toml"
    lines = text().replace('"7 days"', '"7 dys"').replace("party = 3", "party = 300").split("\n")
    lines.append('"\\u001b[2J" = 1')
    file.write_text("\n".join(lines))
    done = commands("charter", "check", file)
    assert (done.status, done.errors) == (1, "")
    messages = next(n for n, line in enumerate(lines, 1) if "7 dys" in line)
    assert (
        f"line {messages}: retention.messages: this is no length of time; write a number and minutes" in done.out
    )
    assert done.out.endswith("3 errors: nobody can accept this charter yet.\n")
    assert "\x1b" not in done.out
    as_data = commands("charter", "check", "--json", file)
    assert as_data.status == 1
    assert [sorted(one) for one in as_data.records] == [["line", "remedy", "what", "where"]] * 3


def test_check_of_a_charter_shows_its_digits_and_what_to_think_over(commands: Commands) -> None:
    charter = parse(text())
    done = commands("charter", "check", "-", text=text().encode())
    assert (done.status, done.errors) == (0, "")
    assert done.out.startswith("No errors.\n")
    assert "To think over: There is no agreed line in ar" in done.out
    assert f"Check digits of these rules: {check_digits(charter.hash)}\n" in done.out
    (record,) = commands("charter", "check", "-", "--json", text=text().encode()).records
    assert (record["hash"], record["check_digits"]) == (charter.hash.hex(), check_digits(charter.hash))


@pytest.mark.parametrize("verb", ["check", "explain", "add"])
def test_what_cannot_be_a_charter_is_one_sentence(
    commands: Commands, tmp_path: Path, cards: dict[str, Card], verb: str
) -> None:
    more = ["--card", f"north:delegate={next(iter(cards))}"] if verb == "add" else []
    long, noise = tmp_path / "long.toml", tmp_path / "noise.toml"
    long.write_bytes(b"#" * (64 * 1024 + 1))
    noise.write_bytes(b"\xff\xfe\x00")
    for file, sentence in [
        (
            tmp_path / "none.toml",
            f"the charter {tmp_path / 'none.toml'} cannot be read: No such file or directory",
        ),
        (tmp_path, f"the charter {tmp_path} cannot be read: Is a directory"),
        (long, f"{long} is larger than any charter"),
        (noise, f"{noise} is not a charter: it is not UTF-8 text"),
    ]:
        done = commands("charter", verb, file, *more)
        assert (done.status, done.out, done.errors) == (2, "", f"pourparler: {sentence}\n")


def test_explain_says_in_plain_words_what_a_charter_means_for_a_delegate(
    commands: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "charter.toml"
    file.write_text(text())
    charter = parse(text())
    done = commands("charter", "explain", file, "--for", "b")
    assert (done.status, done.errors) == (0, "")
    told = " ".join(done.out.split())
    for paragraph in explain(charter, "b", accepted=True):
        assert " ".join(paragraph.split()) in told
    assert max(map(len, done.out.splitlines())) <= 88
    for party in charter.parties.values():
        for card in party.cards:
            assert f"{check_digits(card.fingerprint)}  {card.name} ({card.role})" in done.out
    assert f"Check digits of these rules: {check_digits(charter.hash)}" in done.out
    (record,) = commands("charter", "explain", file, "--json").records
    assert record["paragraphs"] == explain(charter, accepted=True)
    assert record["check_digits"] == check_digits(charter.hash)
    unknown = commands("charter", "explain", file, "--for", "z")
    assert (unknown.status, unknown.errors) == (2, "pourparler: this charter has no z; it has a, b, m\n")
    file.write_text(preset("shuttle"))
    unfinished = commands("charter", "explain", file)
    assert unfinished.errors.startswith("pourparler: this is no charter yet (")
    assert unfinished.status == 2


def test_who_is_only_invited_is_not_shown_names_unless_the_charter_says_so(commands: Commands) -> None:
    secret, shown = text(), text(admission={"names": "before acceptance"})
    for arguments, document, named in [
        ((), secret, True),
        (("--invited",), secret, False),
        (("--invited",), shown, True),
    ]:
        done = commands("charter", "explain", "-", *arguments, text=document.encode())
        assert done.status == 0
        assert ("a1" in done.out) == ("b3" in done.out) == named
