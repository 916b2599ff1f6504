"""A gradient that is computed in two phases, on several threads, equals the serial one, however a batch is cut."""

import contextlib
from itertools import pairwise
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from test_model import LOSSES_WITH_LAST_LAYERS, small, small_data
from test_optimizer import with_lr

from nn import LAYERS, LOSSES, Dense, Dropout, Elementwise, Layer, MeanSquaredError, Model, ReLU, Softmax, Tanh, workers
from nn.batches import Batches
from nn.division import BLOCK, Division, can_divide, cut
from nn.workers import Workers
from optimizers import OPTIMIZERS, FirstOrder, compiled, elementwise, get

ACTIVATIONS = [kind for kind in LAYERS.values() if issubclass(kind, (Elementwise, Softmax))]
FIRST_ORDER = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]


@pytest.fixture(autouse=True)
def everything_is_divided(monkeypatch):
    """Divide every batch among all threads, by examples and parameters, and apply every rule in parts."""
    monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: min(threads, batch_size))
    monkeypatch.setattr(workers, "divides_parameters", lambda network, batch_size: can_divide(network))
    monkeypatch.setattr(compiled, "MIN_SIZE", 0)


def random_model(rng):
    """Return a model of random layers, and the number of its inputs and outputs."""
    widths = rng.integers(1, 40, rng.integers(2, 6))
    layers: list[Layer] = [rng.choice(ACTIVATIONS)()] if rng.random() < 0.2 else []
    for n_in, n_out in pairwise(widths):
        layers.append(Dense(int(n_in), int(n_out), init="glorot"))
        layers += [kind() for kind in rng.choice(ACTIVATIONS, rng.integers(0, 3))]
    loss, last = LOSSES_WITH_LAST_LAYERS[rng.integers(len(LOSSES_WITH_LAST_LAYERS))]
    layers += [Dense(int(widths[-1]), 3, init="glorot"), *([last] if last else [])]
    return Model(layers, LOSSES[loss](), seed=int(rng.integers(100)), dtype="float64"), int(widths[0])


def join(each_part):
    """Return the gradient from its parts, which must cover it once."""
    parts = []
    each_part(lambda part, values: parts.append((part.start, part.stop, values.copy())))
    parts.sort(key=lambda part: part[0])
    assert [start for start, _, _ in parts] == [0, *(stop for _, stop, _ in parts[:-1])]
    return np.concatenate([values for _, _, values in parts])


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 100))])
def test_stress(seed, monkeypatch):
    """2,000 steps on random sizes, layers, batches and threads: each is compared with the serial path."""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr("nn.division.BLOCK", int(rng.choice([1, 30, 1 << 17])))
    model, n_in = random_model(rng)
    N = int(rng.integers(1, 30))
    x, y = rng.normal(size=(N, n_in)), rng.integers(0, 3, N)
    batches = Batches(*model.check_data(x, y), int(rng.integers(1, N + 1)), seed)
    serial, steps, epoch = model.network.replica(), 0, 0
    with Workers(model.network, batches, int(rng.integers(1, 5))) as divided:
        while steps < 20:
            epoch += 1
            for rows in batches.rows(epoch):
                objective, steps = divided.objective(rows, None), steps + 1
                loss, gradient = Workers(serial, batches, 1).objective(rows, None).value_and_gradient()
                value, each_part = objective.value_and_gradient_parts()
                assert value == pytest.approx(loss, rel=1e-12)
                joined = join(each_part)
                np.testing.assert_allclose(joined, gradient, rtol=1e-12, atol=1e-13 * (1 + np.abs(gradient).max()))
                assert objective.correct() == Workers(serial, batches, 1).objective(rows, None).correct()
                model.theta[:] -= 0.1 * gradient / (1 + np.linalg.norm(gradient))


def test_grad_is_the_gradient_of_the_last_step():
    x, y = small_data()
    layers = [Dense(6, 8), ReLU(), Dense(8, 3), Softmax()]
    model, serial = (Model(layers, LOSSES["CrossEntropy"](), seed=0, dtype="float64") for _ in range(2))
    model.fit(x, y, get("gd"), 1, progress=False, threads=2)
    _, gradient = serial.objective(x, y).value_and_gradient()
    np.testing.assert_allclose(model.grad, gradient, rtol=1e-12, atol=1e-15)


