"""How much of a burst is spent: one pace for requests, handshakes, and openings of cases and tallies."""

import math

from pourparler_policies.wire import Problem

from .problems import Refusal


def spend(spent: float, seconds: float, refill: float, burst: int, sentence: str) -> float:
    """What is spent of a burst after one more, `seconds` after it was `spent`; one comes back every `refill` seconds.

    Raises Refusal: budget, with the `sentence` and the time to wait. Less than no time is no time: whoever keeps the
    moment moves it back when the clock was set back, or nothing would come back until it has caught up.
    """
    after = max(0.0, spent - max(0.0, seconds) / refill) + 1
    if after > burst:
        wait = max(1, math.ceil((after - burst) * refill))
        raise Refusal(Problem.BUDGET, sentence, headers={"Retry-After": str(wait)})
    return after
