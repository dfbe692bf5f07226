"""What stands in a document and in the code is the same."""

import argparse
import re
from pathlib import Path
from typing import get_args

import pytest

from pourparler_clients.api import SENTENCES
from pourparler_clients.cli import build_parser
from pourparler_clients.cli.locking import PATIENCE
from pourparler_clients.cli.talk import WATCH_LOCKS
from pourparler_crypto import idea
from pourparler_crypto.note import Act
from pourparler_policies import hours, limits, payload, wire
from pourparler_policies.admission import KEPT_KEYS
from pourparler_policies.ideas import content, facts
from pourparler_policies.invitation import KEPT_EPOCHS
from pourparler_policies.release.facts import Answer
from pourparler_policies.wire import Problem, Route
from pourparler_service.caps import Caps

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
README = (ROOT / "README.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]


def section(text: str, title: str) -> str:
    """A document's section, up to the next heading."""
    match = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"no section {title!r}"
    return match[1]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def commands() -> dict[str, str]:
    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {choice.dest: choice.help or "" for choice in action._choices_actions}


def test_the_readme_lists_every_command_with_the_words_of_its_help() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", section(README, "Commands"), re.MULTILINE))
    assert rows == commands()


def test_the_protocol_lists_every_route() -> None:
    assert set(first_column(section(PROTOCOL, "2. The wire"))) >= set(Route)
    assert {route for route in first_column(section(PROTOCOL, "2. The wire")) if route.startswith("/")} == set(
        Route
    )


def test_the_protocol_lists_every_problem_with_its_status() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", section(PROTOCOL, "2. The wire"), re.MULTILINE)
    source = (ROOT / "policies" / "pourparler_policies" / "wire.py").read_text()
    in_code = re.findall(r'^    [A-Z_]+ = "([a-z-]+)"  # (\d{3})', source, re.MULTILINE)
    assert set(rows) == set(in_code)
    assert {name for name, _ in rows} == {problem.value for problem in Problem}


def test_every_problem_has_a_sentence_for_the_person() -> None:
    assert set(SENTENCES) == set(Problem)


def test_the_protocol_lists_the_buckets() -> None:
    sizes = re.search(r"sealed entry or deposit may have: ([\d, ]+)\.", PROTOCOL)
    assert sizes
    assert tuple(int(size) for size in sizes[1].split(", ")) == limits.BUCKETS


def test_the_protocol_lists_the_sizes_of_attachments_and_chunks() -> None:
    sizes = re.search(r"an attachment may have: ([\d,\s]+)\.", PROTOCOL)
    assert sizes
    assert tuple(int(size) for size in sizes[1].split(",")) == limits.ATTACHMENT_SIZES
    assert f"Chunks have {limits.ATTACHMENT_CHUNK} bytes" in PROTOCOL


def test_the_protocol_says_how_far_ends_lie_apart() -> None:
    rows = re.findall(r"^\| (?:less than|a day)[^|]+\| (\d+) s apart \| (\d+) s \|", PROTOCOL, re.MULTILINE)
    lives = (1, limits.HOUR - 1, limits.HOUR, limits.DAY - 1, limits.DAY, limits.MAX_LIFE)
    steps = sorted({hours.step(life) for life in lives})
    assert [(int(step), int(late)) for step, late in rows] == [(step, step) for step in steps]
    assert get_args(wire.AskHalves.model_fields["step"].annotation) == tuple(steps)
    assert f"up to {limits.MAX_HALVES} in one request" in " ".join(PROTOCOL.split())


def test_the_protocol_says_the_operators_caps_on_halves_and_attachments() -> None:
    words = " ".join(PROTOCOL.split())
    assert f"and {Caps().halves_a_device:,} living ones in all" in words
    assert f"A channel's attachments have at most {Caps().attachments_a_channel // 1024**3} GiB" in words


def test_the_protocol_says_the_sizes_limits_and_answers_of_the_desk() -> None:
    words, caps = " ".join(section(PROTOCOL, "The desk").split()), Caps()
    sizes = re.search(r"and a bundle of ([\d, or]+)\.", words)
    assert sizes
    assert tuple(int(size) for size in re.findall(r"\d+", sizes[1])) == limits.BUNDLES
    assert f"at most {limits.MAX_CASE} bytes" in words
    assert f"A case has 2 to {limits.MAX_SIGNERS} signers and 1 to {limits.MAX_NOTES} texts" in words
    assert f"lasts at most {caps.longest_case // limits.DAY} days" in words
    assert f"({caps.case_burst} at once, then one in {caps.case_refill} seconds)" in words
    assert f"one quota ({caps.open_cases:,} cases)" in words
    assert f"for {limits.ANSWER_LIFE // limits.DAY} days after the not-before time" in words
    assert first_column(section(PROTOCOL, "The desk")) == [
        "open", "complete", "published", "lapsed", "stopped",
    ]  # fmt: skip
    assert set(first_column(section(PROTOCOL, "The desk"))) == set(wire.CaseAnswer) == set(Answer)
    board = " ".join(section(PROTOCOL, "The board").split())
    assert f"at most {caps.board_bytes // 1024**3} GiB" in board
    assert all(f"`{act.value}`" in board for act in Act)


def test_the_protocol_and_the_page_say_the_sizes_and_limits_of_a_round_of_ideas() -> None:
    words = " ".join(section(PROTOCOL, "Rounds of ideas").split())
    assert f"window (at most {limits.MAX_WINDOW} seconds), places (at most {limits.MAX_PLACES})" in words
    assert f"packets of {limits.IDEA_PACKET} bytes" in words
    assert f"at most {Caps().rounds_a_channel} rounds at a time" in words
    page = " ".join((ROOT / "docs" / "ideas.md").read_text().split())
    assert f"has {limits.IDEA_PACKET} bytes" in page
    assert f"at most {idea.MAX_CONTENT} bytes: nothing, an idea (`i`, at most {content.MAX_IDEA} bytes" in page
    assert f"({facts.LEAST_SEATS} to {facts.MAX_SEATS}), `q` the packets of each: {facts.IDEAS_A_SEAT}" in page
    assert f"in a round of ideas, {facts.BALLOTS_A_SEAT} in a round of marks" in page
    assert f"at most {facts.LONGEST_NOTICE // limits.DAY} days ahead" in page
    assert f"for {limits.MAX_PLACES} packets and {Caps().rounds_a_channel} living rounds" in page
    assert all(label in page for label in (idea.KEY_LABEL, idea.TOKEN_LABEL.removeprefix("pourparler idea ")))


def test_the_protocol_lists_every_event_and_its_class() -> None:
    rows = re.findall(
        r"^\| `([a-z]+)` \| (message|procedure)", section(PROTOCOL, "3. Inside an entry"), re.MULTILINE
    )
    procedure = {event.model_fields["type"].default for event in (payload.Act, payload.Seated)}
    assert dict(rows) == {name: "procedure" if name in procedure else "message" for name in payload.TYPES}


def test_the_protocol_says_how_many_handshakes_a_device_may_post() -> None:
    assert f"{limits.HANDSHAKE_BURST} at once, then one in {limits.HANDSHAKE_REFILL} seconds" in PROTOCOL


def test_the_protocol_says_how_long_keys_for_complaints_are_kept() -> None:
    assert f"keys of the last {KEPT_EPOCHS} epochs and the last {KEPT_KEYS} signature keys" in PROTOCOL


def test_the_guide_to_a_device_names_acts_that_there_are_and_when_it_locks() -> None:
    guide = (ROOT / "docs" / "guides" / "device.md").read_text()
    acts = first_column(section(guide, "Which act does what"))
    assert {act.split()[0] for act in acts} == {"passphrase", "leave", "clear", "close"} <= set(commands())
    words = " ".join(section(guide, "When it locks by itself").split())
    assert f"`talk` locks after {PATIENCE // 60} minutes" in words
    assert f"`watch` after {WATCH_LOCKS // 3600} hours" in words
    assert f"is given up after {PATIENCE // 60} minutes" in words


def test_the_list_of_decisions_is_complete() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    listed = set(re.findall(r"\((\d{4}-[a-z-]+\.md)\)", index))
    assert listed == {path.name for path in (ROOT / "docs" / "decisions").glob("0*.md")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_test_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert named
    for file, test in named:
        assert re.search(rf"def {test}\(", (ROOT / file).read_text()), f"{file}::{test}"
