"""`make walk-operator`: the operator's guide, done on a Debian 12 of its own with systemd, command by command.

Needs root, and Debian's and PyPI's registries for the first image. An emulated processor is slow: an hour
and more; with `--container` it takes minutes.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .guest import Computer, Container, Failed
from .guide import GUIDE, REPOSITORY, Block, blocks
from .image import Image, wanting
from .pair import Pair
from .walk import Walk

ONE = ("one_machine", "doors", "backups", "upgrade", "again")
TWO = ("set_up", "rolling", "copies", "mistakes", "again")


def say(line: str) -> None:
    print(line, flush=True)


def checkout() -> bytes:
    """The repository as it lies here, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    names = [name for name in listed if name and (REPOSITORY / name).is_file()]
    return subprocess.run(
        ["tar", "-c", "--owner=0", "--group=0", "-T", "-"],
        cwd=REPOSITORY,
        input="\n".join(names).encode(),
        check=True,
        capture_output=True,
    ).stdout


def walk(kind: type[Walk], steps: tuple[str, ...], told: list[Block], options: argparse.Namespace) -> list[Block]:
    """Returns the blocks of the guide that were not done."""
    image = Image(options.folder)
    guest = Container(image) if options.container else Computer(image, options.accel)
    try:
        guest.put(checkout())
        walker = kind(guest, told, say)
        for step in steps:
            began = time.monotonic()
            say(f"{kind.__name__}: {step}")
            doing: Callable[[], None] = getattr(walker, step)
            doing()
            say(f"{kind.__name__}: {step} done in {time.monotonic() - began:.0f} s")
    except (Failed, subprocess.CalledProcessError, AssertionError) as error:
        say(f"{error}")
        if options.keep:
            say(f"the machine stays: {' '.join(guest.ssh())}; enter ends it")
            sys.stdin.readline()
        raise SystemExit(1) from None
    else:
        return walker.left
    finally:
        guest.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="walk-operator", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=REPOSITORY / "build" / "machine", help="where the image is kept"
    )
    parser.add_argument("--accel", default="tcg,thread=multi", help="of qemu; kvm where the machine has it")
    parser.add_argument(
        "--container", action="store_true", help="not in qemu but in systemd-nspawn: ten times faster"
    )
    parser.add_argument(
        "--keep", action="store_true", help="when something fails, leave the machine up to look at"
    )
    parser.add_argument("--only", choices=("one", "pair"), help="one half of it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the machine is ended too
    if missing := wanting():
        sys.exit(f"The walk needs: apt install {' '.join(missing)}")
    Image(options.folder).make()
    told, began = blocks(GUIDE.read_text()), time.monotonic()
    halves = {"one": (Walk, ONE), "pair": (Pair, TWO)}
    chosen = [options.only] if options.only else list(halves)
    left = [set(walk(*halves[half], told, options)) for half in chosen]
    if not options.only and (forgotten := set.intersection(*left)):
        sys.exit(f"Nobody has walked: {forgotten}")
    say(f"The guide was walked in {(time.monotonic() - began) / 60:.0f} minutes.")


main()
