"""Programs that the tests start on several ranks: ``mpiexec -n 2 python mpi_programs.py NAME``.

Each returns what it has found on its rank; rank 0 prints the results of all ranks as JSON.
"""

import hashlib
import json
import os
import signal
import sys
import warnings

from mpi4py import MPI
import numpy as np

from datasets import Dataset, load
from feedforward import Experiment
from nn import (
    CrossEntropy,
    Dense,
    Dropout,
    EarlyStopping,
    GradientNorms,
    History,
    MeanSquaredError,
    Model,
    ReLU,
    Softmax,
    Tanh,
)
from nn.distributed import DistributedObjective, Message, combine_triangles, share
from nn.history import Position
from nn.mpi import Ranks
from optimizers import OPTIMIZERS, get

COMM = MPI.COMM_WORLD
SECOND_ORDER = ("newton", "cg", "bfgs", "lbfgs", "lm")
DIGITS = load("digits")
X, Y = DIGITS.x_train[:103].astype(float), DIGITS.y_train[:103]


class Counting(MPI.Intracomm):
    """A communicator that notes the bytes of each message that is summed."""

    sums: list[int] = []

    def Allreduce(self, send, receive, *args):
        self.sums.append(receive.nbytes)
        return super().Allreduce(send, receive, *args)


def network(name="adam", hidden=2, dtype="float64", dropout=0.0):
    loss = MeanSquaredError() if name == "lm" else CrossEntropy()
    return Model([Dense(64, hidden, init="xavier"), Tanh(), Dropout(dropout), Dense(hidden, 10, init="xavier"),
                  Softmax()], loss, seed=3, dtype=dtype)


def digest(model):
    return hashlib.sha256(model.theta.tobytes()).hexdigest()


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


def difference(a, b):
    return float(np.linalg.norm(a.theta - b.theta) / np.linalg.norm(a.theta))


def compare(make, optimizer, comm=COMM, **options):
    """Train on one process and on all ranks; return the relative difference and whether all bytes are the same."""
    alone, together = make(), make()
    options = {"validation_data": (X[:31], Y[:31]), "progress": False, "threads": 1, **options}
    before = alone.theta.copy()
    first = alone.fit(X, Y, optimizer(), **options)
    second = together.fit(X, Y, optimizer(), comm=comm, **options)
    assert not np.array_equal(before, alone.theta)
    same = alone.theta.tobytes() == together.theta.tobytes() and without_seconds(first) == without_seconds(second)
    return {"difference": difference(alone, together), "same": same, "digest": digest(together),
            "steps": len(first)}


def optimizers(steps):
    """Every optimizer of the table: `steps` steps, on batches of unequal size, or on all examples."""
    steps, results = int(steps), {}
    for name in OPTIMIZERS:
        size = len(X) if name in SECOND_ORDER else 26  # the last batch has 25
        epochs = steps if name in SECOND_ORDER else steps // 4
        results[name] = compare(lambda name=name: network(name), lambda name=name: get(name), batch_size=size,
                                epochs=epochs)
    return results


def single_steps(steps):
    """Steps of each second-order optimizer, each from the same state on one process and on all ranks.

    Beside the difference is that of a step of one process from weights that differ by one rounding error.
    """
    results = {}
    for case, fields, n in [*((name, {}, len(X)) for name in SECOND_ORDER), ("lm", {"form": "dual"}, 10)]:
        name = case + fields.get("form", "")
        models, trainers = [network(case) for _ in "abc"], [get(case, **fields) for _ in "abc"]
        histories = [History() for _ in "abc"]
        alone, moved, worst = models[0], np.random.default_rng(0), [0.0, 0.0]
        for step in range(int(steps)):
            for model, optimizer in zip(models[1:] if step else [], trainers[1:]):
                model.theta = alone.theta
                optimizer.restore(trainers[0].state(), model.theta)
            models[2].theta *= 1 + 1e-16 * moved.choice([-2, 0, 2], alone.theta.size)
            for model, optimizer, history, comm in zip(models, trainers, histories, (None, COMM, None)):
                model.fit(X[:n], Y[:n], optimizer, 1, n, progress=False, threads=1, history=history, comm=comm)
            worst = [max(worst[k], difference(alone, models[k + 1])) for k in (0, 1)]
        results[name] = {"difference": worst[0], "of a rounding error": worst[1]}
    return results


