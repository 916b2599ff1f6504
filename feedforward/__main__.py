"""python -m feedforward: the command line."""

import sys

from feedforward.command import main

if __name__ == "__main__":
    sys.exit(main(program="python -m feedforward"))
