"""The operator's limits. They bind every charter, and none may be looser than the protocol's own limits.

Each number has its unit and its reason beside it. `pourparler serve` sets them by option (`--largest-entry`) or by
environment (`POURPARLER_LARGEST_ENTRY`); the option wins.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pourparler_policies import limits, wire


def _cap(default: int, low: int, high: int, unit: str, reason: str) -> int:
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "reason": reason})


@dataclass(frozen=True, slots=True)
class Caps:
    """What this operator allows. Raises ValueError on a number outside the protocol's limits."""

    largest_entry: int = _cap(
        limits.MAX_SEALED, limits.BUCKETS[0], limits.MAX_SEALED, "bytes", "a large entry costs every reader"
    )
    longest_life: int = _cap(
        limits.MAX_LIFE, limits.MIN_LIFE, limits.MAX_LIFE, "seconds", "what is not here cannot be seized"
    )
    longest_absence: int = _cap(
        limits.MAX_LIFE, limits.MIN_LIFE, limits.MAX_LIFE, "seconds", "a token that nobody uses should end"
    )
    longest_box_life: int = _cap(
        limits.MAX_BOX_LIFE, limits.MIN_LIFE, limits.MAX_BOX_LIFE, "seconds", "an invitation left lying is a risk"
    )
    devices_a_channel: int = _cap(128, 1, 1024, "devices", "fan-out: each entry goes to each of them")
    bytes_a_channel: int = _cap(
        1024**3,
        4 * limits.MAX_SEALED,
        2**50,
        "bytes",
        "one token must not fill the disk: room for a million messages",
    )
    boxes_a_device: int = _cap(16, 1, 1024, "boxes", "invitations one device may have open at a time")
    halves_a_device: int = _cap(
        12_000, 64, 100_000, "key halves", "every hour of the longest life, and every minute of a day"
    )
    largest_attachment: int = _cap(
        limits.ATTACHMENT_SIZES[-1],
        limits.ATTACHMENT_SIZES[0],
        limits.ATTACHMENT_SIZES[-1],
        "bytes",
        "room for a file of 100 MiB; a slow line carries less",
    )
    attachments_a_channel: int = _cap(
        1024**3,
        limits.ATTACHMENT_SIZES[-1],
        2**50,
        "bytes",
        "one token must not fill the disk; apart from the entries, so that files never crowd out words",
    )
    rounds_a_channel: int = _cap(
        16, 1, 1024, "rounds", "one token must not fill the disk; a day of talk has a few rounds of ideas"
    )
    open_cases: int = _cap(
        1024, 1, 100_000, "cases", "each holds up to 0.8 MB of the desk until it ends; tied to no channel"
    )
    case_burst: int = _cap(64, 1, 10**6, "cases", "a meeting of many sides may open several at once")
    case_refill: int = _cap(
        5, 1, 86_400, "seconds until one more case may be opened", "releases are rare; nobody shows a token here"
    )
    longest_case: int = _cap(
        90 * limits.DAY, limits.HOUR, limits.MAX_LIFE, "seconds", "what lies at the desk can be seized there"
    )
    board_bytes: int = _cap(1024**3, 1024**2, 2**50, "bytes", "the board keeps for ever what was published")
    slow_reader: int = _cap(30, 1, 3600, "seconds", "a reader that takes nothing for so long is cut off")
    requests_burst: int = _cap(1000, 1, 10**9, "requests", "a client that folds a long absence sends many at once")
    requests_rate: int = _cap(
        100, 1, 10**9, "requests a second", "far above any person, below what starves the rest"
    )
    handshake_burst: int = _cap(
        limits.HANDSHAKE_BURST, 1, limits.HANDSHAKE_BURST, "handshakes", "six devices can be seated at once"
    )
    newcomer_handshakes: int = _cap(
        0, 0, limits.HANDSHAKE_BURST, "handshakes", "what a new device may post at once: a member could mint them"
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value, meta = getattr(self, item.name), item.metadata
            if not meta["low"] <= value <= meta["high"]:
                raise ValueError(
                    f"{item.name} must lie between {meta['low']} and {meta['high']} {meta['unit']}, not {value}"
                )

    @property
    def spent_by_newcomers(self) -> float:
        """Handshakes that a new device counts as spent: else a member could make them out of devices that it seats."""
        return float(max(0, self.handshake_burst - self.newcomer_handshakes))

    def on_the_wire(self) -> wire.Caps:
        """What clients are told."""
        return wire.Caps(
            largest_entry=self.largest_entry,
            longest_life=self.longest_life,
            longest_absence=self.longest_absence,
            devices_a_channel=self.devices_a_channel,
            longest_box_life=self.longest_box_life,
            largest_attachment=self.largest_attachment,
            attachments_a_channel=self.attachments_a_channel,
            halves_a_device=self.halves_a_device,
            longest_case=self.longest_case,
        )

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Give `parser` one option a cap."""
        group = parser.add_argument_group("operator's caps")
        for item in fields(Caps):
            meta = item.metadata
            group.add_argument(
                "--" + item.name.replace("_", "-"),
                type=int,
                metavar="N",
                help=f"{meta['unit']}, {item.default} unless told otherwise: {meta['reason']}",
            )

    @classmethod
    def from_options(cls, args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Self:
        """Read options and environment. Raises ValueError with one clear sentence."""
        chosen: dict[str, Any] = {}
        for item in fields(cls):
            name = "POURPARLER_" + item.name.upper()
            value = getattr(args, item.name, None)
            if value is None and name in environment:
                try:
                    value = int(environment[name])
                except ValueError:
                    raise ValueError(f"{name} must be a whole number of {item.metadata['unit']}") from None
            if value is not None:
                chosen[item.name] = value
        return cls(**chosen)
