"""Every loss: its contract, derivatives and planted faults, its values by hand, and messages about wrong targets."""

from contextlib import suppress
import math

import numpy as np
import pytest

from feedforward.testing import check_loss
from feedforward.testing.cases import random_shapes, random_target
from feedforward.testing.derivatives import CENTRAL_TOLERANCE, COMPLEX_TOLERANCE, loss_errors, worst
from nn import ACTIVATIONS, LOSSES, BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from nn.losses import SoftmaxCrossEntropy


def with_last_layers():
    """Yield the losses of the table, and those that are computed together with an activation."""
    for kind in LOSSES.values():
        yield kind
        for last in ACTIVATIONS.values():
            with suppress(ValueError):
                yield type(kind().for_last_layer(last()))


ALL = {kind.__name__: kind for kind in with_last_layers()}


def test_the_losses_that_are_computed_together_with_a_layer_are_among_all():
    assert ALL.keys() - LOSSES.keys() >= {"SoftmaxCrossEntropy", "SigmoidBinaryCrossEntropy"}


@pytest.mark.parametrize("name", ALL)
def test_a_loss_fulfils_the_contract(name):
    check_loss(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_gradient_and_hessian_product(name):
    """This always uses complex steps. check_loss omits them if a loss cannot compute with complex numbers."""
    rng = np.random.default_rng(1)
    for n, K, _ in random_shapes(rng):
        if K == 1 and issubclass(ALL[name], CrossEntropy):
            with pytest.raises(ValueError, match="at least 2"):
                random_target(ALL[name](), n, K, rng)
            continue
        by_differences, by_complex_step = worst([loss_errors(ALL[name](), (n, K), rng)])
        assert by_differences < CENTRAL_TOLERANCE, (n, K)
        assert by_complex_step < COMPLEX_TOLERANCE, (n, K)


def faulty(name, change):
    """Return the loss with a fault planted in its gradient."""
    def gradient(self, z, target, scale, out):
        out[:] = change(self, ALL[name].gradient(self, z, target, scale, out), z, target)
        return out

    return type(f"Faulty{name}", (ALL[name],), {"gradient": gradient})


FAULTS = {
    "sign": lambda self, dz, z, t: -dz,
    "missing 1/N": lambda self, dz, z, t: dz * len(z),
    "twice": lambda self, dz, z, t: 2 * dz,
    "target left out": lambda self, dz, z, t: dz + t / len(z),
    "first example only": lambda self, dz, z, t: dz * (np.arange(len(z)) == 0)[:, None],
    "stale": lambda self, dz, z, t: np.broadcast_to(self.__dict__.setdefault("old", dz.copy())[:1, :1], dz.shape),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ALL)
def test_planted_fault_is_found(name, fault):
    rng = np.random.default_rng(2)
    kind = faulty(name, FAULTS[fault])
    errors = worst(loss_errors(kind(), (n, 3), rng) for n in (1, 2, 5))
    assert errors[0] > 100 * CENTRAL_TOLERANCE
    assert errors[1] > 100 * COMPLEX_TOLERANCE
    with pytest.raises(AssertionError, match=f"^Faulty{name}: gradient.* differs from central differences"):
        check_loss(kind)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_with_cross_entropy_at_logits_of_ten_thousand(dtype):
    loss = SoftmaxCrossEntropy()
    loss.bind(dtype)
    z = np.array([[10_000, -10_000, 0], [10_000, -10_000, 0], [-10_000, -10_000, -10_000]], dtype)
    target = loss.encode([1, 0, 2], 3, dtype)
    assert loss.value(z, target, 1.0) == pytest.approx(20_000 + 0 + math.log(3), rel=float(np.finfo(dtype).eps))
    third = np.asarray(1, dtype) / 3
    exact = np.array([[1, -1, 0], [0, 0, 0], [third, third, third - 1]], dtype)
    gradient = loss.gradient(z, target, 1.0, np.empty_like(z))
    np.testing.assert_array_equal(gradient[:2], exact[:2])
    np.testing.assert_allclose(gradient[2], exact[2], rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ALL)
def test_results_for_certain_outputs_right_or_wrong_are_finite(name):
    for dtype in ("float32", "float64"):
        loss = ALL[name]()
        loss.bind(dtype)
        large = 1e4 if loss.includes or not loss.needs_probabilities else 1
        z = np.array([[large, 0.0], [0.0, large]], dtype)
        target = np.array([[1, 0], [1, 0]], dtype)
        assert math.isfinite(loss.value(z, target, 0.5))
        assert np.isfinite(loss.gradient(z, target, 0.5, np.empty_like(z))).all()


def test_values_by_hand():
    z, target = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    assert CrossEntropy().value(z, target, 1 / 2) == pytest.approx(-(math.log(0.8) + math.log(0.5)) / 2)
    assert BinaryCrossEntropy().value(z, target, 1 / 2) == pytest.approx(
        -(2 * math.log(0.8) + 2 * math.log(0.5)) / 4)
    assert MeanSquaredError().value(z, target, 1 / 2) == pytest.approx((0.04 + 0.04 + 0.25 + 0.25) / 4)


@pytest.mark.parametrize("name", ALL)
def test_labels_and_one_hot_rows_are_the_same_target(name):
    loss = ALL[name]()
    labels = np.array([2, 0, 1])
    for y in (labels, labels.astype(np.uint8), labels.tolist(), np.eye(3)[labels], np.eye(3, dtype=bool)[labels]):
        target = loss.encode(y, 3, np.float32)
        assert target.dtype == np.float32
        np.testing.assert_array_equal(target, np.eye(3)[labels])
        assert loss.classifies(target)


@pytest.mark.parametrize(("loss", "y", "width", "message"), [
    (CrossEntropy(), [0, 3], 3, "label 3, but the model has 3 outputs: labels must be 0 to 2"),
    (CrossEntropy(), [0, -1], 3, "label -1, but the model has 3 outputs"),
    (CrossEntropy(), [0.0, 1.0], 3, r"give integer labels \(y.astype\(int\)\)"),
    (CrossEntropy(), [[0], [1]], 3, r"y is a column \(2, 1\) of labels: give them as \(N,\), by y.ravel\(\)"),
    (CrossEntropy(), ["a", "b"], 3, "y holds <U1, not numbers"),
    (CrossEntropy(), [[0.2, 0.2, 0.2]], 3, "each row of y must sum to 1"),
    (CrossEntropy(), [[2.0, -1.0, 0.0]], 3, r"y must be in \[0, 1\], but reaches from -1.0 to 2.0"),
    (CrossEntropy(), [0, 1], 1, "at least 2"),
    (BinaryCrossEntropy(), [0, 2], 1, r"y must be in \[0, 1\], but reaches from 0 to 2: give labels 0 and 1"),
    (MeanSquaredError(), [[0.0, math.nan]], 2, "y holds NaN or infinity, first in row 0"),
    (MeanSquaredError(), np.zeros((4, 2)), 3, r"y has shape \(4, 2\), but the model has 3 outputs"),
    (MeanSquaredError(), np.zeros((4, 2, 2)), 2, r"y has shape \(4, 2, 2\)"),
])
def test_bad_targets_are_named(loss, y, width, message):
    with pytest.raises(ValueError, match=message):
        loss.encode(y, width, float)


def test_there_is_an_accuracy_only_if_there_are_classes():
    numbers = np.array([[0.3, 0.9], [1.0, 2.0]])
    assert not MeanSquaredError().classifies(numbers)
    assert not BinaryCrossEntropy().classifies(np.array([[1.0, 1.0], [0.0, 1.0]]))  # several labels in a row
    assert BinaryCrossEntropy().classifies(np.array([[1.0], [0.0]]))
