"""fit_rows: the order of rows that are read block by block, the same training as in memory, and what does not fit."""

from itertools import chain, pairwise

import numpy as np
import pytest

from nn import (
    Checkpoint,
    CrossEntropy,
    Dense,
    Dropout,
    History,
    MeanSquaredError,
    Model,
    ReLU,
    Rescale,
    Softmax,
    Standardize,
)
from nn.blocks import Blocks
from nn.rows import CheckedRows
from optimizers import OPTIMIZERS, get

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
SECOND_ORDER = ("newton", "cg", "bfgs", "lbfgs", "lm")


class Rows:
    """Rows in memory that count how often they are read."""

    def __init__(self, x=X, y=Y, ends=None, names=()):
        self.x, self.y, self.block_ends, self.feature_names, self.reads = x, y, ends, names, []

    def __len__(self):
        return len(self.x)

    def read(self, start, stop):
        self.reads.append((start, stop))
        return self.x[start:stop], self.y[start:stop]


def numbered(n, ends):
    """Return rows whose x and y are their numbers, and the function with which Blocks checks them."""
    return CheckedRows(Rows(np.arange(n)[:, None] * 1.0, np.arange(n) * 1.0, ends), lambda x, y: (x, y[:, None], None))


def network(name="adam", **options):
    loss = MeanSquaredError() if name == "lm" else CrossEntropy()
    return Model([Dense(4, 8), ReLU(), Dense(8, 3), Softmax()], loss, dtype="float64", **options)


def epoch_of(blocks, epoch=1):
    """Return the batches of an epoch, after a check that their examples are those of their rows."""
    batches = []
    for rows in blocks.rows(epoch):
        x, target, _ = blocks.arrays(rows)
        blocks.gather(rows, x, target, None)
        assert x[:, 0].tolist() == target[:, 0].tolist() == rows.tolist()
        assert len(blocks._held) <= blocks.lanes
        batches.append(rows.tolist())
    return batches


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_in_one_batch_of_an_epoch(seed, monkeypatch):
    """For any numbers of rows, blocks, lanes and rows in a batch, and any part of an epoch that is made at once."""
    draw = np.random.default_rng(seed)
    for _ in range(150):
        monkeypatch.setattr("nn.blocks.AT_ONCE", int(draw.integers(1, 300)))
        N = int(draw.integers(1, 200))
        ends = np.unique(np.append(draw.integers(1, N + 1, draw.integers(0, 20)), N))
        size, lanes = int(draw.integers(1, N + 1)), int(draw.integers(1, 20))
        blocks = Blocks(numbered(N, ends), size, seed, True, lanes)
        batches = epoch_of(blocks)
        assert [len(batch) for batch in batches] == [min(size, N - start) for start in range(0, N, size)]
        assert sorted(chain(*batches)) == list(range(N))
        assert not blocks._held
        assert [rows.tolist() for rows in blocks.rows(1)] == batches  # also if nothing is gathered
        in_turn = Blocks(numbered(N, ends), size, seed, shuffle=False)
        assert list(chain(*epoch_of(in_turn))) == list(range(N))


def test_the_order_is_a_function_of_seed_epoch_and_blocks():
    def order(seed=0, epoch=1, ends=tuple(range(10, 101, 10)), lanes=4):
        return list(chain(*epoch_of(Blocks(numbered(100, np.array(ends)), 20, seed, True, lanes), epoch)))

    assert order() == order()
    others = [order(seed=1), order(epoch=2), order(lanes=5), order(ends=(50, 100))]
    assert all(other != order() for other in others)
    first = [order(epoch=epoch)[0] for epoch in range(1, 301)]
    assert len(set(first)) > 85  # any row may be the first one: of 100, 95 are expected in 300 epochs
    within = {tuple(np.argsort([row for row in order(epoch=epoch) if row < 10])) for epoch in range(1, 21)}
    assert len(within) == 20