class Centred(Dense):
    """A layer that changes only forward: its backward uses self.x, and backward_parameters would get another x."""

    def forward(self, x):
        return super().forward(x - 1.0)


class Reversed(Layer):
    """A layer that returns a view of its buffer in another order."""

    independent_rows = True

    def forward(self, x):
        y = self.buffers("y", x.shape)
        np.copyto(y, x)
        return y[:, ::-1]

    def backward(self, dy, needs_dx=True):
        dx = self.buffers("dx", dy.shape)
        np.copyto(dx, dy)
        return dx[:, ::-1]

    def jvp(self, tx):
        return tx[:, ::-1]

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return tdy[:, ::-1]


@pytest.mark.parametrize("layers", [[Centred(6, 8), Tanh(), Dense(8, 3)], [Dense(6, 8), Tanh(), Centred(8, 3)],
                                    [Dense(6, 8), Reversed(), Dense(8, 3)], [Dense(6, 8), Dense(8, 3), Reversed()]])
def test_unusual_layers_train_as_on_one_thread(layers):
    x, y = small_data()
    thetas = []
    for threads in (1, 2):
        model = Model([*layers, Softmax()], LOSSES["CrossEntropy"](), seed=0, dtype="float64")
        model.fit(x, y, get("gd", lr=0.1), 5, 16, progress=False, threads=threads)
        thetas.append(model.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-12, atol=1e-15)


class Timeout(Exception):
    """What the handler of a signal may raise, to limit the time of a training."""


