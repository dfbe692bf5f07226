"""What an operator's monitoring may know: whether the service is well, and how much it does by the hour.

1. No label names a channel, a device, a tenant, an address or a route.
2. What tells of people's doings (answers, refusals) is shown once an hour, rounded down to tens: a monitoring that
   keeps every reading must not be a record of who talked when. What tells of trouble (faults, a purge that is late, a
   full disk) is shown at once, and is no doing of a person.
3. Free space is rounded, so that no single attachment can be seen in it.
4. It is read on a port of its own, which belongs on loopback or a network of the operator's alone.

Prometheus' text format, by its own library (docs/decisions/0031).
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pourparler_policies.limits import HOUR
from pourparler_policies.wire import Problem

from .database import OUTSIDE_BACKUPS, DataError
from .problems import KINDS

STEP: Final = 10  # requests: activity is shown in whole steps
FREE_STEP: Final = 256 * 1024**2  # bytes: above the largest attachment
AGE_STEP: Final = 10  # seconds

_UNAVAILABLE: Final = KINDS[Problem.UNAVAILABLE].status
_PACED: Final = KINDS[Problem.BUDGET].status


@dataclass(slots=True, eq=False)
class Metrics:
    """Counts of one process since it started. `clock` gives Unix seconds; `places` are folders whose disks may fill."""

    clock: Callable[[], float]
    places: dict[str, Path] = field(default_factory=dict)
    faults: int = 0
    unavailable: int = 0
    purged_at: float = 0.0
    _answers: Counter[str] = field(default_factory=Counter)
    _shown: dict[str, int] = field(default_factory=dict)
    _hour: int = 0

    def __post_init__(self) -> None:
        self.purged_at = self.clock()
        self._hour = int(self.clock()) // HOUR

    def answered(self, status: int) -> None:
        """A request was answered with this HTTP status."""
        if status == _UNAVAILABLE:  # for the service's own reasons: trouble
            self.unavailable += 1
            return
        self._turn()
        self._answers["done" if status < 400 else "paced" if status == _PACED else "refused"] += 1

    def fault(self) -> None:
        """Something unexpected happened inside."""
        self.faults += 1

    def purged(self) -> None:
        """Everything that had expired was deleted."""
        self.purged_at = self.clock()

    def _turn(self) -> None:
        """At the first look or count of an hour, what was counted up to then is shown."""
        hour = int(self.clock()) // HOUR
        if hour != self._hour:
            self._hour = hour
            self._shown = {outcome: count // STEP * STEP for outcome, count in self._answers.items()}

    def collect(self) -> Iterator[Metric]:
        """As Prometheus' library asks for them."""
        self._turn()
        yield CounterMetricFamily("pourparler_faults", "Unexpected faults inside the service.", value=self.faults)
        yield CounterMetricFamily(
            "pourparler_unavailable", "Requests refused because nothing could be stored.", value=self.unavailable
        )
        late = max(0, int(self.clock() - self.purged_at)) // AGE_STEP * AGE_STEP
        yield GaugeMetricFamily(
            "pourparler_purge_age_seconds", "Since expired data were last deleted in full.", value=late
        )
        answers = CounterMetricFamily(
            "pourparler_answers", "Requests by outcome: told once an hour, in tens.", labels=["outcome"]
        )
        for outcome in ("done", "refused", "paced"):
            answers.add_metric([outcome], self._shown.get(outcome, 0))
        yield answers
        free = GaugeMetricFamily("pourparler_free_bytes", "Space left, rounded down.", labels=["place"])
        for place, folder in self.places.items():
            if folder.exists():  # not before the service has made it
                free.add_metric([place], shutil.disk_usage(folder).free // FREE_STEP * FREE_STEP)
        yield free


class Door:
    """Serves the metrics on a port of their own until it is closed. Raises OSError when the port is taken."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        registry = CollectorRegistry(auto_describe=False)  # of its own: the library's tells of the machine
        registry.register(metrics)
        self._server, self._thread = start_http_server(port, host, registry)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def open_door(metrics: Metrics, data: Path, host: str, port: int | None) -> Door | None:
    """The door at `port`, 0: at a free one; None when there is to be none. Raises DataError when the port is taken."""
    if port is None:
        return None
    metrics.places = {"data": data, "outside-backups": data / OUTSIDE_BACKUPS}
    try:
        return Door(metrics, host, port)
    except OSError as error:
        raise DataError(f"Metrics cannot be told at {host} port {port}: {error.strerror or error}.") from None