def forms():
    """The other forms of second-order methods, samples of the curvature, dropout, weights and small batches."""
    rng = np.random.default_rng(0)
    cases = {
        "newton cg": ("newton", {"form": "cg"}, {}), "gauss-newton": ("newton", {"curvature": "gauss-newton"}, {}),
        "newton sample": ("newton", {"sample": 0.05}, {}), "lm qr": ("lm", {"form": "qr"}, {}),
        "lm products": ("lm", {"form": "products"}, {}),
        "lm sample": ("lm", {"form": "products", "sample": 0.3}, {}),
        "mini-batches of lbfgs": ("lbfgs", {}, {"batch_size": 40}),
        "weights": ("adam", {}, {"sample_weight": rng.random(len(X)), "class_weight": "balanced", "batch_size": 20}),
        "clipped": ("nesterov", {"clip_norm": 0.5, "weight_decay": 0.01}, {"batch_size": 20}),
        "fewer rows than ranks": ("adam", {}, {"batch_size": 2}),
        "a last batch of one row": ("adam", {}, {"batch_size": 51}),
        "whole set": ("adam", {}, {}),
        "in the order of the data": ("rmsprop", {}, {"batch_size": 10, "shuffle": False}),
    }
    results = {}
    for case, (name, fields, options) in cases.items():
        results[case] = compare(lambda name=name: network(name), lambda name=name, fields=fields: get(name, **fields),
                                **{"epochs": 4, "batch_size": len(X), **options})
    for dtype in ("float32", "float64"):
        for case, name, size in (("mini-batches", "adam", 26), ("whole set", "lbfgs", len(X)), ("tiny", "gd", 2)):
            results[f"dropout, {case}, {dtype}"] = compare(
                lambda dtype=dtype: network("adam", hidden=5, dtype=dtype, dropout=0.4), lambda name=name: get(name),
                epochs=3, batch_size=size)
    return results


def in_parts():
    """A network so large that rules change its parameters in parts, on one thread and on two, in float32."""
    def make():
        return Model([Dense(64, 2000), ReLU(), Dense(2000, 10), Softmax()], CrossEntropy(), seed=1)
    return {f"{name}, {threads} threads": compare(make, lambda name=name: get(name), batch_size=50, epochs=2,
                                                  threads=threads)
            for name in ("adam", "momentum", "lbfgs") for threads in (1, 2)}


def messages(name, hidden, shared="shared"):
    """The numbers and bytes of the messages of four steps of an optimizer, perhaps without shared memory."""
    if shared != "shared":
        del os.memfd_create
    model, comm = network(name, int(hidden), "float32"), Counting(COMM)
    Counting.sums.clear()
    model.fit(X, Y, get(name), 1, 26, progress=False, comm=comm, threads=1)
    return {"sums": Counting.sums, "bytes": model.theta.nbytes, "size": COMM.size, "digest": digest(model)}


def shared_sums(fault=""):
    """Sums of arrays of several sizes and dtypes; on the last rank, one part of sharing memory fails."""
    class Broken:
        def __getattr__(self, name):
            return getattr(os, name)

        def memfd_create(self, *args):
            if fault == "no memory":
                raise OSError("no memory")
            return os.memfd_create(*args)

        def open(self, *args):
            if fault == "cannot be opened":
                raise OSError("not permitted")
            return os.open(*args)

        def pread(self, *args):
            return b"another" if fault == "another process" else os.pread(*args)

    from nn import shared_memory
    ranks, right, bits, shared = Ranks(COMM), True, [], set()
    if ranks.rank == ranks.size - 1:
        shared_memory.os = Broken()
    for dtype in ("float32", "float64"):
        for n in (1, 63, 64, 1000, 100_003):
            sums = shared_memory.shared_sum(ranks, n, dtype)
            shared.add(sums is not None)
            for k in range(3 if sums else 0):
                numbers = np.random.default_rng(k).normal(size=(ranks.size, n)).astype(dtype)
                sums.own[:] = numbers[ranks.rank]
                sums.sum()
                right &= bool(np.allclose(sums.own, numbers.sum(axis=0), atol=1e-5 if dtype == "float32" else 1e-13))
                bits.append(sums.own.copy())
    return {"shared": shared == {True}, "right": right, "digest": hashlib.sha256(b"".join(
        a.tobytes() for a in bits)).hexdigest()}


