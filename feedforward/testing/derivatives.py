"""The derivatives of layers and losses, compared with central differences and complex steps.

`feedforward.testing` makes assertions from these numbers. All errors are relative.
"""

from collections.abc import Callable, Iterable, Sequence
import copy
from functools import partial
import math
from typing import Any
import warnings

import numpy as np

from feedforward.testing.cases import Bound, away_from_kinks, random_output, random_target
from feedforward.testing.faults import Fault, require_array, require_dx
from nn import Layer, Loss
from nn.arrays import size, views

CENTRAL_TOLERANCE, COMPLEX_TOLERANCE = 1e-6, 1e-10  # the largest errors that pass
SECOND_BATCH = ", in a second batch,"  # ends the name of an error that a new object does not make in the same batch

Errors = dict[str, tuple[float, float]]
"""For each derivative, its error by central differences and its error by complex steps (NaN if these do not apply)."""


def central(f: Callable[[Any], Any], h: float = 1e-5) -> Any:
    """Return f'(0) with an error of order h^4, for a function of a real number."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def complex_step(f: Callable[[Any], Any], h: float = 1e-30) -> Any:
    """Return f'(0) up to rounding errors, for a function that is analytic near 0: there is no cancellation."""
    return f(1j * h).imag / h


def relative(a: float, b: float, magnitude: float) -> float:
    """Return |a - b| relative to a and b, or to the magnitude of the terms that they are sums of."""
    return float(abs(a - b) / max(abs(a), abs(b), 1e-3 * magnitude, 1e-300))


def compare(names: Sequence[str], exact: np.ndarray, magnitudes: Sequence[float], f: Callable[[Any], Any]) -> Errors:
    """Return the errors of `exact` as the derivative of f at 0; f returns an array with one number for each name.

    Complex steps do not apply if f raises TypeError for complex numbers or discards imaginary parts, or if they
    differ much from the differences, as for functions that are not analytic, such as abs.
    """
    differences = central(f)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            steps = complex_step(f)
    except (TypeError, np.exceptions.ComplexWarning):
        steps = np.full(len(names), math.nan)
    errors = {}
    for name, value, magnitude, difference, step in zip(names, exact, magnitudes, differences, steps):
        applies = relative(difference, step, magnitude) < 1e-4
        errors[name] = (relative(value, difference, magnitude),
                        relative(value, step, magnitude) if applies else math.nan)
    return errors


def worst(errors: Iterable[Errors]) -> tuple[float, float]:
    """Return the largest error by central differences and by complex steps; NaN if one of them is NaN."""
    by_differences, by_complex_steps = zip(*(pair for named in errors for pair in named.values()))
    return float(np.max(by_differences)), float(np.max(by_complex_steps))


def _failed(pair: tuple[float, float]) -> tuple[str, float, float] | None:
    """Return the method, the error and the largest allowed error, if one of the two errors is too large."""
    for error, allowed, method in zip(pair, (CENTRAL_TOLERANCE, COMPLEX_TOLERANCE),
                                      ("central differences", "complex steps")):
        # NaN: complex steps do not apply
        if error > allowed or (allowed == CENTRAL_TOLERANCE and math.isnan(error)):
            return method, error, allowed
    return None


def check_errors(errors: Errors, what: str, advice: Callable[[str], str]) -> None:
    """Raise Fault if an error is larger than allowed."""
    for name, pair in errors.items():
        if failed := _failed(pair):
            method, error, allowed = failed
            raise Fault(f"{name} differs from {method} by {error:.1e} (at most {allowed:g} is allowed), for {what}: "
                        f"{advice(name)}")


def _add(errors: Errors, name: str, pair: tuple[float, float]) -> None:
    """Keep the larger of two errors of one name. Complex steps that do not apply (NaN) do not hide those that do."""
    earlier = errors.get(name, (0.0, math.nan))
    errors[name] = (float(np.maximum(earlier[0], pair[0])), float(np.fmax(earlier[1], pair[1])))


def _in_two_batches(new: Callable[[], Callable[[np.random.Generator], Errors]], rng: np.random.Generator) -> Errors:
    """Return the errors in two batches, one after the other. The second one must not depend on the first.

    `new` makes a function that returns the errors of an unused object in a random batch. If an error of the second
    batch is too large, the batch is repeated with another object: if that is right, the name ends in SECOND_BATCH.
    """
    errors_of_batch = new()
    errors, seed = errors_of_batch(rng), int(rng.integers(2**32))
    for name, pair in errors_of_batch(np.random.default_rng(seed)).items():
        depends_on_first = _failed(pair) and not _failed(new()(np.random.default_rng(seed))[name])
        _add(errors, name + SECOND_BATCH if depends_on_first else name, pair)
    return errors


def layer_errors(layer: Layer, shape: tuple[int, int, int], rng: np.random.Generator) -> Errors:
    """Return the errors of the gradients of `backward` for x (n, n_in): dL/dx, and dL/d of each parameter.

    L is <c, y> for a random c. It is differentiated in a random direction.
    """
    return _in_two_batches(lambda: partial(_gradient_errors, Bound(layer), shape[0], shape[1]), rng)


