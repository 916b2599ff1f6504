"""The cost model of benchmarks.scaling, and its short form."""

import importlib.util
import json
import math
import sys

import pytest

from benchmarks.scaling import __main__ as command
from benchmarks.scaling import prediction, ranks, training
from benchmarks.scaling.cost import (
    TERMS,
    Cluster,
    Local,
    Network,
    Triangles,
    Work,
    fit,
    limit,
    message_bytes,
    predict,
    step_amounts,
    sum_amounts,
)
from benchmarks.scaling.report import draw, report
from benchmarks.scaling.settings import SHORT

CORES = 2
LOCALS = {
    "small": Local(40_000, (1, 64, 128), (1e-4, 2e-4, 4e-4), (1e-6, 1e-5, 3e-5), 5e-5),
    "keras": Local(670_000, (1, 64, 128), (3e-4, 2e-3, 3e-3), (1e-6, 1e-5, 3e-5), 3e-4),
    "adam-paper": Local(1_800_000, (1, 64, 128), (2e-3, 6e-3, 1e-2), (1e-6, 1e-5, 3e-5), 4e-3),
}
CONSTANTS = dict(zip(TERMS, (1.1, 1.2, 0.9, 0.3, 2e-5, 4e-6, 1.5e-10, 1e-6, 5e-11)))
CONFIGURATIONS = [(name, N, batch) for name in LOCALS for N in (1, 2, 4) for batch in (32, 64, 128, N * 128)]


def test_the_fit_finds_the_constants():
    rows = [step_amounts(LOCALS[name], batch, N, CORES, shared) for name, N, batch in CONFIGURATIONS
            for shared in (False, True)]
    rows += [sum_amounts(4**k, N, CORES, shared) for N in (2, 4) for k in range(1, 13) for shared in (False, True)]
    constants = fit(rows, [predict(CONSTANTS, row) for row in rows])
    assert constants == pytest.approx(CONSTANTS, rel=1e-6)


def test_constants_are_not_negative():
    rows = [{"step": 1.0, "rounds": n} for n in (0.0, 1.0, 2.0)]
    assert fit(rows, [3.0, 2.0, 1.0])["rounds"] == 0.0


def test_amounts_of_a_step():
    local = LOCALS["small"]
    one, two, four = (step_amounts(local, 128, N, CORES, False) for N in (1, 2, 4))
    assert one == {"gradient": 4e-4, "update": 5e-5, "gather": 3e-5, "neighbour": 0, "step": 1, "rounds": 0, "bytes": 0}
    assert two["gradient"] == 2e-4
    assert two["neighbour"] == 5e-5
    assert (two["rounds"], two["bytes"]) == (1, message_bytes(40_000, 2))
    assert (four["update"], four["rounds"]) == (1e-4, 4), "two ranks share a core"
    assert four["gradient"] == pytest.approx(2 * (1e-4 + 1e-4 * 31 / 63)), "32 rows: between 1 and 64"
    shared = step_amounts(local, 128, 2, CORES, True)
    assert "rounds" not in shared
    assert (shared["shared rounds"], shared["shared bytes"]) == (two["rounds"], two["bytes"])
    assert step_amounts(local, 256, 1, CORES, False)["gradient"] == pytest.approx(8e-4), "in proportion"


def test_an_allreduce_in_a_network():
    network = Network("", 1e-5, 1e9)
    assert network.allreduce(1e9, 1) == 0
    assert network.allreduce(0, 1000) == pytest.approx(10 * 1e-5)
    assert network.allreduce(8e6, 8) == pytest.approx(6 * 1e-5 + 2 * 7 / 8 * 8e-3), "long messages are divided"
    assert network.allreduce(8.0, 8) == pytest.approx(3 * (1e-5 + 8e-9)), "short ones are sent as a whole"


def test_a_step_on_machines():
    network, local = Network("", 1e-5, 1e9), LOCALS["keras"]
    cluster = Cluster(network, CONSTANTS, speed=2)
    own = (1.1 * 2e-3 + 1.2 * 3e-4 + 0.9 * 1e-5 + 2e-5) / 2
    assert cluster.first_order(local, 128, 2) == pytest.approx(own + network.allreduce(message_bytes(670_000, 2), 2))
    work = Work(gradients=3, vectors=2, values=1, rest=0.5)
    assert cluster.second_order(local, 64, work, 1) == pytest.approx(3 * 1.1 * 2e-3 / 2 + 0.25)
    messages = 2 * network.allreduce(message_bytes(670_000, 64), 64) + network.allreduce(message_bytes(0, 64), 64)
    assert cluster.second_order(local, 64, work, 64) == pytest.approx(3 * 1.1 * 3e-4 / 2 + 0.25 + messages)
    triangles = Triangles(columns=100, example=1e-6, merge=1e-3, rest=1e-2)
    assert cluster.triangles(1000, triangles, 8) == pytest.approx(
        (125e-6 + 1e-2 + 3e-3) / 2 + 3 * network.exchange(8 * 100**2))


