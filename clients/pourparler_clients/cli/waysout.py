"""Ways out of a channel: wherever somebody copies, exports or prints, the charter's reporting rule is shown first.

Nobody can be prevented from telling; but nobody shall do it without having seen what was agreed.
"""

import argparse
from typing import Final

from pourparler_policies.charter import reporting

from ..channel import Channel
from .texts import plain, progress

_LEAVES: Final = "This leaves “{title}”. What its charter says of that: {rule}"


def remind(arguments: argparse.Namespace, channel: Channel) -> None:
    """Says what may be told to whom, on standard error."""
    charter = channel.log.charter
    progress(arguments, _LEAVES.format(title=plain(charter.title, lines=False), rule=plain(reporting(charter))))
