"""Compares what a job must write with what it has written."""
import collections

from reference import lake, message

# How much of a long message a dead letter keeps, and how many differences are shown of each kind.
KEPT_BYTES = 4096
EXAMPLES = 5


def compare(answer, folder, job="turnstile"):
    """(a report for machines, lines for people). The report says `equal`."""
    rows, epochs = lake.rows(folder, job)
    kinds = {
        "rows": (answer.rows, rows),
        "dead": (expected_dead(answer), lake.dead(folder, job)),
        "late": (expected_late(answer), lake.late(folder, job)),
    }
    written = sum(rows.values())
    last_epoch = epochs[max(epochs, default=0)]
    report = {"equal": True, "written": written, "written_before_last_epoch": written - last_epoch, "epochs": len(epochs)}
    lines = []
    for name, (expected, found) in kinds.items():
        missing, unexpected = expected - found, found - expected
        report[name] = {"expected": expected.total(), "missing": missing.total(), "unexpected": unexpected.total()}
        report["equal"] = report["equal"] and not missing and not unexpected
        lines += examples(f"{name}: missing", missing) + examples(f"{name}: unexpected", unexpected)
    report["fates"] = answer.fates
    return report, lines


def expected_dead(answer):
    return collections.Counter(
        (one.partition, one.message.offset, one.reason, one.message.kafka_ms, kept(one.message.value)) for one in answer.dead)


def expected_late(answer):
    return collections.Counter(
        (one.partition, one.message.offset, one.event_time_ms, one.stamp_ms, one.message.kafka_ms, kept(one.message.value))
        for one in answer.late)


def kept(value):
    """What a lake keeps of the bytes of a message."""
    if value is None or len(value) <= message.BYTES_MAX:
        return value
    return len(value), value[:KEPT_BYTES]


def examples(title, differences):
    shown = sorted(differences, key=repr)[:EXAMPLES]
    return [f"  {title} {item!r:.300}" for item in shown]
