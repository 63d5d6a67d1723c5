"""All suites but `memory`, as CI runs them, in about four minutes: those that mostly wait beside the others, on brokers of their own.

TLS and SASL want a binary of their own, given by --tls-binary; without it they are left out, and the last line says so.

  scripts/kafka-suite ci --binary BINARY --tls-binary BINARY
"""
import argparse
import concurrent.futures
import importlib
import os

from kafka_suites import rig as kafka

SELECTION = ("equal", "growing", "stalled", "observers", "renewed", "gone", "kill-anywhere", "processes", "rescaled", "music", "settings")
# Of what `rescaled` tries, too, less is tried than a suite of its own does.
WORDS = {"processes": ("--kills", "3")}


def options(parser):
    parser.add_argument("--two-halls", metavar="BINARY", type=os.path.abspath, help="a binary built with: cargo build --example two_halls")
    parser.add_argument("--tls-binary", metavar="BINARY", type=os.path.abspath, help="a binary built with: cargo build --features kafka-tls")


def one(rig, args, broker, name):
    """One suite with its own defaults, or fewer trials; gives how much it looked at."""
    module = importlib.import_module("kafka_suites." + name.replace("-", "_"))
    parser = argparse.ArgumentParser()
    module.options(parser)
    try:
        n, figures = module.suite(rig, parser.parse_args(WORDS.get(name, ()), argparse.Namespace(**vars(args))), broker)
    except kafka.Failed as failed:
        raise kafka.Failed(f"{name}: {failed}") from failed
    print(f"{name} held, n = {n}: {figures}", flush=True)
    return n


def killed(rig, args):
    """The suites that kill their broker."""
    broker = rig.broker("silenced")
    return sum(one(rig, args, broker, name) for name in ("truncated", "outage"))


def secure(rig, args):
    if not args.tls_binary:
        return 0
    own = argparse.Namespace(**{**vars(args), "binary": args.tls_binary, "keep": None})
    with kafka.Rig(own) as other:
        n = one(other, own, None, "secure")
        rig.compared, rig.audits = rig.compared + other.compared, rig.audits + other.audits
    return n


def trouble(rig, args):
    """The suite that mostly waits for a topic that was deleted."""
    return one(rig, args, rig.broker("troubled"), "trouble")


def suite(rig, args, broker):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        beside = [pool.submit(work, rig, args) for work in (killed, secure, trouble)]
        n = sum(one(rig, args, broker, name) for name in SELECTION)
        n += sum(future.result() for future in beside)
    skipped = {} if args.tls_binary else {"secure": "no binary with TLS was given"}
    if args.two_halls:
        n += one(rig, args, broker, "two-topics")
    else:
        skipped["two-topics"] = "no program of examples/two_halls.rs was given"
    return n, {**rig.figures(), "skipped": skipped}