def test_a_batch_takes_from_each_lane_and_a_lane_goes_from_block_to_block():
    blocks = Blocks(numbered(4096, np.arange(64, 4097, 64)), 64, 0)
    batches = np.array(epoch_of(blocks)) // 64  # the block of each row: 64 batches of 16 lanes with 4 rows
    assert (batches.reshape(64, 16, 4) == batches.reshape(64, 16, 4)[:, :, :1]).all()
    lanes = batches.reshape(64, 16, 4)[:, :, 0].T
    assert all(len(set(lane)) == 4 and np.count_nonzero(np.diff(lane)) == 3 for lane in lanes.tolist())
    assert sorted(set(lanes.ravel().tolist())) == list(range(64))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 16])
def test_who_takes_a_part_of_each_batch_reads_only_its_share(ranks):
    total = 0
    for rank in range(ranks):
        source = numbered(5000, None)
        blocks, rows = Blocks(source, 100, 0, lanes=16), source._rows
        blocks.ends = source.ends = np.append(np.arange(50, 5000, 50), 5000)
        source.starts, rows.reads = np.append(0, source.ends[:-1]), []
        blocks.lanes = 16
        for batch in blocks.rows(1):
            own = batch[100 * rank // ranks : 100 * (rank + 1) // ranks]
            x, target, _ = blocks.arrays(own)
            blocks.gather(own, x, target, None)
            assert x[:, 0].tolist() == own.tolist()
            assert len(blocks._held) <= 16 // ranks + 2
        total += len(rows.reads)
        assert len(rows.reads) <= 100 / ranks + 4 + 16 / ranks  # a share of 100 blocks, and parts at ends of lanes
    assert total <= 100 + 16 + 8 * ranks


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_as_fit_does(name, threads, monkeypatch):
    """All examples at once for second order, and batches in the order of the rows for first order: the same bits."""
    monkeypatch.setattr("nn.workers.MIN_ACTIVATIONS", 1)
    size = len(X) if name in SECOND_ORDER else 20
    a, b, rows = network(name), network(name), Rows(ends=np.array([7, 8, 40, 75, 90]))
    options = {"epochs": 3, "batch_size": size, "progress": False, "threads": threads, "shuffle": False}
    expected = a.fit(X, Y, get(name), validation_data=(X, Y), **options)
    history = b.fit_rows(rows, get(name), validation_data=Rows(ends=np.array([33, 90])), **options)
    np.testing.assert_array_equal(b.theta, a.theta)
    for key in ("loss", "accuracy", "val_accuracy", "passes"):
        assert history[key] == expected[key]
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-14)
    if name in SECOND_ORDER:
        assert len(rows.reads) == 10  # 5 blocks for the sample, and 5 once for all steps


def test_it_trains_as_fit_batches_does_on_the_same_order():
    ends, size = np.arange(10, 91, 10), 16
    order = Blocks(numbered(90, ends), size, 0, True, 4)

    class Source:
        epoch = 0

        def __len__(self):
            return 6

        def __iter__(self):
            self.epoch += 1  # fit_batches looks at a first batch before it begins
            for rows in order.rows(max(1, self.epoch - 1)):
                yield X[rows], Y[rows]

    a, b = network(), network()
    expected = a.fit_batches(Source(), get("adam"), 4, progress=False)
    history = b.fit_rows(Rows(ends=ends), get("adam"), 4, size, lanes=4, progress=False)
    np.testing.assert_array_equal(b.theta, a.theta)
    assert history["loss"] == expected["loss"]


def test_dropout_on_all_examples_reads_them_once():
    def make():
        return Model([Dense(4, 8), ReLU(), Dropout(0.5), Dense(8, 3), Softmax()], CrossEntropy(), dtype="float64")

    a, b, rows = make(), make(), Rows()
    a.fit(X, Y, get("adam"), 5, progress=False)
    b.fit_rows(rows, get("adam"), 5, len(X), progress=False)
    np.testing.assert_array_equal(b.theta, a.theta)
    assert len(rows.reads) == 3  # the width, the sample, all


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
@pytest.mark.parametrize("stop_after", [1, 4, 6, 8])
def test_a_checkpoint_continues_within_an_epoch(name, stop_after, tmp_path):
    class Stop:
        def __init__(self, steps):
            self.left = steps

        def on_step_end(self, model, examples):
            self.left -= 1
            model.stop_training = self.left == 0

    ends, size = np.arange(10, 91, 10), len(X) if name == "lbfgs" else 16
    whole = network()
    expected = whole.fit_rows(Rows(ends=ends), get(name), 9, size, progress=False)
    for steps in (stop_after, 10**9):
        model, optimizer, checkpoint = network(), get(name), Checkpoint(tmp_path / "checkpoint")
        history = checkpoint.restore(model, optimizer)
        model.fit_rows(Rows(ends=ends), optimizer, 9 - len(history), size, callbacks=[Stop(steps), checkpoint],
                       progress=False, history=history)
        assert np.array_equal(model.theta, whole.theta) == (steps > stop_after)
    assert history["loss"] == expected["loss"]


