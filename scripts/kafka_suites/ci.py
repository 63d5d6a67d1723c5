"""All suites, as CI runs them.

  scripts/kafka-suite ci --binary BINARY
"""
import argparse
import importlib

from kafka_suites import rig as kafka

SELECTION = (("equal",),)


def options(parser):
    del parser


def suite(rig, args, broker):
    figures = {}
    for name, *words in SELECTION:
        module = importlib.import_module("kafka_suites." + name.replace("-", "_"))
        parser = argparse.ArgumentParser()
        module.options(parser)
        own = parser.parse_args(words, argparse.Namespace(**vars(args)))
        try:
            figures[name] = module.suite(rig, own, broker)[1]
        except kafka.Failed as failed:
            raise kafka.Failed(f"{name}: {failed}") from failed
        print(f"{name} held", flush=True)
    return len(figures), figures