def derivatives(rows):
    """Everything that an objective can compute, beside the same of one process; perhaps some ranks have no row."""
    n = int(rows)
    ranks, model = Ranks(COMM), network("lm", 3)
    whole = model.objective(X[:n], Y[:n])
    other = network("lm", 3)
    message = Message(ranks, other.theta.size, other.theta.dtype)
    other.network.bind(message.gradient)
    part = share(n, ranks.rank, ranks.size)
    x, target = other.check_data(X[:n], Y[:n])
    from nn.network import Batch
    from nn.objective import BatchObjective, run_in_turn
    local = BatchObjective([(other.network, Batch(x[part], target[part], 1 / n))])
    divided = DistributedObjective(local, message, part, n, run_in_turn, 1)
    v = np.random.default_rng(1).normal(size=whole.theta.size)
    some = np.arange(0, n, 3)
    results = {}
    for name, call in {
        "value": lambda f: f.value(), "gradient": lambda f: f.value_and_gradient()[1],
        "correct": lambda f: f.correct(), "hessian product": lambda f: f.hessian_product(v),
        "gauss-newton product": lambda f: f.gauss_newton_product(v), "hessian": lambda f: f.hessian(),
        "gauss-newton": lambda f: f.gauss_newton(), "residuals": lambda f: f.residuals(),
        "jacobian": lambda f: f.jacobian(), "residual count": lambda f: f.residual_count(),
        "triangle": lambda f: f.residual_triangle().T @ f.residual_triangle(), "correct again": lambda f: f.correct(),
        "gradient of a subsample": lambda f: f.subsample(some).value_and_gradient()[1],
        "product of a subsample": lambda f: f.subsample(some).gauss_newton_product(v),
        "value again": lambda f: f.value(), "cost": lambda f: f.gradients, "evaluations": lambda f: f.evaluations,
    }.items():
        expected, found = np.array(call(whole), float), np.array(call(divided), float)
        assert expected.shape == found.shape, name
        if name not in ("cost",) or ranks.rank == 0:  # a rank without rows has no cost
            results[name] = float(np.abs(expected - found).max() / max(1e-300, np.abs(expected).max()))
    return results


def triangles():
    """The triangle of all rows, from those of the ranks, some of which have few rows or none."""
    ranks = Ranks(COMM)
    A = np.random.default_rng(0).normal(size=(40, 6)) * 10.0 ** -np.arange(6)
    rows = A[3 * ranks.rank : 3 * ranks.rank + 3] if ranks.rank < ranks.size - 1 else A[3 * ranks.rank :]
    R = combine_triangles(np.linalg.qr(rows, mode="r"), ranks)
    expected = np.linalg.qr(A, mode="r")
    error = np.abs(np.abs(R) - np.abs(expected)).max(axis=0) / np.abs(expected).max(axis=0)
    return {"error": float(error.max()), "digest": hashlib.sha256(R.tobytes()).hexdigest()}


class StopAfter:
    """Stop training on one rank after some steps or in some way."""

    def __init__(self, rank, steps, action):
        self.left, self.action = steps if COMM.rank == rank else -1, action

    def on_step_end(self, model, examples):
        self.left -= 1
        if self.left == 0:
            self.action(model)


def stop(model):
    model.stop_training = True


def interrupt(model):
    os.kill(os.getpid(), signal.SIGINT)