@pytest.mark.parametrize(("change", "message"), [
    ({"lanes": 3}, "lanes was 4 and is 3"), ({"ends": np.arange(9, 91, 9)}, "blocks was"),
    ({"x": X + 1e-9}, "on other data: data was"), ({"shuffle": False}, "shuffle was True and is False")])
def test_a_checkpoint_of_another_order_or_other_data_is_refused(change, message, tmp_path):
    options = {"lanes": 4, "ends": np.arange(10, 91, 10), "x": X, "shuffle": True}
    for chosen in (options, {**options, **change}):
        model, optimizer, checkpoint = network(), get("adam"), Checkpoint(tmp_path / "checkpoint")
        history = checkpoint.restore(model, optimizer)

        def fit(model=model, optimizer=optimizer, checkpoint=checkpoint, history=history, chosen=chosen):
            model.fit_rows(Rows(chosen["x"], ends=chosen["ends"]), optimizer, 1, 16, callbacks=[checkpoint],
                           progress=False, history=history, lanes=chosen["lanes"], shuffle=chosen["shuffle"])

        if chosen is options:
            fit()
        else:
            with pytest.raises(ValueError, match=message):
                fit()


def test_evaluation_block_by_block():
    model = network()
    scores = model.evaluate_rows(Rows(ends=np.array([1, 50, 90])))
    expected = model.evaluate(X, Y)
    assert scores["accuracy"] == expected["accuracy"]
    assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-14)
    source = CheckedRows(Rows(ends=np.array([7, 33, 90])), model._check)
    parts = [source.sums(lambda x, target: (float(x[:, 0].mean()), len(x)), slice(a, b))
             for a, b in pairwise([0, 1, 7, 8, 40, 40, 90])]
    assert sum(loss for loss, _ in parts) == pytest.approx(X[:, 0].mean())
    assert [count for _, count in parts] == [1, 6, 1, 32, 0, 50]
    assert Model([Dense(4, 1)], MeanSquaredError()).evaluate_rows(Rows(y=X[:, 0]))["accuracy"] is None


