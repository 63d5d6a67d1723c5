"""Text of a time to milliseconds since 1970-01-01 in UTC."""
import datetime as dt
import functools
import re
import zoneinfo

EPOCH = dt.datetime(1970, 1, 1)
DAY_S = 86_400
YEARS = range(1970, 3000)
OFFSET_HOURS_MAX = 18
WHEN = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?"
    r"(?P<place>Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)?")
SHORT_DATE = re.compile(r"([0-9]{2})-([0-9]{2})-([0-9]{2})")
LONG_DATE = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})")


class NoTime(Exception):
    """The text is not a time, or the clock never showed it."""


class Clock:
    """The wall clock of a time zone."""

    def __init__(self, zone):
        self.zone = zoneinfo.ZoneInfo(zone)
        self.offsets_near = functools.lru_cache(maxsize=4096)(self.look_up_offsets_near)

    def offset_s(self, utc_s):
        """How far the wall clock is ahead of UTC at an instant."""
        utc = (EPOCH + dt.timedelta(seconds=utc_s)).replace(tzinfo=dt.timezone.utc)
        return int(utc.astimezone(self.zone).utcoffset().total_seconds())

    def look_up_offsets_near(self, day):
        """The offsets in use from the day before `day` to the day after it; days are counted from 1970."""
        hours = range((day - 1) * DAY_S, (day + 2) * DAY_S + 1, 3600)
        return sorted({self.offset_s(at) for at in hours})

    def wall(self, utc_s):
        """What the clock shows at an instant."""
        offsets = self.offsets_near(utc_s // DAY_S)
        return EPOCH + dt.timedelta(seconds=utc_s + (offsets[0] if len(offsets) == 1 else self.offset_s(utc_s)))

    def instants_s(self, wall_s):
        """When the wall clock shows `wall_s`, seconds since 1970 on that clock: never, once, or twice; earliest first."""
        offsets = self.offsets_near(wall_s // DAY_S)
        if len(offsets) == 1:
            return [wall_s - offsets[0]]
        return sorted(wall_s - offset for offset in offsets if self.offset_s(wall_s - offset) == offset)

    def parse_ms(self, text, newest_ms=None):
        """The instant of `YYYY-MM-DD HH:MM:SS`, which may have a fraction of a second, and `Z` or an offset from UTC.

        Of two instants the one nearer to `newest_ms` is meant; the earlier one if both are as near or nothing is known.
        """
        found = WHEN.fullmatch(text)
        if not found:
            raise NoTime(text)
        wall_s = wall_seconds(found["date"], found["time"])
        fraction_ms = int(((found["fraction"] or "") + "000")[:3])
        if found["place"]:
            return (wall_s - place_s(found)) * 1000 + fraction_ms
        instants_ms = [at * 1000 + fraction_ms for at in self.instants_s(wall_s)]
        if not instants_ms:
            raise NoTime(text)
        if newest_ms is None:
            return instants_ms[0]
        return min(instants_ms, key=lambda at: abs(at - newest_ms))

    def date_and_time(self, utc_ms):
        """`MM/DD/YYYY` and `HH:MM:SS` on the wall at an instant."""
        wall = self.wall(utc_ms // 1000)
        return f"{wall.month:02}/{wall.day:02}/{wall.year:04}", f"{wall.hour:02}:{wall.minute:02}:{wall.second:02}"


def wall_seconds(date, time):
    """Seconds since 1970 on a wall clock that shows `date` and `time`."""
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in time.split(":"))
    if year not in YEARS:
        raise NoTime(date)
    try:
        shown = dt.datetime(year, month, day, hour, minute, second)
    except ValueError:
        raise NoTime(f"{date} {time}") from None
    return (shown - EPOCH) // dt.timedelta(seconds=1)


def place_s(found):
    """How far a clock with the offset in the text, or `Z`, is ahead of UTC."""
    if found["place"] == "Z":
        return 0
    hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
    if hours > OFFSET_HOURS_MAX or minutes > 59:
        raise NoTime(found[0])
    return (hours * 3600 + minutes * 60) * (-1 if found["sign"] == "-" else 1)


def joined(date, time):
    """The columns DATE (`MM-DD-YY` of the years from 2000, or `MM/DD/YYYY`) and TIME as one text."""
    if found := SHORT_DATE.fullmatch(date):
        month, day, year = found[1], found[2], "20" + found[3]
    elif found := LONG_DATE.fullmatch(date):
        month, day, year = found[1], found[2], found[3]
    else:
        raise NoTime(date)
    return f"{year}-{month}-{day} {time}"
