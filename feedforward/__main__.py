"""python -m feedforward: the command line."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is not ignored
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while Python still imports ends it without a traceback

from feedforward.command import main


def run() -> int:
    """Run the command line of an installation, which is named feedforward."""
    return main()


if __name__ == "__main__":
    sys.exit(main(program="python -m feedforward"))
