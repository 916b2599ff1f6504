"""Whether epochs become slower during a training: the seconds of epochs 26 to 30 over those of epochs 2 to 6.

    python -m benchmarks.drift

Averages of rarely used weights decay into denormal numbers, which are slow on many processors unless they are flushed.
JAX, which flushes them, shows how the machine itself changes in the same time.
"""

import argparse
import statistics

from benchmarks import speed
from benchmarks.networks import new_model
from benchmarks.peers import Epoch
from benchmarks.report import machine, replace_on_this_machine, table, versions
from benchmarks.turns import Program, take_turns
from datasets import load
from nn import History
from optimizers import OPTIMIZERS, FirstOrder, get

EPOCHS, FIRST, LAST = 30, slice(1, 6), slice(25, 30)
RULES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]
JAX = "JAX, adam"


def turn(rule: str, workload: str, data_dir: str | None) -> Epoch:
    """Return the epoch of a rule; a process of its own calls this."""
    if rule == JAX:
        return speed.turn("JAX, an epoch", workload, data_dir)
    data, (widths, batch) = load("mnist", data_dir), speed.WORKLOADS[workload]
    model, optimizer, history = new_model(widths), get(rule), History()

    def epoch() -> float:
        before = history[-1]["seconds"] if history else 0.0
        model.fit(data.x_train, data.y_train, optimizer, 1, batch, progress=False, history=history)
        return history[-1]["seconds"] - before

    return epoch


def measure(workload: str, data_dir: str | None) -> dict[str, float]:
    """Return the drift of each rule and of JAX: they take turns, epoch by epoch."""
    programs = {rule: Program("benchmarks.drift:turn", {"rule": rule, "workload": workload, "data_dir": data_dir})
                for rule in (*RULES, JAX)}
    return {rule: statistics.median(seconds[LAST]) / statistics.median(seconds[FIRST])
            for rule, seconds in take_turns(programs, EPOCHS, workload).items()}


def main() -> None:
    """Measure, and write the part "drift" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--workload", nargs="+", choices=speed.WORKLOADS, default=list(speed.WORKLOADS))
    args = parser.parse_args()
    drifts = {name: measure(name, args.data_dir) for name in args.workload}
    rows = [[rule, *(f"{drift[rule]:.3f}" for drift in drifts.values())] for rule in (*RULES, JAX)]
    text = table(["", *drifts], rows)
    print(text)
    replace_on_this_machine("drift", f"""
{text}

The median of epochs 26 to 30 over the median of epochs 2 to 6: 1 if epochs do not become slower. All take turns, epoch
by epoch, each in a process of its own. Measured by `python -m benchmarks.drift --workload {' '.join(drifts)}` on
{machine()}; {versions("jax", "numba")}.
""")


if __name__ == "__main__":
    main()
