"""All suites, as CI runs them: the outage beside the others, on a broker of its own, since it mostly waits.

  scripts/kafka-suite ci --binary BINARY
"""
import argparse
import concurrent.futures
import importlib

from kafka_suites import rig as kafka

BESIDE = ("outage",)
SELECTION = ("equal", "growing", "observers", "renewed", "kill-anywhere")


def options(parser):
    del parser


def one(rig, args, broker, name):
    """One suite with its own defaults; gives its figures."""
    module = importlib.import_module("kafka_suites." + name.replace("-", "_"))
    parser = argparse.ArgumentParser()
    module.options(parser)
    try:
        n, figures = module.suite(rig, parser.parse_args([], argparse.Namespace(**vars(args))), broker)
    except kafka.Failed as failed:
        raise kafka.Failed(f"{name}: {failed}") from failed
    print(f"{name} held, n = {n}: {figures}", flush=True)
    return n


def suite(rig, args, broker):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        own = rig.broker("silenced")
        beside = pool.submit(lambda: sum(one(rig, args, own, name) for name in BESIDE))
        n = sum(one(rig, args, broker, name) for name in SELECTION)
        n += beside.result()
    return n, rig.figures()
