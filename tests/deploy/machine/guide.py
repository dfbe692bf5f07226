"""The commands of the operator's guide, in its order, so that the walk can do nothing else than what it says."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
GUIDE = REPOSITORY / "docs" / "guides" / "operator.md"
ELSEWHERE = {"In containers"}  # `make walk-containers` does these
_PIECE = re.compile(r"^## (?P<heading>[^\n]+)$|^```sh\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    heading: str
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    heading = ""
    for piece in _PIECE.finditer(text):
        heading = piece["heading"] or heading
        if piece["block"] and heading not in ELSEWHERE:
            found.append(Block(heading, tuple(line for line in piece["block"].splitlines() if line.strip())))
    return found


def packages(told: list[Block]) -> list[str]:
    """What the guide has installed from Debian."""
    lines = [line.partition("#")[0] for block in told for line in block.lines]
    installs = [line.partition("apt install")[2].split() for line in lines if "apt install" in line]
    return sorted({name for install in installs for name in install})