def _gradient_errors(bound: Bound, n: int, n_in: int, rng: np.random.Generator) -> Errors:
    """Return `layer_errors` in one batch."""
    layer, shapes, theta = bound.layer, bound.shapes, bound.theta
    theta[:] = rng.normal(size=theta.shape)
    x, w = away_from_kinks(rng.normal(size=(n, n_in))), rng.normal(size=(n, n_in))
    seed = int(rng.integers(2**32))
    c, u = rng.normal(size=bound.forward(x, seed).shape), rng.normal(size=theta.shape)
    dx = require_dx(layer.backward(c.copy()))
    terms = [part.copy() for part in views(bound.grad * u, shapes).values()] + [dx * w]

    def f(h: complex) -> Any:
        values = []
        for changing in (*shapes, None):  # one parameter at a time, and finally x
            moved, at = copy.copy(layer), theta + 0 * h
            if changing is not None:
                part = views(at, shapes)[changing]
                part += h * views(u, shapes)[changing]
            moved.bind(at, np.zeros_like(at))
            moved.resample(np.random.default_rng(seed))
            values.append(np.sum(c * moved.forward(x + (h if changing is None else 0 * h) * w)))
        return np.array(values)

    exact = np.array([term.sum() for term in terms])
    magnitude = float(sum(np.abs(term).sum() for term in terms))
    return compare([f"dL/d{name} of backward" for name in (*shapes, "x")], exact, [magnitude] * len(terms), f)


def tangent_errors(layer: Layer, shape: tuple[int, int, int], rng: np.random.Generator) -> Errors:
    """Return the errors of `jvp` and `backward_jvp`: the tangents of y, of dL/dx, and of dL/d of each parameter.

    Everything changes at once: the parameters along v, x along tx, dy along tdy. The transposed Jacobian, which
    backward_jvp applies without second_order, is compared with the Jacobian by <J u, tdy> = <u, J^T tdy>.
    """
    return _in_two_batches(lambda: partial(_tangent_errors, Bound(layer), shape[0], shape[1]), rng)


def _tangent_errors(bound: Bound, n: int, n_in: int, rng: np.random.Generator) -> Errors:
    """Return `tangent_errors` in one batch."""
    layer, shapes, theta, P = bound.layer, bound.shapes, bound.theta, size(bound.shapes)
    theta[:] = rng.normal(size=P)
    x, tx = away_from_kinks(rng.normal(size=(n, n_in))), rng.normal(size=(n, n_in))
    seed = int(rng.integers(2**32))
    dy, tdy, e = rng.normal(size=(3, *bound.forward(x, seed).shape))
    a, b = rng.normal(size=P), rng.normal(size=x.shape)

    def f(h: complex, direction: np.ndarray) -> Any:
        moved, gradient = copy.copy(layer), np.zeros(P) + 0 * h
        moved.bind(theta + h * direction, gradient)
        moved.resample(np.random.default_rng(seed))
        y = moved.forward(x + h * tx)
        dx = require_dx(moved.backward(dy + h * tdy))
        return np.array([np.sum(e * y), *(part.sum() for part in views(a * gradient, shapes).values()), np.sum(b * dx)])

    names = ["the tangent of y of jvp", *(f"the tangent of dL/d{name} of backward_jvp" for name in (*shapes, "x"))]
    errors: Errors = {}
    for _ in range(2):  # two products at one point
        direction = bound.v[:] = rng.normal(size=P)
        layer.backward(dy)
        ty = require_array("jvp", layer.jvp(tx)).copy()
        layer.backward(dy)
        transposed = _transposed_error(bound, tx, ty, tdy)
        tdx = require_dx(layer.backward_jvp(tdy))
        terms = [e * ty, *(part.copy() for part in views(a * bound.Hv, shapes).values()), b * tdx]
        magnitudes = [np.abs(e * ty).sum(), *[np.abs(a * bound.Hv).sum()] * len(shapes), np.abs(b * tdx).sum()]
        exact = np.array([term.sum() for term in terms])
        for name, pair in compare(names, exact, magnitudes, partial(f, direction=direction)).items():
            _add(errors, name, pair)
        _add(errors, "the transposed Jacobian of backward_jvp with second_order=False", (transposed, transposed))
    return errors


def _transposed_error(bound: Bound, tx: np.ndarray, ty: np.ndarray, tdy: np.ndarray) -> float:
    """Return the error of <ty, tdy> = <v, Hv> + <tx, tdx>, for J^T tdy = (Hv, tdx)."""
    tdx = require_dx(bound.layer.backward_jvp(tdy, second_order=False))
    products = [ty * tdy, bound.v * bound.Hv, tdx * tx]
    magnitude = sum(np.abs(product).sum() for product in products)
    return relative(np.sum(products[0]), np.sum(products[1]) + np.sum(products[2]), magnitude)


def loss_errors(loss: Loss, shape: tuple[int, int], rng: np.random.Generator) -> Errors:
    """Return the errors of `gradient` and `hessian_product` for z (n, K)."""
    def new() -> Callable[[np.random.Generator], Errors]:
        unused = copy.deepcopy(loss)
        unused.bind(float)
        return partial(_loss_errors, unused, *shape)

    return _in_two_batches(new, rng)


def _loss_errors(loss: Loss, n: int, K: int, rng: np.random.Generator) -> Errors:
    """Return `loss_errors` in one batch."""
    target = random_target(loss, n, K, rng)
    z = random_output(loss, target, rng)
    v, w = rng.normal(size=(2, n, K))

    def f(h: complex) -> Any:
        """The value at z + h w; <w, gradient> at z + h v."""
        moved, t, out = copy.copy(loss), target + 0 * h, np.zeros((n, K)) + 0 * h
        moved.bind(out.dtype)
        value = moved.value(z + h * w, t, 1 / n)
        moved.value(z + h * v, t, 1 / n)
        return np.array([value, np.sum(w * moved.gradient(z + h * v, t, 1 / n, out))])

    loss.value(z, target, 1 / n)
    terms = [loss.gradient(z, target, 1 / n, rng.normal(size=(n, K))).copy() * w,
             loss.hessian_product(z, target, v, 1 / n, rng.normal(size=(n, K))) * w]
    return compare(["gradient", "hessian_product"], np.array([term.sum() for term in terms]),
                   [np.abs(term).sum() for term in terms], f)
