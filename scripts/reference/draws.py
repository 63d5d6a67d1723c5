"""Jobs and captures drawn freely: no test of ours may depend on windows that divide an hour."""
from reference import generate

SIZES_S = (1, 7, 45, 60, 61, 90, 180, 300, 300, 600, 1800, 3600, 5400)
# Where, and when by the clock there: mostly a short time before the clock changes.
PLACES = (
    ("UTC", "2024-01-30 12:00:00"),
    ("America/New_York", "2024-03-10 00:30:00"),
    ("America/New_York", "2024-11-03 00:30:00"),
    ("America/New_York", "2024-07-04 23:30:00"),
    ("Europe/London", "2024-03-31 00:10:00"),
    ("Europe/London", "2024-10-27 00:10:00"),
    ("Australia/Lord_Howe", "2024-04-07 00:40:00"),
    ("Australia/Lord_Howe", "2024-10-06 01:00:00"),
    ("Asia/Kathmandu", "2024-12-31 22:00:00"),
)
# A record is in at most so many windows.
OVERLAP_MAX = 6


def windows_s(draw, sizes=SIZES_S):
    """(window, slide, lateness) in seconds: tumbling or sliding, where the slide need not divide anything."""
    size = draw.choice(sizes)
    slide = size
    if draw.random() < 0.5:
        slide = draw.randint(max(1, -(-size // OVERLAP_MAX)), size)
        if draw.random() < 0.3 and size % 2 == 0:
            slide = size // 2
    lateness = draw.choice((0, 1, 30, 60, 100, 150, 300, size, size // 3, 2 * size))
    return size, slide, lateness


def capture(draw, messages, files=(1,)):
    """Options of a capture of any form, with shares of trouble up to a few in a hundred; `files` a partition."""
    zone, start = draw.choice(PLACES)
    form = draw.choice(generate.FORMS)
    is_enveloped = form == "envelopes"
    share = lambda most: round(draw.random() * most, 4)
    partitions = draw.randint(1, 5)
    idle = ((draw.randrange(partitions), 0.3, 0.45),) if partitions > 1 and draw.random() < 0.5 else ()
    return generate.Options(
        seed=draw.randrange(1 << 30), messages=messages, partitions=partitions, turnstiles=draw.choice((5, 50, 300)), start=start, zone=zone,
        rate=messages / (3600 * draw.choice((0.5, 2, 4, 8))), disorder=draw.choice((5.0, 60.0, 300.0)), skew=draw.choice((0.0, 30.0, 600.0)),
        odd=share(0.5), repeats=share(0.1), conflicts=share(0.03), no_id=share(0.03), late=share(0.03), bad=share(0.05),
        # Without timestamps one record of the future makes all that follow it late.
        ahead=share(0.01) if is_enveloped else 0.0, huge=share(0.01), form=form, long=draw.choice((0, 0, 0, 1)),
        foreign=share(0.1) if is_enveloped else 0.0, gaps=share(0.1) if is_enveloped else 0.0,
        no_timestamp=share(0.02) if is_enveloped else 0.0, files=draw.choice(files), open_ended=0.3, member=draw.choice((0, 100, 5000)), idle=idle)
