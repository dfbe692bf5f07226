"""What `docs/guides/intermediary.md` tells a mediator to type is what the command line takes."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from pourparler_clients.cli import build_parser
from pourparler_policies.shuttle import Answer, Fidelity, Source
from pourparler_policies.shuttle.carrying import LONGEST_DELAY

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "intermediary.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
PARSER = build_parser()


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_guide_is_one_that_the_program_takes(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "pourparler"
    arguments = PARSER.parse_args(words)  # ends with status 2, and says why, for anything else
    assert isinstance(arguments, argparse.Namespace)
    assert arguments.func is not None


def test_the_guide_leads_through_every_command_of_the_shuttle() -> None:
    typed = {" ".join(shlex.split(line)[1:3]) for line in COMMANDS} | {shlex.split(line)[1] for line in COMMANDS}
    assert {"hand", "free", "recall", "put", "carry", "answer", "pass-on", "shuttle", "sheet"} <= typed
    verbs = (
        "draft",
        "revise",
        "standing",
        "appoint",
        "carry",
        "show",
        "comment",
        "agree",
        "ready",
        "sign",
        "export",
    )
    assert {"sound inquire", "sound deal", "sound answer", *(f"onetext {verb}" for verb in verbs)} <= typed


def test_the_guide_explains_every_term_by_its_name() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", GUIDE, re.MULTILINE)
    assert {*Source, *Fidelity, "held until …"} <= set(rows)
    verbs = {
        Answer.ACCEPT: "accepts",
        Answer.DECLINE: "declines",
        Answer.COUNTER: "counters",
        Answer.QUESTION: "asks",
    }
    assert set(verbs) == set(Answer)
    answers = GUIDE[GUIDE.index("## 6.") : GUIDE.index("## 7.")]
    assert all(verb.removesuffix("s") in answers for verb in verbs.values())
    assert LONGEST_DELAY == 20 * 60
    assert "Twenty minutes" in GUIDE
