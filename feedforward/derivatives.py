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

from nn.arrays import size, views
from nn.fields import field_types
from nn.layers import Layer
from nn.losses import Loss

CENTRAL, COMPLEX = 1e-6, 1e-10  # the largest errors that pass
ALIKE = 1e-12  # the largest relative difference between results that differ by rounding alone
SECOND = ", in a second batch"  # ends the name of an error that is found after another batch was run

Errors = dict[str, tuple[float, float]]
"""By the name of a derivative: its error by central differences, and by complex steps (NaN if these do not apply)."""


def central(f: Callable[[Any], Any], h: float = 1e-5) -> Any:
    """Return f'(0) with an error of order h^4, for a function of a real number."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def complex_step(f: Callable[[Any], Any], h: float = 1e-30) -> Any:
    """Return f'(0) to rounding, for a function that is analytic near 0: there is no difference that could cancel."""
    return f(1j * h).imag / h


def relative(a: float, b: float, magnitude: float) -> float:
    """Return |a - b| relative to a and b, or to the magnitude of the terms that they are sums of."""
    return float(abs(a - b) / max(abs(a), abs(b), 1e-3 * magnitude, 1e-300))


def compare(names: Sequence[str], exact: np.ndarray, magnitudes: Sequence[float], f: Callable[[Any], Any]) -> Errors:
    """Return the errors of `exact` as the derivative of f at 0; f returns an array with one number for each name.

    Complex steps do not apply if f raises TypeError for complex numbers or discards imaginary parts, or if they are far
    from the differences, as they are of functions that are not analytic, such as abs.
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
    by_differences, by_complex_steps = zip(*(both for named in errors for both in named.values()))
    return float(np.max(by_differences)), float(np.max(by_complex_steps))


def make_layer(like: Layer | type[Layer], n_in: int, n_out: int) -> Layer:
    """Return a new layer like this one, or of this class; of these widths if it has fields `n_in` and `n_out`."""
    kind: type[Layer] = like if isinstance(like, type) else type(like)
    fields = {} if isinstance(like, type) else like.description()
    widths = {"n_in": n_in, "n_out": n_out}
    return kind(**{**fields, **{name: width for name, width in widths.items() if name in field_types(kind)}})


def away_from_kinks(x: np.ndarray) -> np.ndarray:
    """Return x moved away from 0 by a tenth: the kinks of the layers in the table are at 0."""
    return x + np.where(x >= 0, 0.1, -0.1)


class Fault(AssertionError):
    """What is wrong, without the name of the class, which `feedforward.testing` adds."""


def given(dx: np.ndarray | None) -> np.ndarray:
    """Return dx; raise Fault if it is None."""
    if dx is None:
        raise Fault("backward or backward_jvp returned None: it must return an array unless needs_dx is False")
    return dx


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference relative to the largest of b; infinity if the shapes differ or a number is NaN."""
    if a.shape != b.shape:
        return math.inf
    difference = float(np.abs(a - b).max(initial=0)) / max(float(np.abs(b).max(initial=0)), 1e-300)
    return difference if math.isfinite(difference) else math.inf


def judge(errors: Errors, what: str, advice: Callable[[str], str]) -> None:
    """Raise Fault if an error is larger than allowed."""
    for name, (by_differences, by_complex_steps) in errors.items():
        for error, allowed, method in ((by_differences, CENTRAL, "central differences"),
                                       (by_complex_steps, COMPLEX, "complex steps")):
            if error > allowed or (allowed == CENTRAL and math.isnan(error)):  # NaN: complex steps do not apply
                raise Fault(f"{name} differs from {method} by {error:.1e} (at most {allowed:g} is allowed), for {what}"
                            f": {advice(name)}")


def random_shapes(rng: np.random.Generator, count: int = 20) -> list[tuple[int, int, int]]:
    """Return (n, n_in, n_out) of `count` batches, and of four more: a batch of 1 and squares are among these."""
    shapes = [(int(n), int(n_in), int(n_out)) for n, n_in, n_out in rng.integers(1, 9, (count, 3))]
    return [(1, 5, 3), (1, 4, 4), (3, 3, 3), (6, 6, 6), *shapes]


