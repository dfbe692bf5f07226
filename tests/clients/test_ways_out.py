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
# What writes something that was said or agreed in a channel into a file, wherever it is.
OUT = ("_export", "_save", "_print", "_brief")


def test_every_command_that_writes_out_of_a_channel_shows_the_reporting_rule() -> None:
    found = {}
    for path in COMMANDS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name in OUT
            if named and any(argument.arg == "channel" for argument in node.args.args):
                called = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
                found[f"{path.name}: {node.name}"] = "waysout.remind" in called
    assert found
    assert all(found.values()), found


def test_the_rule_is_said_to_people_and_programs_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    channel = cast(Any, SimpleNamespace(log=SimpleNamespace(charter=charter_of(["ada", "ben"]))))
    remind(argparse.Namespace(json=True), channel)
    assert capsys.readouterr().err == ""
    remind(argparse.Namespace(json=False), channel)
    assert "Each delegate may tell one named principal: the gist, with names." in capsys.readouterr().err
