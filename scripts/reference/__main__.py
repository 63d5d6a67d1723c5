#!/usr/bin/env python3
"""The reference program: what the turnstile job must make of a capture, computed slowly and plainly.

It follows the description of messages, windows and lateness in the README, shares no code with the engine, and needs Python
alone. See `cli.py` for its commands.

  python3 scripts/reference --help
  python3 -m unittest discover -s scripts/reference -t scripts      its own tests
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from reference import cli  # noqa: E402 (after the path is known)

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