def layer_errors(layer: Layer, shape: tuple[int, int, int], rng: np.random.Generator) -> Errors:
    """Return the errors of what `backward` gives for x (n, n_in): dL/dx, and dL/d of each parameter.

    L is <c, y> for a random c. It is differentiated in a random direction. A first batch leaves values in the layer's
    buffers; the second one must not depend on them.
    """
    n, n_in, _ = shape
    shapes = layer.shapes()
    P, parameters = size(shapes), list(shapes)
    names = [f"dL/d{name} of backward" for name in (*parameters, "x")]
    theta, grad = np.empty(P), rng.normal(size=P)
    layer.bind(theta, grad)
    errors: Errors = {}
    for suffix in ("", SECOND):
        theta[:] = rng.normal(size=P)
        x, w = away_from_kinks(rng.normal(size=(n, n_in))), rng.normal(size=(n, n_in))
        seed = int(rng.integers(2**32))
        layer.resample(np.random.default_rng(seed))
        c, u = rng.normal(size=layer.forward(x).shape), rng.normal(size=P)
        dx = given(layer.backward(c.copy()))
        terms = [view.copy().ravel() for view in views(grad * u, shapes).values()] + [np.ravel(dx * w)]

        def f(h: complex, theta: Any = theta, x: Any = x, c: Any = c, u: Any = u, w: Any = w, seed: int = seed) -> Any:
            values = []
            for moving in range(len(parameters) + 1):  # one parameter at a time, and last of all x
                moved, at = copy.copy(layer), theta + 0 * h
                for i, (part, direction) in enumerate(zip(views(at, shapes).values(), views(u, shapes).values())):
                    part += h * direction if i == moving else 0
                moved.bind(at, np.zeros_like(at))
                moved.resample(np.random.default_rng(seed))
                values.append(np.sum(c * moved.forward(x + (h if moving == len(parameters) else 0 * h) * w)))
            return np.array(values)

        exact = np.array([part.sum() for part in terms])
        magnitude = float(sum(np.abs(part).sum() for part in terms))
        errors |= compare([name + suffix for name in names], exact, [magnitude] * len(names), f)
    return errors


def tangent_errors(layer: Layer, shape: tuple[int, int, int], rng: np.random.Generator) -> Errors:
    """Return the errors of `jvp` and `backward_jvp`: the tangents of y, of dL/dx, and of dL/d of each parameter.

    Everything moves at once: the parameters along v, x along tx, dy along tdy. The transposed Jacobian, which
    backward_jvp gives without second_order, is compared with the Jacobian by <J u, tdy> = <u, J^T tdy>.
    """
    n, n_in, _ = shape
    shapes = layer.shapes()
    P = size(shapes)
    names = ["the tangent of y of jvp", *(f"the tangent of dL/d{name} of backward_jvp" for name in (*shapes, "x"))]
    theta, grad, v, Hv = np.empty(P), np.empty(P), np.empty(P), np.empty(P)
    layer.bind(theta, grad)
    layer.bind_tangents(v, Hv)
    errors: Errors = {}
    for suffix in ("", SECOND):
        theta[:] = rng.normal(size=P)
        x, tx = away_from_kinks(rng.normal(size=(n, n_in))), rng.normal(size=(n, n_in))
        seed = int(rng.integers(2**32))
        layer.resample(np.random.default_rng(seed))
        dy, tdy, e = rng.normal(size=(3, *layer.forward(x).shape))
        a, b = rng.normal(size=P), rng.normal(size=x.shape)

        def f(h: complex, direction: Any, theta: Any = theta, x: Any = x, dy: Any = dy, tx: Any = tx, tdy: Any = tdy,
              e: Any = e, a: Any = a, b: Any = b, seed: int = seed) -> Any:
            moved, gradient = copy.copy(layer), np.zeros(P) + 0 * h
            moved.bind(theta + h * direction, gradient)
            moved.resample(np.random.default_rng(seed))
            y = moved.forward(x + h * tx)
            dx = given(moved.backward(dy + h * tdy))
            return np.array([np.sum(e * y), *(part.sum() for part in views(a * gradient, shapes).values()),
                             np.sum(b * dx)])

        for _ in range(2):  # two products at one point
            direction = rng.normal(size=P)
            v[:] = direction
            layer.backward(dy)
            ty = layer.jvp(tx).copy()
            layer.backward(dy)
            transposed = given(layer.backward_jvp(tdy, second_order=False))
            both = [ty * tdy, v * Hv, transposed * tx]
            magnitude = sum(np.abs(each).sum() for each in both)
            adjoint = relative(np.sum(both[0]), np.sum(both[1]) + np.sum(both[2]), magnitude)
            tdx = given(layer.backward_jvp(tdy))
            terms = [e * ty, *(view.copy() for view in views(a * Hv, shapes).values()), b * tdx]
            magnitudes = [np.abs(e * ty).sum(), *[np.abs(a * Hv).sum()] * len(shapes), np.abs(b * tdx).sum()]
            exact = np.array([term.sum() for term in terms])
            found = compare(names, exact, magnitudes, partial(f, direction=direction))
            found["the transposed Jacobian of backward_jvp with second_order=False"] = (adjoint, adjoint)
            for name, both_errors in found.items():
                errors[name + suffix] = worst([{name: both_errors}, {name: errors.get(name + suffix, (0.0, 0.0))}])
    return errors


