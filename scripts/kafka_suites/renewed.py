"""A topic that is deleted under the job, made again, and filled with other records up to offsets that fit.

Its name is the same and the job's offsets are there: only its id tells. The job must stop with exit code 4 and say so,
and nothing of the new topic may be in the lake: not by the time somebody looks for new partitions, but ever. Started
again, it must refuse.
"""
from kafka_suites import rig as kafka


def options(parser):
    parser.add_argument("--messages", type=int, default=6_000, help="messages of the topic (default 6000)")
    parser.add_argument("--trials", type=int, default=3, help="topics that are made again (default 3)")


def one_trial(rig, args, broker, number):
    topic, lake = f"renewed-{number}", rig.path("renewed")
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 50, args.messages))
    run, half = rig.first_half(broker, topic, lake, todo, workers=1 + number % 3)
    broker.ask("delete", topic=topic)
    broker.ask("create", topic=topic, partitions=4)
    # More of them than before, so that every offset of the job is there.
    rig.write(broker, topic, f"{topic}-b", todo).result()
    rig.finds_another(run)
    if kafka.consumed(lake) != half:
        raise kafka.Failed(f"{kafka.consumed(lake) - half} records of the new topic were committed")
    rig.finds_another(rig.job(broker, topic, lake))
    if rig.audit(lake)[0] != 0:
        raise kafka.Failed("the audit does not hold")


def suite(rig, args, broker):
    rig.capture(args.seed * 1000 + 50, args.messages)
    results = rig.trials([lambda number=number: one_trial(rig, args, broker, number) for number in range(args.trials)])
    return len(results), {"renewed": len(results)}
