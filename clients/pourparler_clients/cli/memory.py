"""What of this process's memory the machine would keep by itself: passphrases, keys and texts are in it.

Loads nothing that could reach a network: `verify` needs it. Swap, hibernation and who may read memory as
administrator are out of a program's reach (docs/guides/device.md).
"""

import ctypes
import resource
import sys
from contextlib import suppress
from typing import Final

_DUMPABLE: Final = 4  # PR_SET_DUMPABLE, prctl(2)


def keep_no_image() -> None:
    """From now on the system writes no core dump of this process, and gives none to a program that collects them."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
