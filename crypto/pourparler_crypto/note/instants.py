"""Instants of UTC as text and back: `2026-12-01T09:00:00Z`. Pure arithmetic; the days are those of the
Gregorian calendar.
"""

import re
from typing import Final

from pourparler_crypto.errors import Malformed

_FORM: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_DAY: Final = 86_400  # seconds
_LAST: Final = 253_402_300_799  # 9999-12-31T23:59:59Z


def instant_text(instant: int) -> str:
    """20 characters, from Unix seconds of the years 1970 to 9999."""
    days, seconds = divmod(instant, _DAY)
    year = 1970
    while days >= _length_of(year):
        days -= _length_of(year)
        year += 1
    month = 1
    while days >= _days(year, month):
        days -= _days(year, month)
        month += 1
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{year:04}-{month:02}-{days + 1:02}T{clock}Z"


def read_instant(text: str) -> int:
    """Unix seconds. Raises Malformed for anything that `instant_text` does not write."""
    match = _FORM.fullmatch(text)
    if not match:
        raise Malformed("a time is written like 2026-12-01T09:00:00Z")
    year, month, day, hour, minute, second = map(int, match.groups())
    if year < 1970 or not 1 <= month <= 12 or not 1 <= day <= _days(year, month):
        raise Malformed("there is no such day")
    if hour > 23 or minute > 59 or second > 59:
        raise Malformed("there is no such time of day")
    days = sum(map(_length_of, range(1970, year))) + sum(_days(year, m) for m in range(1, month)) + day - 1
    return days * _DAY + hour * 3600 + minute * 60 + second


def is_instant(instant: int) -> bool:
    """Whether `instant_text` can write it."""
    return 0 <= instant <= _LAST


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _length_of(year: int) -> int:
    return 366 if _leap(year) else 365


def _days(year: int, month: int) -> int:
    if month == 2:
        return 29 if _leap(year) else 28
    return 30 if month in {4, 6, 9, 11} else 31
