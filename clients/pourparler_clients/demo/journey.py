"""A person goes home with nothing, and comes back with a new card (docs/consent.md, 4: `replace`).

What is searched is what somebody would have who takes the device: its files, and the blocks where they lay.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from ..examine import found
from .processes import DemoError, run
from .stage import NAMES, TRAVELLER, Demo, attested, do, invite, join, new_card, seated, talk, who

_BLOCK: Final = 4096  # bytes: a page of a vault
_PIECE: Final = 32  # bytes from the middle of a block, by which it is recognised


def tell(demo: Demo) -> None:
    """She clears her device before a journey; her own side and another bring her back. Raises DemoError."""
    old = next(member["check_digits"] for member in who(demo, TRAVELLER) if member["you"])
    _clear(demo)
    _come_back(demo, old)


def _clear(demo: Demo) -> None:
    say, vault = demo.say, demo.vault(TRAVELLER)
    say(f"5. {TRAVELLER} has to cross a border. At home, before the journey, she clears her device:")
    demo.talks.pop(TRAVELLER).end_of_input()
    del demo.passphrases[TRAVELLER]
    left = search(vault, demo.root, lambda: run(["clear", "--yes", "--vault", str(vault)]))
    say(f"     before: {left.before} files in her vault, of which all {left.pieces} pieces are found")
    say("     `pourparler clear` needs no network and no passphrase; now no passphrase opens anything.")
    say(f"     after: {left.files} files; {left.elsewhere} pieces in any file of this demonstration,")
    say(
        f"     and {left.below} where the files lay on the disk (old blocks of flash storage: no program can tell)."
    )
    if left.files or left.elsewhere or left.below:
        raise DemoError("something is left of a vault that was cleared: this is a defect, please report it")
    say("     Nobody was told, and her place stays.")


@dataclass(frozen=True, slots=True)
class Left:
    """What a search found of a vault: its files and their pieces before; what was left of either afterwards."""

    before: int
    pieces: int
    files: int  # in its directory; the directory counts too
    elsewhere: int  # pieces in any file around it
    below: int  # pieces in the blocks where its files lay


def search(vault: Path, around: Path, act: Callable[[], object]) -> Left:
    """Does `act` to a vault and searches what it left: the directory, every file below `around`, and the blocks
    where the vault's files lay. Raises DemoError when the search does not find the vault beforehand.
    """
    with ExitStack() as stack:
        # Held open: so their blocks can be read when no name leads there any more, as by who undeletes files.
        paths = [path for path in sorted(vault.rglob("*")) if path.is_file()]
        lain = [stack.enter_context(path.open("rb", buffering=0)) for path in paths]
        needles = {piece for data in _blocks(lain) for piece in _pieces(data)}
        if not needles or any(found(needles, data) != needles for data in (_files(vault), _blocks(lain))):
            raise DemoError(f"{vault} was not found where it is: to search for it would prove nothing")
        act()
        return Left(
            before=len(paths),
            pieces=len(needles),
            files=sum(1 for path in around.rglob("*") if path == vault or vault in path.parents),
            elsewhere=len(found(needles, _files(around))),
            below=len(found(needles, _blocks(lain))),
        )


def _files(directory: Path) -> Iterator[bytes]:
    """Every file below a directory, also while processes work there."""
    for path in sorted(directory.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield path.read_bytes()


def _blocks(opened: Iterable[FileIO]) -> Iterator[bytes]:
    """What lies on the disk where these files were when they were opened."""
    for file in opened:
        file.seek(0)
        yield file.readall()


def _pieces(data: bytes) -> Iterator[bytes]:
    for block in (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK)):
        yield block[(len(block) - _PIECE) // 2 :][:_PIECE]


def _come_back(demo: Demo, old: str) -> None:
    colleague, voucher, third, _ = NAMES
    others = (colleague, voucher, third)
    digits = new_card(demo, TRAVELLER, again=True)
    demo.say(f"     Home again, she makes a new vault with a new card (check digits {digits[:11]} …).")
    do(demo, colleague, f"propose replace {shlex.quote(str(demo.card(TRAVELLER, again=True)))} --old {TRAVELLER}")
    _, proposed = demo.talks[colleague].event(event="proposed")
    demo.talks[voucher].event(event="proposed", code=proposed["code"])
    do(demo, voucher, f"approve {proposed['code']}")
    demo.talks[colleague].event(event="approved", name=voucher)
    demo.say(
        f"     {colleague}, of her own side, proposes it in place of the old one; {voucher} of another approves."
    )
    demo.talks.pop(colleague).end_of_input()
    invitation = invite(demo, colleague, TRAVELLER, again=True)
    talk(demo, colleague)
    seated(join(demo, TRAVELLER, invitation))
    for name in others:
        _, left = demo.talks[name].event(event="left", name=TRAVELLER)
        _, came = demo.talks[name].event(event="seated", name=TRAVELLER)
        if left["seq"] != came["seq"]:
            raise DemoError("the old device should have gone when the new one came: this is a defect")
    talk(demo, TRAVELLER)
    attested(demo, TRAVELLER)
    for name in NAMES:
        places = {member["check_digits"]: member["phase"] for member in who(demo, name)}
        if old in places or places.get(digits) != "present" or len(places) != len(NAMES):
            raise DemoError(f"{name}'s device should have the new card in place of the old one: this is a defect")
    demo.say(
        "     She is invited, reads the charter again and joins: in one change of keys every device took the old"
    )
    demo.say("     one out and let the new one in, and all have attested it.")
