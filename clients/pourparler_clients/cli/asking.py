"""Questions at a terminal. Each says what it means and what may be written, shows its default, and is asked again,
with the reason, after an answer that cannot be.

Questions go to standard error, so that what is made of the answers can go to standard output.
"""

import sys
from typing import Any, Final

from pourparler_policies.charter import questionnaire as q
from pourparler_policies.charter import schema
from pourparler_policies.charter.schema import Key, Wrong

from .common import plain

_MAX_ANSWER: Final = 16 * 1024  # bytes: a text of schema.MAX_TEXT characters fits, whatever they are
_LINE: Final = Key("the line", schema.text, "what everybody says when asked whether there are such talks")


class End(Exception):
    """The input ended at a question."""


def ask(key: Key, default: Any = None) -> Any:
    """Asks until the answer can be; None when the default is that there is no such rule."""
    say("", key.about[0].upper() + key.about[1:])
    if isinstance(key.kind, schema.Choice):
        for number, (word, meaning) in enumerate(key.kind.meanings.items(), 1):
            say(f"    {number}  {word}: {meaning}")
    elif q.hint(key):
        say(f"    ({q.hint(key)})")
    offered = q.typed(default) if default is not None else q.offered(key)
    while True:
        typed = read(f"  {key.name}{f' [{plain(offered, lines=False)}]' if offered else ''}: ")
        if not typed and offered is not None:
            return default if default is not None else q.understand_default(key)
        if not typed:
            say("  An answer is needed here.")
            continue
        try:
            return q.understand(key, typed)
        except Wrong as wrong:
            say(f"  {_sentence(wrong.what)}: {wrong.remedy}.")


def yes(question: str) -> bool:
    """A question of yes or no; Enter is no."""
    key = Key("yes or no", schema.yes_no, question, False)
    return bool(ask(key))


def agreed_line(tag: str, default: str) -> str:
    """The agreed line in a language; empty if there is none."""
    while True:
        shown = f" [{default}]" if default else "; Enter for none"
        typed = (
            read(f"\nWhat everybody says when asked whether there are such talks\n  in {tag}{shown}: ") or default
        )
        wrong = q.check(_LINE, typed) if typed else ""
        if not wrong:
            return typed
        say(f"  {wrong}.")


def say(*lines: str) -> None:
    """Lines for the person."""
    for line in lines:
        print(line, file=sys.stderr)


def head(title: str) -> None:
    """What the next questions are about."""
    say("", "", f"— {plain(title, lines=False)} —")


def read(prompt: str) -> str:
    """One line, without blanks around it. Raises End when there is no more input."""
    print(prompt, end="", file=sys.stderr, flush=True)
    while True:
        data = sys.stdin.buffer.readline(_MAX_ANSWER + 1)
        if not data:
            say("")
            raise End
        try:
            if len(data) <= _MAX_ANSWER:
                return data.decode().strip()
            while not data.endswith(b"\n") and data:
                data = sys.stdin.buffer.readline(_MAX_ANSWER + 1)
            reason = "This is longer than any answer"
        except UnicodeDecodeError:
            reason = "This is not UTF-8 text"
        print(f"  {reason}: once more: ", end="", file=sys.stderr, flush=True)


def _sentence(what: str) -> str:
    return what[0].upper() + what[1:]
