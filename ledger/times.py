"""Times as text: RFC 3339 and XML Schema dates on one side, integer milliseconds and YYYYMMDD on the other.

Nothing here reads a clock.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from ledger.events import TIME_MS_MAX
from primitives.errors import InputError
from primitives.ids import TimeMs

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?")
_SHOWN_MAX = 40
_OFFSET_MINUTES_MAX = 14 * 60
_DAY_MS = 86_400_000
_WHOLE_LENGTH_MAX = len("2026-04-13T10:30:00+08:00")
MEMORY_ENTRIES = 8_192


def parse_time(text: str, *, where: str | None = None, default_offset_minutes: int | None = None) -> TimeMs:
    """Return a time such as 2026-04-13T10:30:00.5+08:00 in milliseconds since the epoch; finer digits are cut.

    Without an offset it is local time at `default_offset_minutes` east of UTC; InputError where that is None, where
    the text is no time, and for times before 1970.
    """
    # What arrives together is of the same few seconds; a fraction makes it another each time.
    read = _remembered_time if len(text) <= _WHOLE_LENGTH_MAX else _read_time
    time_ms = read(text, default_offset_minutes)
    if time_ms < 0:
        raise InputError(
            "not a time", where=where, expected="such as 2026-04-13T10:30:00+08:00", got=repr(text[:_SHOWN_MAX])
        )
    return TimeMs(time_ms)


def _read_time(text: str, default_offset_minutes: int | None) -> int:
    """Return a time in milliseconds since the epoch; below 0 where it is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return -1
    base, fraction, offset = match.groups()
    minutes = _offset_minutes(offset) if offset else default_offset_minutes
    if minutes is None or abs(minutes) > _OFFSET_MINUTES_MAX:
        return -1
    return _whole_ms(base, minutes) + (int(fraction.ljust(3, "0")[:3]) if fraction else 0)


def _whole_ms(base: str, minutes: int) -> int:
    """Return a time without its fraction in milliseconds since the epoch; -1000 where it is none."""
    day = _days(base[:10])
    hour, minute, second = int(base[11:13]), int(base[14:16]), int(base[17:])
    if day is None or hour > 23 or minute > 59 or second > 59:
        return -1_000
    return ((day * 24 + hour) * 60 + minute - minutes) * 60_000 + second * 1_000


@lru_cache(maxsize=MEMORY_ENTRIES)
def _days(text: str) -> int | None:
    """Return YYYY-MM-DD as days since the epoch, remembered; None where it is no date."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH.toordinal()
    except ValueError:
        return None


_remembered_time = lru_cache(maxsize=MEMORY_ENTRIES)(_read_time)


def _offset_minutes(offset: str) -> int:
    if offset == "Z":
        return 0
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return -minutes if offset[0] == "-" else minutes


def format_time(time_ms: int) -> str:
    """Return milliseconds since the epoch as RFC 3339 UTC, with the milliseconds only where there are some.

    What lies beyond the last time that can be written comes out as that one: a single cosigner may claim any time, and
    what the others cosigned with it must stay readable. InputError for a time before 1970.
    """
    if time_ms < 0:
        raise InputError("no time that RFC 3339 can write", expected="0 or more ms", got=time_ms)
    time_ms = min(time_ms, TIME_MS_MAX)
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time_ms % 1000:03d}Z" if time_ms % 1000 else text + "Z"


def day_of(time_ms: int) -> int:
    """Return the day in UTC of a time from 1970 on, as the number YYYYMMDD."""
    return _day(min(time_ms, TIME_MS_MAX) // _DAY_MS)


@lru_cache(maxsize=MEMORY_ENTRIES)
def _day(days: int) -> int:
    moment = _EPOCH + timedelta(days=days)
    return moment.year * 10_000 + moment.month * 100 + moment.day


def parse_date(text: str, *, where: str | None = None) -> int:
    """Return an XML Schema date (a time zone is allowed and ignored) as the number YYYYMMDD; InputError otherwise."""
    found = _date_number(text[: _SHOWN_MAX + 1])
    if not found:
        raise InputError("not a date", where=where, expected="YYYY-MM-DD", got=repr(text[:_SHOWN_MAX]))
    return found


@lru_cache(maxsize=MEMORY_ENTRIES)
def _date_number(text: str) -> int:
    """Return a date as the number YYYYMMDD, remembered; 0 where it is none."""
    match = _DATE.fullmatch(text)
    if match is None:
        return 0
    year, month, day = (int(part) for part in match.groups())
    return year * 10_000 + month * 100 + day if _is_date(year, month, day) else 0


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