def random_target(loss: Loss, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Return targets (n, K) that the loss accepts: numbers, shares of several answers, distributions, or classes.

    Raises ValueError if it accepts none.
    """
    shares = rng.uniform(size=(n, K))
    candidates = [rng.normal(size=(n, K)), shares, shares / shares.sum(axis=1, keepdims=True), rng.integers(K, size=n)]
    for y in candidates[1 if loss.needs_probabilities else 0 :]:
        try:
            return loss.encode(y, K, float)
        except ValueError as error:
            refusal = error
    raise refusal


def random_output(loss: Loss, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return z like the target, where the loss is finite: any numbers, or numbers between 0 and 1."""
    numbers, shares = rng.normal(size=target.shape), rng.uniform(0.05, 0.95, target.shape)
    if loss.needs_probabilities and not loss.includes:
        return shares
    with np.errstate(all="ignore"):
        return numbers if math.isfinite(loss.value(numbers, target, 1.0)) else shares


def loss_errors(loss: Loss, shape: tuple[int, int], rng: np.random.Generator) -> Errors:
    """Return the errors of `gradient` and `hessian_product` for z (n, K), in two batches one after another."""
    n, K = shape
    errors: Errors = {}
    for suffix in ("", SECOND):
        loss.bind(float)
        target = random_target(loss, n, K, rng)
        z = random_output(loss, target, rng)
        v, w = rng.normal(size=(2, n, K))

        def f(h: complex, z: Any = z, target: Any = target, v: Any = v, w: Any = w) -> Any:
            """The value, moved along w; <w, gradient>, moved along v."""
            moved, t, out = copy.copy(loss), target + 0 * h, np.zeros((n, K)) + 0 * h
            moved.bind(out.dtype)
            value = moved.value(z + h * w, t, 1 / n)
            moved.value(z + h * v, t, 1 / n)
            return np.array([value, np.sum(w * moved.gradient(z + h * v, t, 1 / n, out))])

        loss.value(z, target, 1 / n)
        terms = [loss.gradient(z, target, 1 / n, rng.normal(size=(n, K))).copy() * w,
                 loss.hessian_product(z, target, v, 1 / n, rng.normal(size=(n, K))) * w]
        errors |= compare(["gradient" + suffix, "hessian_product" + suffix], np.array([term.sum() for term in terms]),
                          [np.abs(term).sum() for term in terms], f)
    return errors
