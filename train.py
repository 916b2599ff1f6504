"""Trains a network from the command line: `python train.py --help` lists the options."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not ignored
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while Python still imports ends it without a traceback

try:
    from feedforward.command import main
except ImportError as error:  # for example if another project's package hides one of ours
    advice = ": run it by .venv/bin/python, which make train sets up" if error.name == "numpy" else ""
    sys.exit(f"train.py: {error}{advice}")

if __name__ == "__main__":
    sys.exit(main(program="python train.py"))
