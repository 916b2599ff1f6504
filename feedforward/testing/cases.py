"""What the checks run on: new layers, random batches, targets, outputs at which a loss is finite; an objective."""

import copy
import math
from typing import Any

import numpy as np

from feedforward.testing.faults import Fault, require_array, require_dx, require_number
from nn import Layer, Loss, Sigmoid, Softmax
from nn.arrays import size, views
from nn.fields import field_types
from optimizers import Objective

LayerCase = tuple[Layer, tuple[int, int, int]]  # a new layer, and n, n_in and n_out of a batch
LossCase = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]  # z, target, v, w, all (n, K), and a scale


def random_shapes(rng: np.random.Generator, count: int = 20) -> list[tuple[int, int, int]]:
    """Return (n, n_in, n_out) of `count` random batches and of four fixed ones: a batch of 1 and square shapes."""
    shapes = [(int(n), int(n_in), int(n_out)) for n, n_in, n_out in rng.integers(1, 9, (count, 3))]
    return [(1, 5, 3), (1, 4, 4), (3, 3, 3), (6, 6, 6), *shapes]


# layers

def make_layer(like: Layer | type[Layer], n_in: int, n_out: int) -> Layer:
    """Return a new layer of the class and fields of `like`, with these widths if it has fields `n_in` and `n_out`."""
    kind: type[Layer] = like if isinstance(like, type) else type(like)
    fields = {} if isinstance(like, type) else like.description()
    widths = {"n_in": n_in, "n_out": n_out}
    return kind(**{**fields, **{name: width for name, width in widths.items() if name in field_types(kind)}})


def away_from_kinks(x: np.ndarray) -> np.ndarray:
    """Return x moved away from 0 by a tenth: the kinks of the layers in the table are at 0."""
    return x + np.where(x >= 0, 0.1, -0.1)


def layer_cases(like: Layer) -> list[LayerCase]:
    """Return a new layer for each random shape. If it does not accept the width, the nearest accepted width is used."""
    cases = []
    for n, n_in, n_out in random_shapes(np.random.default_rng(0)):
        try:
            layer = make_layer(like, n_in, n_out)
        except ValueError:  # the class refuses these widths
            layer = copy.deepcopy(like)
        cases.append((layer, (n, accepted_width(layer, n_in), n_out)))
    return cases


def accepted_width(layer: Layer, n_in: int) -> int:
    """Return the `input_width` of the layer; if it is None, the number nearest to n_in that `output_width` accepts."""
    if (fixed := layer.input_width) is not None:
        try:
            layer.output_width(fixed)
        except ValueError as error:
            raise Fault(f"input_width is {fixed}, but output_width({fixed}) raises ValueError: {error}") from None
        return fixed
    for width in sorted(range(1, 4097), key=lambda width: abs(width - n_in)):
        try:
            layer.output_width(width)
            return width
        except ValueError:
            continue
    raise Fault("output_width accepts no number of inputs from 1 to 4096")


