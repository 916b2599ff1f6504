"""fit_batches: it trains as fit does on the same batches, with any optimizer, and names what does not fit."""

import numpy as np
import pytest

from nn import Checkpoint, CrossEntropy, Dense, Model, ReLU, Softmax
from nn.batches import ORDER, generator
from optimizers import OPTIMIZERS, get

rng = np.random.default_rng(0)
X, Y, W = rng.normal(size=(50, 4)), rng.integers(0, 3, 50), rng.uniform(0.5, 2, 50)


class Source:
    """The batches of `fit`, in the order of its epochs."""

    def __init__(self, size=16, weights=None, epoch=0):
        self.size, self.weights, self.epoch = size, weights, epoch

    def __len__(self):
        return -(-len(X) // self.size)

    def __iter__(self):
        first = self.epoch == 0  # fit_batches looks at the first batch before it begins
        self.epoch += 1
        order = generator(ORDER, 0, max(1, self.epoch - 1)).permutation(len(X)) if not first else np.arange(len(X))
        for start in range(0, len(X), self.size):
            rows = order[start : start + self.size]
            yield (X[rows], Y[rows]) if self.weights is None else (X[rows], Y[rows], self.weights[rows])


def network(**options):
    return Model([Dense(4, 8), ReLU(), Dense(8, 3), Softmax()], CrossEntropy(), dtype="float64", **options)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lm"])
@pytest.mark.parametrize("threads", [1, 2])
def test_it_trains_as_fit_does(name, threads, monkeypatch):
    monkeypatch.setattr("nn.workers.MIN_ACTIVATIONS", 1)
    a, b = network(), network()
    options = {"epochs": 3, "progress": False, "validation_data": (X, Y), "threads": threads}
    expected = a.fit(X, Y, get(name), batch_size=16, **options)
    history = b.fit_batches(Source(), get(name), **options)
    np.testing.assert_array_equal(b.theta, a.theta)
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "passes"):
        assert history[key] == expected[key]


def test_weights_are_divided_by_their_mean_in_the_batch():
    a, b = network(), network()
    for start in (0, 25):
        rows = slice(start, start + 25)
        a.fit(X[rows], Y[rows], get("gd", lr=0.1), sample_weight=W[rows], progress=False)
    b.fit_batches([(X[:25], Y[:25], W[:25]), (X[25:], Y[25:], 7 * W[25:])], get("gd", lr=0.1), progress=False)
    np.testing.assert_allclose(b.theta, a.theta, rtol=1e-13)


def test_frames_and_labels(capsys):
    names = np.array(["a", "b", "c"])
    model = network(classes=["a", "b", "c"])
    history = model.fit_batches([(X[:30], names[Y[:30]]), (X[30:], names[Y[30:]])], get("adam"), epochs=2)
    assert len(history) == 2
    assert "2/2" in capsys.readouterr().err
    assert set(model.predict_classes(X)) <= set(names)


def test_a_checkpoint_continues_within_an_epoch(tmp_path):
    class Stop:
        def on_step_end(self, model, examples):
            model.stop_training = stop

    stop, results = True, []
    batches = [(X[i : i + 10], Y[i : i + 10]) for i in range(0, 50, 10)]
    whole = network()
    whole.fit_batches(batches, get("adam"), epochs=2, progress=False)
    for stop in (True, False):  # noqa: B007
        model, optimizer, checkpoint = network(), get("adam"), Checkpoint(tmp_path / "checkpoint")
        history = checkpoint.restore(model, optimizer)
        model.fit_batches(batches, optimizer, 2, callbacks=[Stop(), checkpoint], progress=False, history=history)
        results.append(model.theta.copy())
    np.testing.assert_array_equal(results[1], whole.theta)
    assert (results[0] != whole.theta).any()


class Short(list):
    def __len__(self):
        return 3


@pytest.mark.parametrize(("batches", "message"), [
    (((X, Y) for _ in range(3)), "batches must be an object that can be looped over once for each epoch, and has"),
    ([], "batches holds no batch: its len"), ([X], r"batch 1 must be \(x, y\) or \(x, y, sample_weight\), not ndarray"),
    ([(X, Y), (X[:, :3], Y)], r"batch 2: layer 0 .*expects x of shape \(N, 4\)"),
    ([(X, Y), (X, Y[:3])], "batch 2: x has 50 rows but y has shape"),
    (Short([(X, Y), (X, Y)]), r"epoch 1 had 2 batches, but len\(\) of the batches is 3"),
    ([(X, ["a"] * 50)], "batch 1: y holds labels, such as 'a', but the model has no classes")])
def test_what_does_not_fit_is_named(batches, message):
    with pytest.raises(ValueError, match=message):
        network().fit_batches(batches, get("adam"), progress=False)