def test_efficiencies():
    assert prediction.strong(lambda N: 1.0 / N, (1, 8)) == {1: 1, 8: 1}
    assert prediction.strong(lambda N: 1.0, (1, 8)) == {1: 1, 8: 1 / 8}
    assert prediction.weak(lambda N: float(N), (1, 8)) == {1: 1, 8: 1 / 8}
    assert limit({1: 1.0, 2: 0.7, 3: 0.5, 4: 0.4, 5: 0.6}) == 3
    assert prediction.largest(lambda numbers: {N: 1 / math.sqrt(N) for N in numbers}) == "4"
    assert prediction.largest(lambda numbers: {N: 1.0 for N in numbers}) == "above 1,024"


def test_the_report_of_what_a_model_would_measure():
    """It predicts the configuration that is left out, if the measurements are those of a model."""
    names = ("second_order", "triangles", "parts")
    measured = json.loads(json.dumps({name: command.PARTS[name](SHORT) for name in names}))
    local = prediction.locals_of(measured)["small"]
    configurations = [(N, batch, shared) for N in (1, 2, 4) for batch in (32, 64, 128, N * 128)
                      for shared in (False, True) if N > 1 or not shared]
    measured["steps"] = [{"workload": "small", "ranks": N, "batch": batch, "shared": shared,
                          "seconds": predict(CONSTANTS, step_amounts(local, batch, N, CORES, shared))}
                         for N, batch, shared in dict.fromkeys(configurations)]
    measured["sums"] = [{"ranks": N, "bytes": size, "shared": shared,
                         "seconds": predict(CONSTANTS, sum_amounts(size, N, CORES, shared))}
                        for N in (2, 4) for size in (4, 4096, 1 << 20) for shared in (False, True)]
    measured["batches"] = [
        {"optimizer": "adam", "batch": batch, "rule": rule, "warmup": False, "lr": 0.1, "seed": 0,
         "accuracies": accuracies, "failed": failed}
        for batch, rule, accuracies, failed in ((128, "the same lr", [0.9, 0.975, 0.98], False),
                                                (512, "the same lr", [0.8, 0.9, 0.96], False),
                                                (512, "lr k", [0.9], True))]
    measured["memory"] = {"workload": "small", "rows": 1000, "megabytes": 3.0, "runs": [
        {"ranks": 2, "in memory": False, "of each": [{"before": 50.0, "peak": 60.0, "seconds": 1.0},
                                                     {"before": 50.0, "peak": 62.0, "seconds": 1.1}]}]}
    measured["epochs"] = {"small": {"2 threads": [1.0, 2.0], "2 ranks of 1 thread": [2.0, 6.0]}}
    text = report(measured, CORES, "this machine")
    assert "an error of +0.0%" in text or "an error of -0.0%" in text
    assert "| 2 threads | 1.500 (2.50) |" in text
    assert "| 2 ranks, in blocks | 50 | 12 | 1.00 |" in text
    assert "| adam, lr k |  | 0.00 ± 0.00 |" in text, "this run has diverged"
    steps = 2 * math.ceil(1437 / 128)
    assert f"| adam, batch 128, the same lr | 98.00 | {steps} | 2 |" in text
    assert "| adam, batch 512, the same lr | 96.00 |  |  |" in text, "the better rule, by which 97 % is not reached"
    for name in draw(measured, CORES):
        assert f"(benchmarks/figures/{name})" in text


@pytest.mark.slow
def test_the_short_form(tmp_path, monkeypatch):
    if not importlib.util.find_spec("mpi4py"):
        pytest.skip("mpi4py is not installed")
    try:
        ranks.launcher(2)
    except RuntimeError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(training, "RATES", {"adam": 0.001})
    monkeypatch.setattr(training, "RULES", {"the same lr": 0.0})
    monkeypatch.setattr(sys, "argv", ["scaling", "--short", str(tmp_path)])
    command.main()
    assert json.loads((tmp_path / "measured.json").read_text()).keys() == command.PARTS.keys()
    assert (tmp_path / "SCALING.md").read_text().startswith("# Scaling")
    assert len(list(tmp_path.glob("*.png"))) == 5
