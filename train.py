"""Trains a network from the command line: `python train.py --help` lists the options."""

import sys

try:
    from feedforward.command import main
except ImportError as error:  # for example if another project's package hides one of ours
    sys.exit(f"train.py: {error}")

if __name__ == "__main__":
    sys.exit(main(program="python train.py"))
