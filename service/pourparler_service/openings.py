"""One pace for all at which cases and tallies are opened, tied to no channel: nobody shows a token there (#28)."""

from pourparler_policies.wire import Problem

from .paces import spend
from .problems import Refusal
from .settings import Settings


class Openings:
    """Of `things` (a word for people, in the plural): so many in a burst, then one after another (`caps`)."""

    def __init__(self, settings: Settings, things: str, full: str) -> None:
        self._settings, self._things, self._full = settings, things, full
        self._spent = 0.0  # of the burst
        self._at = 0.0

    def spend(self, living: int) -> None:
        """One more, beside so many that are open. Raises Refusal."""
        caps, now = self._settings.caps, self._settings.clock()
        if living >= caps.open_cases:
            raise Refusal(Problem.OVER_CAP, self._full.format(caps.open_cases))
        self._at = min(self._at, now)  # the clock may have been set back: count from there
        sentence = f"Too many {self._things} are being opened."
        self._spent = spend(self._spent, now - self._at, caps.case_refill, caps.case_burst, sentence)
        self._at = now
