"""Inside a talk an answer goes to who asked: nothing that was typed as an answer is said to everybody."""

import argparse
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pourparler_clients.cli import prompts, talk, texts
from pourparler_clients.errors import UserError


class Room:
    """What `talk` needs of a channel: to say a line."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def say(self, text: str, _life: int | None) -> None:
        self.said.append(text)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that is standard input."""
    ours, theirs = pty.openpty()
    terminal = os.fdopen(theirs)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(texts, "taken", False)
    monkeypatch.setattr(talk, "warn_absent", lambda *_: set())
    yield ours
    os.close(ours)
    terminal.close()


async def test_an_answer_typed_inside_a_talk_is_not_said(
    keyboard: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room, answers = Room(), list[str]()

    async def ask(*_: Any, **__: Any) -> None:
        answers.append(await prompts.typed("the party's name: ", "nobody"))

    monkeypatch.setattr(talk, "do_words", ask)
    os.write(keyboard, b"good morning\n/release sign\nThe north\nand good night\n\x04")
    await talk._speak(argparse.Namespace(lock_after=20.0, json=False, life=None), room)  # type: ignore[arg-type]
    assert answers == ["The north"]
    assert room.said == ["good morning", "and good night"]
    assert "the party's name: " in capsys.readouterr().out


async def test_a_talk_that_ends_at_a_question_did_nothing(keyboard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*_: Any, **__: Any) -> None:
        with pytest.raises(UserError, match="nothing was done"):
            await prompts.typed("the party's name: ", "nobody")

    monkeypatch.setattr(talk, "do_words", ask)
    os.write(keyboard, b"/release sign\n\x04")
    room = Room()
    await talk._speak(argparse.Namespace(lock_after=20.0, json=False, life=None), room)  # type: ignore[arg-type]
    assert room.said == []


async def test_what_a_command_would_read_from_the_keyboard_is_refused_inside_a_talk(
    keyboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: Any, **__: Any) -> None:
        with pytest.raises(UserError, match="inside a talk"):
            texts.read_text(Path("-"), "idea")

    monkeypatch.setattr(talk, "do_words", read)
    os.write(keyboard, b"/ideas add\n\x04")
    await talk._speak(argparse.Namespace(lock_after=20.0, json=False, life=None), Room())  # type: ignore[arg-type]
