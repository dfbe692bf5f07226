"""The demonstration of the shuttle: two sides that share no channel, and an intermediary with two compartments.

A message is carried as a hypothetical, a counter comes back as a gist, packages are sounded of which one suits both,
and that text is released in both sides' copies. Real processes; nobody is played by anything else.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

from pourparler_crypto.note import MAX_TEXT
from pourparler_policies.limits import MAX_PACKAGES
from pourparler_policies.payload import MAX_TEXT as MAX_ASKED
from pourparler_policies.sounding.facts import MAX_TEXTS

from ..errors import UserError
from . import release, sounded
from .between import Room, Shuttle, carry, search, set_up

Say = Callable[[str], None]


def packages(directory: Path | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Names and words (language, text) of the packages: every file of the directory, or those that come along.

    Raises UserError with one clear sentence.
    """
    place = directory if directory is not None else Path(str(files("pourparler_clients") / "demo" / "packages"))
    try:
        paths = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        data = [(path.name, _read(path)) for path in paths[: MAX_PACKAGES + 1]]
    except OSError as error:
        raise UserError(f"the packages in {place} cannot be read: {error.strerror or 'no reason given'}") from None
    if not 2 <= len(data) <= MAX_PACKAGES:
        raise UserError(f"{place} has {len(paths)} files: 2 to {MAX_PACKAGES} packages are needed, one a file")
    made = [(name, release.sections(text, name)) for name, text in data]
    for name, words in made:
        release.check(words, name)
        _check_settled(words, name)
    _check_together(made)
    return made


def _read(path: Path) -> bytes:
    """Not more than what is refused as too large."""
    with path.open("rb") as file:
        return file.read(MAX_TEXT + 1)


def _check_settled(words: Sequence[tuple[str, str]], name: str) -> None:
    """A package that suits both becomes the one text, of which nothing may be open. Raises UserError."""
    for _, text in words:
        if "[" in text or "]" in text:
            raise UserError(
                f"{name} has square brackets in it: what stands in them is open, and cannot be released"
            )


def _check_together(made: Sequence[tuple[str, list[tuple[str, str]]]]) -> None:
    """What a sounding takes, before anything is begun. Raises UserError."""
    texts: dict[str, str] = {}
    for name, words in made:
        text = sounded.as_asked(words).strip()
        size = len(text.encode())
        if size > MAX_ASKED:
            raise UserError(f"{name} is larger than a package may be ({MAX_ASKED // 1024} KiB)")
        if text in texts:
            raise UserError(
                f"{texts[text]} and {name} have the same text: a sounding asks about different packages"
            )
        texts[text] = name
    if sum(len(text.encode()) for text in texts) > MAX_TEXTS:
        raise UserError(f"the packages together are larger than a sounding may be ({MAX_TEXTS // 1024} KiB)")


def tell(texts: Sequence[tuple[str, list[tuple[str, str]]]], keep: Path | None, say: Say) -> int:
    """Runs the whole story. 0 when everything held, 1 when something was found that should not be there."""
    with ExitStack() as stack:
        root = keep if keep is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise UserError(f"{root} is not empty: choose another directory to keep things in")
        north = Room("Reading circle", ("Cedar", "Birch"), "Otter", "the northern side", "The northern village")
        south = Room("Garden club", ("Heron", "Plover"), "Lantern", "the southern side", "The southern village")
        demo = Shuttle(root, say, stack, north, south)
        set_up(demo)
        carry(demo)
        clean = search(demo)
        sounded.release(demo, sounded.sound(demo, texts))
        for room in (north, south):
            for process in room.talks.values():
                process.end_of_input()
        if keep is not None:
            kept = "".join(f"{name}: {secret}\n" for name, secret in demo.passphrases.items())
            (root / "passphrases.txt").write_text(kept)
    say("" if keep is not None else "Everything was cleaned up.")
    return 0 if clean else 1
