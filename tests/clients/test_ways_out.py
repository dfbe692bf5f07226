"""Whoever takes something out of a channel is shown what its charter says of that."""

import argparse
import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import pourparler_clients.cli
from pourparler_clients.cli.waysout import remind
from pourparler_clients.testing import charter_of

COMMANDS = Path(pourparler_clients.cli.__file__).parent
# How a command writes a file: whatever else it does in a channel, this takes something out of it.
METHODS, FUNCTIONS = ("write_text", "write_bytes", "save"), ("open", "create")


def calls(node: ast.AST) -> list[ast.Call]:
    return sorted((one for one in ast.walk(node) if isinstance(one, ast.Call)), key=lambda one: one.lineno)


def test_every_command_that_writes_out_of_a_channel_shows_the_reporting_rule_first() -> None:
    found = {}
    for path in COMMANDS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                continue
            if not any(argument.arg == "channel" for argument in node.args.args):
                continue
            made = [ast.unparse(one.func) for one in calls(node)]
            writes = [
                at
                for at, name in enumerate(made)
                if name in FUNCTIONS or ("." in name and name.rpartition(".")[2] in METHODS)
            ]
            if writes:
                reminds = [at for at, name in enumerate(made) if name == "waysout.remind"]
                found[f"{path.name}: {node.name}"] = bool(reminds) and reminds[0] < writes[0]
    assert set(found) >= {"attachments.py: _save", "ideas.py: _draft", "release.py: write_out"}
    assert all(found.values()), found


def test_the_rule_is_said_to_people_and_programs_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    channel = cast(Any, SimpleNamespace(log=SimpleNamespace(charter=charter_of(["ada", "ben"]))))
    remind(argparse.Namespace(json=True), channel)
    assert capsys.readouterr().err == ""
    remind(argparse.Namespace(json=False), channel)
    assert "Each delegate may tell one named principal: the gist, with names." in capsys.readouterr().err