@pytest.mark.parametrize("offset", [0, 1e8])
def test_means_and_scales_of_rows(offset):
    x, y = offset + X * [1, 10, 1e-3, 0], offset + X[:, :2]
    rows = Rows(x, y, np.array([1, 2, 50, 90]))
    for found, expected in ((Standardize.of_rows(rows), Standardize.of(x)), (Rescale.of_rows(rows), Rescale.of(y)),
                            (Rescale.of_rows(Rows(x, y[:, 0])), Rescale.of(y[:, 0]))):
        assert found.n_in == expected.n_in
        np.testing.assert_allclose(found._initial[0], expected._initial[0], rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(found.initial_scale(), expected.initial_scale(), rtol=1e-6 if offset else 1e-13)
    for wrong in (np.where(x == x[3, 1], np.nan, x), np.where(x == x[3, 1], np.inf, x)):
        with pytest.raises(ValueError, match=r"Standardize\.of_rows: row 3 holds NaN or infinity in column 1"):
            Standardize.of_rows(Rows(wrong, y))
    with pytest.raises(ValueError, match=r"Standardize.of_rows takes numbers, not <U1"):
        Standardize.of_rows(Rows(x.astype("U1"), y))


def test_names_of_columns_are_kept_and_checked():
    model = network(classes=["a", "b", "c"])
    model.fit_rows(Rows(y=np.array(["a", "b", "c"])[Y], names=("p", "q", "r", "s")), get("adam"), progress=False)
    assert model.feature_names == ("p", "q", "r", "s")
    with pytest.raises(ValueError, match="q"):
        model.evaluate_rows(Rows(y=np.array(["a", "b", "c"])[Y], names=("p", "x", "r", "s")))


def test_few_lanes_are_warned_of(monkeypatch):
    """If blocks are so large that a batch can mix only few of them."""
    assert Blocks(numbered(100, np.arange(1, 101)), 20, 0).lanes == 16
    monkeypatch.setattr("nn.blocks.MAX_HELD", 60)
    few = Blocks(numbered(40, np.array([20, 30, 35, 40])), 20, 0)
    assert few.lanes == 3
    assert few.mixes_few().startswith("a batch mixes rows of 3 of 4 blocks, because blocks have up to 20 rows: write")
    for other in (Blocks(few._source, 40, 0), Blocks(numbered(100, None), 20, 0), Blocks(few._source, 3, 0)):
        assert other.mixes_few() == ""
    with pytest.warns(UserWarning, match="a batch mixes rows of 1 of 2 blocks"):
        network().fit_rows(Rows(ends=np.array([50, 90])), get("adam"), 1, 10, lanes=1)


class Short(Rows):
    def read(self, start, stop):
        return self.x[start : stop - 1], self.y[start : stop - 1]


class Broken(Rows):
    """Rows of which some cannot be read after the first epoch has begun."""

    def read(self, start, stop):
        if len(self.reads) > 20:
            raise OSError("the disk is gone")
        return super().read(start, stop)


NAN = np.where(X[75, 2] == X, np.nan, X)


@pytest.mark.parametrize(("rows", "options", "message"), [
    (X, {}, r"rows must be an object with a len\(\) and a method read.*arrays in memory are for fit"),
    (Rows(X[:0]), {}, r"rows holds no row: its len\(\) is 0"),
    (Rows(ends=np.array([5, 5, 90])), {}, r"block_ends of rows must ascend from at least 1 to its len\(\), 90"),
    (Rows(ends=np.array([5, 89])), {}, "block_ends of rows must ascend"),
    (Rows(NAN, ends=np.array([30, 60, 90])), {},
     "rows 60 to 89, numbered here from 0: x holds NaN or infinity .*first in row 15"),
    (Rows(X[:, :3]), {}, r"rows 0 to 89, .*layer 0 .*expects x of shape \(N, 4\)"),
    (Rows(y=Y + 1), {}, "rows 0 to 89, .*y holds the label 3, but the model has 3 outputs"),
    (Short(), {}, r"read\(0, 90\) of rows returned 89 rows instead of 90"),
    (Rows(), {"batch_size": 91}, "batch_size 91 is larger than the data, 90 examples"),
    (Rows(), {"lanes": 0}, "lanes must be a whole number of at least 1"),
    (Rows(), {"metrics": {"f": lambda a, b: 1.0}}, "Metrics: batches and rows that are read .*give validation_data"),
    (Rows(), {"metrics": {"f": lambda a, b: 1.0}, "validation_data": Rows()}, "give validation_data, as arrays"),
    (Rows(), {"validation_data": X}, "validation_data must be a pair")])
def test_what_does_not_fit_is_named(rows, options, message):
    with pytest.raises(ValueError, match=message):
        network().fit_rows(rows, get("adam"), progress=False, **options)


def test_rows_that_cannot_be_read_end_training_after_the_last_step():
    """The weights are those of the last whole step, with which training continues to the same bits."""
    ends, taken = np.arange(10, 91, 10), []

    class Watch:
        def on_step_end(self, model, examples):
            taken.append(model.theta.copy())

    model, whole, optimizer = network(), network(), get("adam")
    whole.fit_rows(Rows(ends=ends), get("adam"), 4, 16, progress=False, lanes=2)
    history = History()
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit_rows(Broken(ends=ends), optimizer, 4, 16, progress=False, lanes=2, history=history,
                       callbacks=[Watch()])
    assert len(taken) > 3
    np.testing.assert_array_equal(model.theta, taken[-1])
    model.fit_rows(Rows(ends=ends), optimizer, 4 - len(history), 16, progress=False, lanes=2, history=history)
    np.testing.assert_array_equal(model.theta, whole.theta)