class RaisesAtRandom:
    """Lets a signal come at a random time of the training: not while Python starts threads, which it cannot bear."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_step_end(self, model, examples):
        if self.seconds:
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
            self.seconds = 0

    def on_training_end(self, model, history):
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize("tries", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_an_error_at_any_time_leaves_the_weights_of_a_step(tries):
    """Signals at random times, whose handler raises: theta is that of some step, and no thread is left."""
    def raise_timeout(*_):
        raise Timeout

    def fit(callback):
        model = Model([Dense(6, 40), Tanh(), Dense(40, 3), Softmax()], LOSSES["CrossEntropy"](), seed=0)
        with contextlib.suppress(Timeout):
            model.fit(x, y, get("adam"), 20, 16, callbacks=[callback], progress=False, threads=2)
        return model

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 6)), rng.integers(0, 3, 128)
    expected = set()
    fit(SimpleNamespace(on_step_end=lambda model, examples: expected.add(model.theta.tobytes())))
    before, threads = signal.signal(signal.SIGALRM, raise_timeout), threading.active_count()
    settings = np.geterr()
    try:
        for _ in range(tries):
            model = fit(RaisesAtRandom(float(rng.uniform(0.0002, 0.03))))
            assert model.theta.tobytes() in expected
            assert (np.full(8, 1e-40, np.float32) * np.float32(0.5)).any()  # denormal numbers exist again
            assert np.geterr() == settings
    finally:
        signal.signal(signal.SIGALRM, before)
        np.seterr(**settings)
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_200_steps_on_other_numbers_of_threads_differ_by_less_than_1e_12(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(160, 6)), rng.integers(0, 3, 160)
    thetas = []
    for threads in (1, 2, 3, 4):
        model = Model([Dense(6, 8), Tanh(), Dense(8, 3), Softmax()], LOSSES["CrossEntropy"](), seed=0, dtype="float64")
        model.fit(x, y, with_lr(name, 1e-3), 20, 16, progress=False, threads=threads)
        thetas.append(model.theta.copy())
    scale = np.abs(thetas[0]).max()
    for theta in thetas[1:]:
        assert np.abs(theta - thetas[0]).max() < 1e-12 * scale


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_one_number_of_threads_gives_the_same_bits_with_numba_and_without(name, monkeypatch):
    x, y = small_data()
    thetas = []
    for available in (compiled.available(), compiled.available(), False):
        monkeypatch.setattr(compiled, "available", lambda available=available: available)
        model = small()
        model.fit(x, y, with_lr(name, 0.02), 5, 16, progress=False, threads=3)
        thetas.append(model.theta.copy())
    np.testing.assert_array_equal(thetas[0], thetas[1])
    np.testing.assert_array_equal(thetas[0], thetas[2])


@pytest.mark.parametrize("fields", [{"clip_norm": 0.01}, {"clip_value": 0.001}, {"weight_decay": 0.1}])
def test_clipping_and_decay_are_those_of_one_thread(fields):
    x, y = small_data()
    thetas = []
    for threads in (1, 3):
        model = small(dtype="float64")
        model.fit(x, y, get("adam", lr=0.01, **fields), 5, 16, progress=False, threads=threads)
        thetas.append(model.theta.copy())
    np.testing.assert_allclose(*thetas, rtol=1e-9, atol=1e-12)


def test_a_rule_that_starts_to_need_the_norm_during_a_fit_can_be_undone():
    """The step before last changes theta in parts, the last one does not, and fails."""
    x, y = small_data()
    optimizer, model, before = get("adam", lr=0.01), small(), []

    class SetsClipNorm:
        steps = 0

        def on_step_end(self, model, examples):
            self.steps += 1
            before.append(model.theta.copy())
            if self.steps == 4:
                optimizer.clip_norm = 1.0

    def fails(theta, grad):
        type(optimizer).update(optimizer, theta, grad)
        if len(before) == 5:
            raise KeyboardInterrupt

    vars(optimizer)["update"] = fails
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, optimizer, 5, 16, callbacks=[SetsClipNorm()], progress=False, threads=3)
    assert len(before) == 5
    np.testing.assert_array_equal(model.theta, before[-1])


class Failing(ReLU):
    """ReLU that fails on the rows that hold a mark."""

    when = "forward"

    def forward(self, x):
        self.marked = bool((np.abs(x) > 1e6).any())
        if self.marked and self.when == "forward":
            raise ArithmeticError("in forward")
        return super().forward(x)

    def backward(self, dy, needs_dx=True):
        if self.marked and self.when == "backward":
            raise ArithmeticError("in backward")
        return super().backward(dy, needs_dx)


@pytest.mark.parametrize("when", ["forward", "backward"])
@pytest.mark.parametrize("row", [0, 20, 39])
def test_an_error_of_a_layer_in_any_thread_ends_training_and_arrives(when, row, monkeypatch):
    monkeypatch.setattr(Failing, "when", when)
    x, y = small_data()
    x[row] = 1e9
    model = Model([Dense(6, 5), Failing(), Tanh(), Dense(5, 3), Softmax()], LOSSES["CrossEntropy"]())
    theta = model.theta.copy()
    with pytest.raises(ArithmeticError, match=f"in {when}"):
        model.fit(x, y, get("gd"), 2, progress=False, threads=4)
    np.testing.assert_array_equal(model.theta, theta)


def test_an_error_of_a_rule_in_any_thread_arrives(monkeypatch):
    x, y = small_data()
    original = compiled.rule

    def failing_rule(optimizer, theta):
        apply = original(optimizer, theta)

        def apply_or_fail(part, gradient):
            if part.stop == len(theta):
                raise ArithmeticError("in the last part")
            apply(part, gradient)

        return apply_or_fail

    monkeypatch.setattr(compiled, "rule", failing_rule)
    with pytest.raises(ArithmeticError, match="in the last part"):
        small().fit(x, y, get("gd"), 2, progress=False, threads=4)


def test_a_rule_that_is_marked_wrongly_is_named():
    class Normalized(FirstOrder):
        @elementwise
        def update(self, theta, grad):
            theta -= self.lr * grad / np.linalg.norm(grad)

    with pytest.raises(TypeError, match=r"Normalized\.update is marked @elementwise, but cannot be applied in parts"):
        small().fit(*small_data(), Normalized(), 2, progress=False, threads=2)


def test_a_loss_that_overflows_keeps_the_last_finite_weights():
    x, y = small_data()
    thetas = []

    class Keeps:
        def on_step_end(self, model, examples):
            thetas.append(model.theta.copy())

    model = Model([Dense(6, 5), ReLU(), Dense(5, 3)], LOSSES["MeanSquaredError"]())
    with pytest.raises(ArithmeticError, match="the loss became"):
        model.fit(x * 1e10, y, get("gd", lr=1e-3), 20, 20, callbacks=[Keeps()], progress=False, threads=2)
    assert len(thetas) > 0
    assert np.isfinite(model.theta).all()
    # the last step led to weights whose loss is not finite
    np.testing.assert_array_equal(model.theta, thetas[-2] if len(thetas) > 1 else small_initial(model))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_weights_that_are_not_finite_are_found_in_their_step(name, threads):
    class OverflowsLate(MeanSquaredError):
        def gradient(self, z, target, scale, out):
            super().gradient(z, target, scale, out)
            out[target == 5] = np.inf
            return out

    model, (x, _) = Model([Dense(6, 5), Tanh(), Dense(5, 1)], OverflowsLate()), small_data()
    y = np.zeros(len(x))
    y[np.random.default_rng(0).integers(len(y))] = 5
    thetas = [model.theta.copy()]

    class Keeps:
        def on_step_end(self, model, examples):
            thetas.append(model.theta.copy())

    with pytest.raises(ArithmeticError, match=r"NaN or infinite in epoch 1, .*the gradient of W of layer") as caught:
        model.fit(x, y, get(name), 5, 10, callbacks=[Keeps()], progress=False, threads=threads)
    assert caught.value.step == len(thetas)
    np.testing.assert_array_equal(model.theta, thetas[-1])


def small_initial(model):
    return Model([type(layer)(**layer.description()) for layer in model.layers], model.loss, seed=0).theta


def test_blocks_cover_the_parameters_once_and_are_not_too_large():
    model = Model([Dense(784, 512), ReLU(), Dense(512, 10), Softmax()], LOSSES["CrossEntropy"]())
    for threads in (1, 2, 3, 7):
        division = Division([model.network] * threads, 128)
        parts = [part for blocks in division._blocks for _, _, part in blocks]
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert parts[-1].stop == len(model.theta)
        assert max(part.stop - part.start for part in parts) <= BLOCK + 512
        sizes = [sum(part.stop - part.start for _, _, part in blocks) for blocks in division._blocks]
        assert max(sizes) - min(sizes) <= 2 * 512


class Masked(Dense):
    """A dense layer whose subclass changes the gradient, and does not know that it may be computed in parts."""

    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        self.dW[0] = 0
        return dx


def test_a_subclass_that_changes_backward_alone_is_not_divided():
    model = Model([Masked(6, 5), Tanh(), Dense(5, 3), Softmax()], LOSSES["CrossEntropy"](), dtype="float64")
    assert Dense(6, 5).splits_backward
    assert not Masked(6, 5).splits_backward
    assert not can_divide(model.network)
    before = model.layers[0].W.copy()
    model.fit(*small_data(), get("gd", lr=0.1), 3, progress=False, threads=2)
    np.testing.assert_array_equal(model.layers[0].W[0], before[0])
    assert (model.layers[0].W[1] != before[1]).all()
    objective = model.objective(*small_data())
    objective.hessian_product(np.ones_like(model.theta))
    assert (model.layers[0].dW[0] == 0).all()


class Lookahead(type(get("momentum"))):
    """A rule that changes theta before the gradient is known."""

    def step(self, objective):
        objective.theta += 1.0
        return super().step(objective)


def test_a_step_that_changes_theta_in_another_way_too_can_be_undone():
    x, y = small_data()
    model, thetas = small(), []

    class Interrupting(Lookahead):
        def update(self, theta, grad):
            raise KeyboardInterrupt

    class Keeps:
        def on_step_end(self, model, examples):
            thetas.append(model.theta.copy())

    optimizer = Lookahead(lr=0.01)
    model.fit(x, y, optimizer, 2, 16, callbacks=[Keeps()], progress=False, threads=2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, Interrupting(lr=0.01), 2, 16, progress=False, threads=2)
    np.testing.assert_array_equal(model.theta, thetas[-1])


def test_the_objective_of_a_fit_that_has_ended_still_works():
    objectives = []

    class Keeps(type(get("gd"))):
        def step(self, objective):
            objectives.append(objective)
            return super().step(objective)

    small().fit(*small_data(), Keeps(), 1, progress=False, threads=3)
    assert np.isfinite(objectives[0].value())


def test_cuts_cover_everything():
    assert cut(7, 3) == [slice(0, 2), slice(2, 4), slice(4, 7)]
    assert cut(2, 2) == [slice(0, 1), slice(1, 2)]


def test_networks_with_dropout_are_not_divided():
    layers = [Dense(4, 5), ReLU(), Dense(5, 3), Softmax()]
    assert can_divide(Model(layers, LOSSES["CrossEntropy"]()).network)
    assert not can_divide(Model([*layers[:2], Dropout(0.5), *layers[2:]], LOSSES["CrossEntropy"]()).network)