def change(model):
    model.theta[0] += 1e-9


def fail(model):
    raise RuntimeError("no more")


def kill(model):
    os.kill(os.getpid(), signal.SIGKILL)


def fit_with(callbacks, epochs=5, **options):
    """Train; return how far it came and which error ended it."""
    model, history, error = network(), History(), ""
    try:
        model.fit(X, Y, get("adam"), epochs, 26, validation_data=(X[:20], Y[:20]), progress=False, threads=1, comm=COMM,
                  history=history, callbacks=callbacks, **options)
    except (Exception, KeyboardInterrupt) as caught:
        error = f"{type(caught).__name__}: {caught}"
    position = history.position
    return {"epochs": len(history), "steps": position.steps if position else 0, "error": error, "digest": digest(model),
            "history": without_seconds(history)}


def stops():
    """A callback that stops one rank, Ctrl-C on one rank, a callback that changes one rank alone; early stopping."""
    last = COMM.size - 1
    alone = network()
    early = alone.fit(X, Y, get("adam"), 60, 26, validation_data=(X[:20], Y[:20]), progress=False, threads=1,
                      callbacks=[EarlyStopping("val_loss", patience=1, min_delta=0.05)])
    return {"stop": fit_with([StopAfter(last, 6, stop)]), "stop at first": fit_with([StopAfter(last, 1, stop)]),
            "stop at the end of an epoch": fit_with([StopAfter(last, 8, stop)]),
            "interrupt": fit_with([StopAfter(last, 6, interrupt)]),
            "change": fit_with([StopAfter(last, 6, change)]),
            "early": fit_with([EarlyStopping("val_loss", patience=1, min_delta=0.05)], 60),
            "early alone": {"epochs": len(early)}}


def leave(model):
    sys.exit(0)


def ending(action):
    """One rank fails within a training: this must end all ranks."""
    fit_with([StopAfter(COMM.size - 1, 6, {"fail": fail, "kill": kill, "leave": leave}[action])], 10**9)
    return {}


def failing_run(rank):
    """A run of a study fails by an error of the program, while the others would take hours."""
    class Fail:
        def on_epoch_end(self, model, epoch):
            if COMM.rank == int(rank):
                fail(model)

    Experiment(optimizer=["gd", "adam", "momentum"], dataset="digits", hidden=[2], epochs=10**7).run(
        callbacks=[Fail()], progress=False, comm=COMM)
    return {}


def early_futures():
    """A study whose runs end before the executor has returned their futures."""
    import time

    from mpi4py.futures import MPIPoolExecutor
    submit = MPIPoolExecutor.submit

    def slowly(*args):
        future = submit(*args)
        time.sleep(0.3)
        return future

    MPIPoolExecutor.submit = slowly
    runs = Experiment(optimizer=["gd", "adam", "momentum"], dataset="digits", hidden=[2], epochs=1).run(
        progress=False, comm=COMM)
    return {"epochs": [len(run.history) for run in runs]}


def forked():
    """A child that is forked after a training on several ranks has its own gradient."""
    model = network(hidden=20)
    model.fit(X, Y, get("adam"), 1, 26, progress=False, threads=1, comm=COMM)
    before = model.network.grad.copy()
    child = os.fork()
    if child == 0:
        model.network.grad.fill(0)
        os._exit(0)
    os.waitpid(child, 0)
    return {"same": bool(before.any()) and np.array_equal(before, model.network.grad)}


def watchers():
    """Callbacks that only watch are called on rank 0; others on all ranks, with the same numbers."""
    class Watcher:
        only_rank_0 = True

        def __init__(self):
            self.calls = 0

        def on_epoch_end(self, model, epoch):
            self.calls += 1

    def agreement(true, predicted):
        return float((true == predicted).mean())

    watcher, norms = Watcher(), GradientNorms()
    found = fit_with([watcher, norms], metrics={"agreement": agreement})
    return {**found, "calls": watcher.calls}


