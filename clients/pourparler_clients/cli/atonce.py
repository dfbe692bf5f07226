"""What cannot be taken back is said first, and done only after a yes."""

import argparse
from collections.abc import Sequence
from typing import Any, Final

from ..errors import UserError
from .common import emit
from .prompts import typed

YES: Final[tuple[str, dict[str, Any]]] = ("--yes", {"action": "store_true", "help": "do not ask again"})


async def agreed(arguments: argparse.Namespace, event: str, means: Sequence[str], word: str, nothing: str) -> None:
    """Says what it means, and asks for `word`. Raises UserError (`nothing`) unless it gets that, or --yes."""
    if arguments.yes:
        return
    emit(arguments, {"event": event, "means": list(means)}, means)
    answer = await typed(f'To do it, type "{word}": ', f"{nothing}: say --yes if that is what you want")
    if answer.lower() != word:
        raise UserError(nothing)
