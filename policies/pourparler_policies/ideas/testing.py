"""A channel with a round for tests: founded by the fold's own kit, then written to as devices would."""

from dataclasses import replace
from typing import Final

from pourparler_policies.release.testing import Talks, talks

from . import events
from .facts import IdeaRules, Round

ROUND: Final = b"r" * 16
LIFE: Final = 7 * 24 * 3600  # seconds


def circle(parties: int = 3, *, intermediary: bool = False, allowed: bool = True) -> Talks:
    """A founded channel whose charter has ideas without a name."""
    made = talks(parties, intermediary=intermediary)
    made.state = replace(made.state, ideas=IdeaRules(allowed, LIFE))
    return made


def call(made: Talks, word: str = "a1", *, about: bytes = b"", **changed: object) -> None:
    """This device calls a round whose tick is in ten minutes."""
    event = events.Called(ROUND, about, made.now + 600, 300, 60, LIFE)
    made.post(word, replace(event, **changed))  # type: ignore[arg-type]


def held(made: Talks) -> Round:
    """The round that lives. Raises AssertionError when there is none."""
    assert made.state.round is not None  # noqa: S101 -- a kit for tests
    return made.state.round


def key(word: str) -> bytes:
    """A device's one-time key, or its secret: opaque here."""
    return word.encode().ljust(32, b"k")


def join(made: Talks, *words: str) -> None:
    """Gathering has begun, and these devices join."""
    made.now = max(made.now, held(made).begins)
    for word in words:
        made.post(word, events.Joined(ROUND, key(word)))


def see(made: Talks, *words: str, digest: bytes = b"d" * 32) -> None:
    """The window is over, and these devices have seen the list."""
    made.now = max(made.now, held(made).closes)
    for word in words:
        made.post(word, events.Seen(ROUND, digest))


def show(made: Talks, *words: str) -> None:
    """These devices give their shares."""
    for word in words:
        made.post(word, events.Shown(ROUND, key(word)))
