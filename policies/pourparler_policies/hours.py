"""When a stored text stops opening for good: at the first round instant after its expiry, its *end*.

The service destroys its half of the key of an end at that instant (DESIGN 4.4). Many texts share few round
instants, so that what a device asks for says little; the shorter a life, the finer they are:

    a text that lives      has an end at a full    and opens at most so much later than its expiry
    less than an hour      ten seconds             10 seconds
    less than a day        minute                  60 seconds
    a day or more          hour                    3,600 seconds, a twenty-fourth of its life

The life is the one that the text was given, not what is left of it: every device finds the same end.
"""

from .errors import Misuse
from .limits import DAY, HOUR, LONG_STEP, MIDDLE_STEP, SHORT_STEP


def step(life: int) -> int:
    """How far the ends of texts of this life (seconds) lie apart, in seconds. Raises Misuse."""
    if life <= 0:
        raise Misuse("a life is more than no time")
    if life < HOUR:
        return SHORT_STEP
    return MIDDLE_STEP if life < DAY else LONG_STEP


def end(expires_at: int, life: int) -> int:
    """The end (Unix seconds) of a text that expires at `expires_at` after `life` seconds. Raises Misuse."""
    return -(-expires_at // step(life)) * step(life)
