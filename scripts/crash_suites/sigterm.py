"""R25: SIGTERM drains: the run commits what it has read, exits with 0, and the next one goes on from there.

A lake takes several signals at random moments, the start included; each run must end with exit code 0 in --grace seconds,
say that it drained, and the lake must be what the reference program expects at the end. A signal that comes before the run listens ends
it as the system does (-15): such a run must have claimed nothing, and is counted apart.

  scripts/crash sigterm --signals 50
"""
import time

from crash_suites import rig as rigs


def options(parser):
    parser.add_argument("--signals", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--signals-a-run", type=int, default=5, help="how many of them one lake takes (default 5)")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds a drain may take (default 10)")
    parser.add_argument("--messages", type=int, default=20_000, help="messages of a capture (default 20000)")


def one_lake(rig, args, number):
    """Gives (seconds of each drain, signals that came before the run listened)."""
    draw = rigs.rng(args.seed, "sigterm", number)
    capture, lake, drains, early = rig.capture(args.seed * 1000 + 31 + number % 3, args.messages), rig.path("sigterm"), [], 0
    while len(drains) < args.signals_a_run:
        run, before = rig.start(lake, capture, draw.choice((1, 2, 3)), ["-o", "json"]), rigs.highest(lake)
        rigs.random_moment(draw, run, lake, before, 12, start=(0.02, 0.22), share=0.3)
        began = time.monotonic()
        run.child.terminate()
        code = rig.finish(run, args.grace * 3)
        if code == -15 and rigs.highest(lake) == before:
            early += 1
            continue
        if code != 0:
            raise rigs.Failed(f"a drain ended with {code}\n{run.said()}")
        if '"drained":true' not in run.said(3):
            raise rigs.Failed(f"a run ended by itself before its signal: lake {number} needs more messages\n{run.said()}")
        drains.append(time.monotonic() - began)
    rig.settle(lake, capture, draw.choice((1, 2, 3)))
    rig.verify(lake, capture)
    rig.forget(lake)
    return drains, early


def suite(rig, args):
    lakes = -(-args.signals // args.signals_a_run)
    for number in range(3):
        rig.capture(args.seed * 1000 + 31 + number, args.messages)
    results = rig.trials([lambda number=number: one_lake(rig, args, number) for number in range(lakes)])
    drains = sorted(seconds for times, _ in results for seconds in times)
    if drains[-1] > args.grace:
        raise rigs.Failed(f"a drain took {drains[-1]:.1f} s, longer than {args.grace} s")
    figures = {"exit_0": len(drains), "before_it_listened": sum(early for _, early in results), "lakes": lakes,
               "drain_p50": round(drains[len(drains) // 2], 3), "drain_most": round(drains[-1], 3)}
    return len(drains), {**rig.figures(), **figures}