class Bound:
    """A copy of a layer, bound to vectors of random numbers; `run` calls all its methods for one batch."""

    def __init__(self, layer: Layer, dtype: Any = float, theta: np.ndarray | None = None) -> None:
        self.layer, self.shapes = copy.deepcopy(layer), layer.shapes()
        numbers = np.random.default_rng(1).normal(size=(4, size(self.shapes))).astype(dtype)
        self.theta, self.grad, self.v, self.Hv = numbers
        self.theta[:] = self.theta if theta is None else theta
        self.layer.bind(self.theta, self.grad)
        constants = np.random.default_rng(2).uniform(0.5, 2, size(layer.constants()))
        self.layer.bind_constants(constants.astype(dtype))
        self.layer.bind_tangents(self.v, self.Hv)

    def forward(self, x: np.ndarray, seed: int | None = 0) -> np.ndarray:
        """Return y, with random numbers drawn from this seed; without random numbers if it is None."""
        self.layer.resample(None if seed is None else np.random.default_rng(seed))
        return require_array("forward", self.layer.forward(x))

    def run(self, x: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
        """Return copies of everything that the layer computes for x, by name."""
        y = self.forward(x, seed).copy()
        results, rng = {"y of forward": y}, np.random.default_rng(seed)
        dy, tdy = rng.normal(size=(2, *y.shape)).astype(x.dtype)
        tx = rng.normal(size=x.shape).astype(x.dtype)
        results["dL/dx of backward"] = require_dx(self.layer.backward(dy)).copy()
        results |= {f"dL/d{name} of backward": part.copy() for name, part in views(self.grad, self.shapes).items()}
        results["ty of jvp"] = self.layer.jvp(tx).copy()
        results["tdx of backward_jvp"] = require_dx(self.layer.backward_jvp(tdy)).copy()
        results |= {f"H{name} of backward_jvp": part.copy() for name, part in views(self.Hv, self.shapes).items()}
        return results


# losses

def random_target(loss: Loss, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Return targets (n, K) that the loss accepts: numbers, probabilities, distributions over the outputs, or labels.

    Raises ValueError if the loss accepts none of these.
    """
    probabilities = rng.uniform(size=(n, K))
    candidates = [rng.normal(size=(n, K)), probabilities, probabilities / probabilities.sum(axis=1, keepdims=True),
                  rng.integers(K, size=n)]
    for y in candidates[1 if loss.needs_probabilities else 0 :]:
        try:
            return loss.encode(y, K, float)
        except ValueError as error:
            refusal = error
    raise refusal


def random_targets(loss: Loss, rng: np.random.Generator) -> list[np.ndarray]:
    """Return targets for each random shape that the loss accepts."""
    targets, refusal = [], ""
    for n, K, _ in random_shapes(rng):
        try:
            targets.append(random_target(loss, n, K, rng))
        except ValueError as error:
            refusal = str(error)
    if not targets:
        raise Fault(f"encode accepts neither numbers nor probabilities nor labels: {refusal}")
    return targets


def random_output(loss: Loss, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return z of the target's shape at which the loss is finite.

    If the loss needs probabilities, z is the output of a last layer that gives them and that the loss accepts.
    Otherwise z consists of normal numbers, or, if the loss is not finite for these, of numbers between 0 and 1.
    """
    numbers, fractions = rng.normal(size=target.shape), rng.uniform(0.05, 0.95, target.shape)
    if loss.needs_probabilities and not loss.includes:
        return _probabilities(loss, numbers)
    with np.errstate(all="ignore"):
        return numbers if math.isfinite(require_number("value", loss.value(numbers, target, 1.0))) else fractions


def _probabilities(loss: Loss, numbers: np.ndarray) -> np.ndarray:
    """Return the output of the first of Sigmoid and Softmax that the loss accepts as last layer; else of Sigmoid."""
    for layer in (Sigmoid(), Softmax()):
        try:
            loss.for_last_layer(layer)
        except ValueError:
            continue
        if numbers.shape[1] > 1:  # Softmax gives 1 if there is one output
            return layer.forward(numbers)
    return Sigmoid().forward(numbers)


def loss_cases(loss: Loss) -> list[LossCase]:
    """Return a case for each random shape for which the loss accepts targets."""
    rng = np.random.default_rng(0)
    return [(random_output(loss, target, rng), target, *rng.normal(size=(2, *target.shape)), 1 / len(target))
            for target in random_targets(loss, rng)]


# optimizers

class ConvexObjective(Objective):
    """The mean over n examples of r^2 / 2, r = sqrt(a) (d + d^3 / 10), d = theta - 1: an example for each element.

    If `fixed_value` is not None, it replaces the value.
    """

    def __init__(self, dtype: Any = float, theta: np.ndarray | None = None,
                 fixed_value: float | None = None, n: int = 6) -> None:
        self.theta = np.linspace(-1, 2.5, n).astype(dtype) if theta is None else theta
        self.examples, self.fixed_value = self.theta.size, fixed_value
        self.weights = np.linspace(1, 3, self.examples) / self.examples

    @np.errstate(over="ignore", invalid="ignore")
    def _derivatives(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return r and its first and second derivatives, in float64."""
        d, root = self.theta.astype(float) - 1, np.sqrt(self.weights)
        return root * (d + d**3 / 10), root * (1 + 0.3 * d**2), root * 0.6 * d

    def _like_theta(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.theta.dtype)

    @np.errstate(over="ignore", invalid="ignore")
    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        r, slopes, _ = self._derivatives()
        value = float(r @ r) / 2 if self.fixed_value is None else self.fixed_value
        return value, self._like_theta(slopes * r)

    def hessian_product(self, v: np.ndarray) -> np.ndarray:
        r, slopes, curvatures = self._derivatives()
        return self._like_theta((slopes**2 + curvatures * r) * v)

    def gauss_newton_product(self, v: np.ndarray) -> np.ndarray:
        return self._like_theta(self._derivatives()[1] ** 2 * v)

    def residuals(self) -> np.ndarray:
        return self._like_theta(self._derivatives()[0])

    def jacobian(self) -> np.ndarray:
        return self._like_theta(np.diag(self._derivatives()[1]))

    def subsample(self, rows: Any) -> Objective:
        part = ConvexObjective(theta=self.theta)
        part.weights = np.zeros(self.examples)
        part.weights[rows] = self.weights[rows] * self.examples / self.weights[rows].size
        return part
