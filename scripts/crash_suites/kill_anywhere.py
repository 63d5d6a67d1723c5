"""R01: SIGKILL at random moments, with the number of workers drawn anew at each start.

A run is one lake: the job is started on 1, 2 or 3 workers, killed, started again, …, and at the end left alone. Then its
rows, dead letters and late records must be what the reference program expects, and no file that a reader had seen may have changed.
A kill counts only if it met the run at work: after it had claimed the lake and committed an epoch. One in five aims at
the start, at recovery, instead; those are counted apart. Each run must have committed at least --epochs-min epochs.

  scripts/crash kill-anywhere                    50 kills
  scripts/crash kill-anywhere --kills 1000       the figure of the scoreboard; about an hour
  scripts/crash kill-anywhere --views            the same with live tables, which must be what the committed rows add up to
"""
import collections

from crash_suites import rig as rigs

# Where a run is before it has committed an epoch.
AT_START = ("before-claim", "claimed")
# How many live tables the job has.
VIEWS_MIN = 8


def options(parser):
    parser.add_argument("--kills", type=int, default=50, help="kills that meet a run at work (default 50)")
    parser.add_argument("--kills-a-run", type=int, default=10, help="how many of them one lake takes (default 10)")
    parser.add_argument("--messages", type=int, default=27_000, help="messages of a capture (default 27000)")
    parser.add_argument("--views", action="store_true", help="with live tables, verified at the end")
    parser.add_argument("--epochs-min", type=int, default=200, help="epochs each lake must have (default 200)")


def one_lake(rig, args, number):
    """Kills one job as often as planned, lets it end and compares; gives (kills by phase, epochs)."""
    draw = rigs.rng(args.seed, "kill-anywhere", number)
    # A few captures are shared by many lakes: what differs is when it is killed.
    capture = captured(rig, args, number % 5)
    more = ["--views"] if args.views else []
    lake = rig.path("kill")
    kills, seen = killed_often(rig, args, number, draw, lake, lambda workers: rig.start(lake, capture, workers, more), 25)
    rig.settle(lake, capture, draw.choice((1, 2, 3)), more)
    still_there(seen, rigs.committed_files(lake))
    rig.verify(lake, capture)
    if args.views:
        told = rig.call([rig.binary, "views", "verify", "--lake", lake, "-o", "json"], f"the views of {lake} are wrong")
        if len(told.splitlines()) < VIEWS_MIN:
            raise rigs.Failed(f"lake {number} has only these views:\n{told}")
    epochs = rigs.head(lake)["epoch"]
    if epochs < args.epochs_min:
        raise rigs.Failed(f"lake {number} has only {epochs} epochs, fewer than {args.epochs_min}")
    rig.forget(lake)
    return kills, epochs


def killed_often(rig, args, number, draw, lake, start, epochs):
    """Starts a job and kills it within so many epochs, as often as planned; gives (kills by phase, files that were seen)."""
    kills, seen = collections.Counter(), {}
    todo = min(args.kills_a_run, args.kills - number * args.kills_a_run)
    while todo > 0:
        generation, before = rigs.next_generation(lake), rigs.highest(lake)
        run = start(draw.choice((1, 2, 3)))
        rigs.random_moment(draw, run, lake, before, epochs)
        if rig.kill(run) != -9:
            raise rigs.Failed(f"lake {number} ended before all kills had happened: {todo} are left\n{run.said()}")
        where = rigs.phase(lake, generation)
        kills[where] += 1
        todo -= where not in AT_START
        still_there(seen, rigs.committed_files(lake))
    return kills, seen


def captured(rig, args, number):
    """A capture that the job can read with its views, if it has any."""
    capture = rig.capture_for_views if args.views else rig.capture
    return capture(args.seed * 1000 + number, args.messages)


def still_there(seen, now):
    """What a reader saw stays as it was, for ever; notes what is new."""
    changed = [name for name, facts in seen.items() if now.get(name) != facts]
    if changed:
        raise rigs.Failed(f"{changed[0]} was {seen[changed[0]]} and is {now.get(changed[0])}")
    seen.update(now)


def suite(rig, args):
    lakes = -(-args.kills // args.kills_a_run)
    for number in range(min(lakes, 5)):
        captured(rig, args, number)
    results = rig.trials([lambda number=number: one_lake(rig, args, number) for number in range(lakes)])
    n, figures = figures_of(results, args.kills)
    return n, {**rig.figures(), **figures}


def figures_of(results, planned):
    """Kills in all, and what there is to say of them; `results` has (kills by phase, epochs) of each lake."""
    kills = sum((kills for kills, _ in results), collections.Counter())
    n, at_start = kills.total(), sum(kills[where] for where in AT_START)
    if n - at_start != planned:
        raise rigs.Failed(f"{planned} kills were planned, and {n - at_start} met a run at work")
    return n, {"kills_at_work": planned, "kills_at_start": at_start, "phases": dict(sorted(kills.items())), "lakes": len(results),
               "epochs_least": min(epochs for _, epochs in results), "bound_95": round(3 / n, 5)}