def refused(what):
    """One rank has other data, settings or weights; all ranks refuse to train."""
    last, model = COMM.rank == COMM.size - 1, network()
    options = {"epochs": 2, "batch_size": 26, "progress": False, "threads": 1, "comm": COMM}
    x, optimizer = X, get("adam")
    if what == "data" and last:
        x = X * 1.5
    elif what == "nan" and last:
        x = np.where(X[0, 2] == X, np.nan, X)
    elif what == "settings" and last:
        options["batch_size"] = 25
    elif what == "optimizer" and last:
        optimizer = get("adam", lr=0.02)
    elif what == "no history" and last:
        options["history"] = 5
    elif what == "history":
        options["history"] = History()
        options["history"].position = Position(1, steps=int(last), total=4)
    elif what == "weights" and last:
        model.theta[5] += 1e-16
    elif what == "version" and last:
        np.__version__ = "1.0"
    elif what == "layer":
        class Mean(type(model.layers[1])):
            independent_rows = False
        model = Model([Dense(64, 10), Mean(), Softmax()], CrossEntropy())
    try:
        model.fit(x, Y, optimizer, **options)
    except ValueError as error:
        return {"error": str(error)}
    return {"error": ""}


def refused_experiment(what):
    """One rank has another experiment; all ranks refuse to run it."""
    other = COMM.rank == COMM.size - 1
    data = Dataset("rows", X * (1.5 if what == "data" and other else 1), Y, X, Y, None, DIGITS.classes)
    experiment = Experiment(["adam", "gd"], dataset=data, epochs=3 if what == "epochs" and other else 2,
                            seed=int(what == "seed" and other))
    try:
        experiment.run(progress=False, comm=COMM)
    except ValueError as error:
        return {"error": str(error)}
    return {"error": ""}


def warned():
    """Warnings of a training are shown by rank 0 alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = Model([Dense(64, 10, init="zeros"), ReLU(), Dense(10, 10, init="zeros"), Softmax()], CrossEntropy())
        model.fit(X, Y, get("gd", lr=1e-30), 8, progress=True, comm=COMM, threads=1)
    return {"warnings": len(caught)}


class CountedRows:
    """Rows in memory, of which each rank counts those that it reads."""

    block_ends = np.append(np.arange(4, 100, 4), 103)

    def __init__(self):
        self.read_rows = 0

    def __len__(self):
        return len(X)

    def read(self, start, stop):
        self.read_rows += stop - start
        return X[start:stop], Y[start:stop]


def rows():
    """Training on rows that are read block by block: beside one process, and how many rows this rank reads."""
    results = {}
    for name, size in (("adam", 20), ("lbfgs", len(X)), ("lm", len(X)), ("gd", 1)):
        alone, together, counted, validation = network(name), network(name), CountedRows(), CountedRows()
        options = {"epochs": 3, "batch_size": size, "progress": False, "threads": 1}
        first = alone.fit_rows(CountedRows(), get(name), validation_data=CountedRows(), **options)
        second = together.fit_rows(counted, get(name), validation_data=validation, comm=COMM, **options)
        losses = [np.subtract(first[key], second[key]) for key in ("loss", "val_loss", "val_accuracy")]
        results[name] = {"difference": difference(alone, together), "losses": float(np.abs(losses).max()),
                         "read": counted.read_rows, "validation": validation.read_rows, "digest": digest(together)}
    return results


def folder(path):
    """An experiment on a folder that is read in blocks, beside one process."""
    options = {"dataset": path, "epochs": 2, "hidden": [4], "dtype": "float64", "batch_size": 30}
    alone, together = (Experiment(**options).run(progress=False, comm=comm) for comm in (None, COMM))
    return {"difference": difference(alone.model, together.model), "digest": digest(together.model),
            "scores": float(abs(alone[0].test["loss"] - together[0].test["loss"])),
            "accuracy": together[0].training["accuracy"] == alone[0].training["accuracy"]}


if __name__ == "__main__":
    found = COMM.gather(globals()[sys.argv[1]](*sys.argv[2:]))
    if COMM.rank == 0:
        print(json.dumps(found))

