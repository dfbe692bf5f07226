"""When a stored text stops opening: never before its expiry, and at most a stated time after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pourparler_policies import hours
from pourparler_policies.errors import Misuse
from pourparler_policies.limits import DAY, HOUR, MAX_LIFE

LIVES = st.one_of(st.integers(1, HOUR), st.integers(1, 2 * DAY), st.integers(1, MAX_LIFE))


@given(expires_at=st.integers(1_700_000_000, 4_000_000_000), life=LIVES)
def test_a_text_ends_at_its_expiry_or_within_the_stated_time_after_it(expires_at: int, life: int) -> None:
    late = hours.end(expires_at, life) - expires_at
    assert 0 <= late < (10 if life < HOUR else 60 if life < DAY else 3600)


@given(life=st.integers(MAX_LIFE // 400, MAX_LIFE))
def test_who_lives_a_day_ends_at_most_a_twenty_fourth_of_its_life_late(life: int) -> None:
    assert hours.step(life) * 24 <= life


@pytest.mark.parametrize(
    ("life", "expires_at", "end"),
    [
        (20, 1_800_000_001, 1_800_000_010),
        (20, 1_800_000_010, 1_800_000_010),
        (HOUR - 1, 1_800_000_011, 1_800_000_020),
        (HOUR, 1_800_000_001, 1_800_000_060),
        (DAY - 1, 1_800_000_061, 1_800_000_120),
        (DAY, 1_800_000_001, 1_800_003_600),
        (MAX_LIFE, 1_800_003_600, 1_800_003_600),
    ],
)
def test_ends_by_example(life: int, expires_at: int, end: int) -> None:
    assert hours.end(expires_at, life) == end


@pytest.mark.parametrize("life", [0, -1])
def test_no_life_is_refused(life: int) -> None:
    with pytest.raises(Misuse):
        hours.end(1_800_000_000, life)
