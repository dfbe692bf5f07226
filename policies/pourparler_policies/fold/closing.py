"""How a channel ends for everyone: agreed, acknowledged, the last keys disclosed, closed (DESIGN 4.4, #10).

1. From the moment at which the close takes effect nothing counts but what ends the channel: no word, no change.
2. Keys that were in use are disclosed only when every present device has said that it has read so far, or the absence
   limit has passed: who has not been heard of then is out by its own finding. So nobody who is behind can be
   deceived with them, and no vote can shorten that.
3. It ends by itself: by the last disclosure, or by time.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Final

from pourparler_policies.charter.document import PROCEDURE_MARGIN
from pourparler_policies.errors import Void
from pourparler_policies.limits import DAY

from . import events
from .events import Commit
from .facts import Device, Phase, State

# Seconds beyond the absence limit after which a device that has not renewed its keys is out by its own finding: so long
# the changes are kept that it would have to read ...
OUT_AFTER: Final = PROCEDURE_MARGIN
# ... and after which keys that were in use are shown: a day more, for clocks differ.
SHOWN_AFTER: Final = OUT_AFTER + DAY
MAX_SEEDS: Final = 1024  # in one event: one new key a day for a year and more, in 40 KiB
SEED_BYTES: Final = 32


class Stage(StrEnum):
    """Where the end of a channel stands."""

    LIVE = "live"
    ACKNOWLEDGING = "acknowledging"
    DISCLOSING = "disclosing"
    CLOSED = "closed"


# Stage -> when it begins, and what counts in it. `fold.apply` asks this before anything else.
STAGES: Final[dict[Stage, tuple[str, frozenset[type] | None]]] = {
    Stage.LIVE: ("the channel is founded", None),
    Stage.ACKNOWLEDGING: (
        "`close` takes effect; everything said is erased",
        frozenset({events.Acknowledged, events.Leaving}),
    ),
    Stage.DISCLOSING: (
        "every present device has acknowledged, or the absence limit and three days have passed",
        frozenset({events.Disclosed, events.Leaving}),
    ),
    Stage.CLOSED: (
        "every device that has acknowledged has disclosed its keys, or the notice has passed; "
        "everything else is erased",
        frozenset(),
    ),
}


def deadline(state: State, at: int) -> int:
    """Until when (Unix seconds) a close that takes effect at `at` waits for devices to acknowledge it."""
    return at + state.rules.absence + SHOWN_AFTER


def stage(state: State) -> Stage:
    """Where the state stands, by the log's time."""
    if state.closed:
        return Stage.CLOSED
    if not state.closing:
        return Stage.LIVE
    if _present(state) <= state.acknowledged or state.time >= state.closing:
        return Stage.DISCLOSING
    return Stage.ACKNOWLEDGING


def _present(state: State) -> frozenset[bytes]:
    return frozenset(card for card, device in state.devices.items() if device.phase is Phase.PRESENT)


def late(state: State) -> list[Device]:
    """Devices in the group that have not acknowledged, once nobody waits for them any more."""
    if stage(state) is not Stage.DISCLOSING:
        return []
    return [d for d in state.devices.values() if d.credential and d.card not in state.acknowledged]


def check_counts(state: State, content: events.Event | Commit | type) -> None:
    """Raises Void for what does not count in this stage. `content` may be an event's class."""
    now = stage(state)
    counts = STAGES[now][1]
    if counts is not None and (content if isinstance(content, type) else type(content)) not in counts:
        raise Void("the channel is closed" if now is Stage.CLOSED else "the channel is being ended for everyone")


def begin(state: State, at: int, seq: int) -> State:
    """The close takes effect: the table is empty, and what was said is erased."""
    return replace(state, closing=deadline(state, at), open={}, erased=max(state.erased, seq))


def acknowledge(state: State, device: Device) -> State:
    """A device has said that it has read so far. Raises Void."""
    if device.card in state.acknowledged:
        raise Void("this device has acknowledged the end already")
    return replace(state, acknowledged=state.acknowledged | {device.card})


def disclose(state: State, device: Device, seeds: tuple[bytes, ...]) -> State:
    """A device has shown keys that it does not use any more; at the end, all that it has left. Raises Void."""
    if not 1 <= len(seeds) <= MAX_SEEDS or any(len(seed) != SEED_BYTES for seed in seeds):
        raise Void(f"an event holds 1 to {MAX_SEEDS} keys of {SEED_BYTES} bytes")
    if not state.closing:
        return state
    if device.card not in state.acknowledged:
        raise Void("who has not acknowledged the end in time has nothing to disclose")
    if device.card in state.disclosed:
        raise Void("this device has disclosed its keys already")
    return replace(state, disclosed=state.disclosed | {device.card})


def settle(state: State) -> State:
    """What follows by itself from what the log holds, and from its time."""
    if stage(state) is not Stage.DISCLOSING:
        return state
    state = replace(state, closing=min(state.closing, state.time))  # no leaving makes the others wait anew
    left = _present(state) & state.acknowledged - state.disclosed
    over = state.time >= state.closing + state.rules.notice
    return replace(state, closed=True) if over or not left else state
