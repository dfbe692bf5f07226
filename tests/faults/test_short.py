"""The short form of `make faults`: a few runs with seeds of their own; each prints the command that repeats it."""

import random

import pytest

from .shared import POSSIBLE
from .world import run

SEEDS = [random.SystemRandom().randrange(2**32) for _ in range(1)]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_whatever_befalls_the_service_what_it_acknowledged_is_delivered_once_and_in_order(number: int) -> None:
    print(f"make faults ARGS='--runs 1 --seed {SEEDS[number]}'")
    acknowledged, faults = run(SEEDS[number], 4.0)
    assert acknowledged
    assert faults


@pytest.mark.slow
def test_of_two_processes_on_two_hosts_too() -> None:
    if not POSSIBLE:
        pytest.skip("needs root, PostgreSQL, NATS and iproute2: its hosts are network namespaces")
    seed = random.SystemRandom().randrange(2**32)
    print(f"make faults ARGS='--runs 1 --engine postgresql --seed {seed}'")
    acknowledged, faults = run(seed, 4.0, "postgresql")
    assert acknowledged
    assert faults
