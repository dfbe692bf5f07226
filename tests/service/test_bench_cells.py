"""The matrix of `make bench-service` in small: what it fills is a service that works, and none of its load is lost."""

import sys
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from pourparler_policies.limits import DAY
from pourparler_service.postgres.testing import databases
from pourparler_service.testing import b64, bearer, running

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.service.cells import Cell, Load, prepared, relay, service
from tests.bench.service.inserts import bare
from tests.bench.service.profiling import shares

LOAD = Load(rate=40, seconds=0.5)
CELLS = [
    Cell("sqlite", devices=3, channels=4, stored=120),
    Cell("sqlite", devices=3, channels=12, spread=True),
    Cell("postgresql", devices=3, channels=4, stored=120),
    Cell("postgresql", processes=2, devices=13, channels=2),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_everybody_receives_what_the_load_of_a_cell_says(cell: Cell, tmp_path: Path) -> None:
    figures = service(cell, LOAD, tmp_path)
    for part in (figures.full, figures.fixed):
        assert part.delivered == part.accepted * (1 if cell.spread else cell.devices)
        assert part.own > 0
        assert 0 < part.p50 <= part.p95 <= part.p99
    assert (figures.stored is None) == bool(cell.stored)


def test_everybody_receives_what_is_sent_through_the_relay_that_stores_nothing() -> None:
    cell = Cell("relay", devices=3, channels=2)
    part = relay(cell, LOAD).full
    assert part.delivered == 3 * part.accepted


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_filled_service_knows_its_channels_and_pages_through_what_lies_there(
    engine: str, tmp_path: Path
) -> None:
    cell = Cell(engine, devices=2, channels=5, stored=100)
    with databases(tmp_path) if engine == "postgresql" else nullcontext(None) as name:
        seats = prepared(tmp_path, name, cell)
        with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
            for channel in seats:
                for seat in channel:
                    place, token = f"/v1/channels/{b64(seat.channel)}", bearer(seat.token)
                    assert client.get(place, headers=token).json()["head"] == seat.after
                    page = client.get(f"{place}/entries?after=0", headers=token).json()["entries"]
                    filled = [one for one in page if one["expires_at"] - one["received_at"] >= DAY]
                    assert [one["seq"] for one in filled] == [*range(seat.after - 19, seat.after + 1)]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_bare_inserts_are_timed(engine: str, tmp_path: Path) -> None:
    found = bare(engine, 8, 0.2, tmp_path)
    assert found.rate > 0
    assert (found.engines > 0) == (engine == "postgresql") or not found.engines  # a tick of CPU may be too coarse


def test_a_profile_names_what_a_sample_was_spent_on_by_the_innermost_frame_that_is_known() -> None:
    told = shares(
        [
            "run (asyncio/base_events.py:1);append (pourparler_service/append.py:9);x (lib.py:1) 3",
            "run (asyncio/base_events.py:1);_perform (pourparler_service/writer.py:7);commit (sqlite3.py:2) 1",
        ]
    )
    assert "| checking and storing an append | 75% |" in told
    assert "| waiting for the disk or the database | 25% |" in told
    assert "| `append (service/append.py)` | 75% |" in told
