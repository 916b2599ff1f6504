"""Derivatives by other means, to hold the real ones to: central differences and complex steps."""

from collections.abc import Callable
import copy
from dataclasses import fields
from typing import Any

import numpy as np

from nn.layers import Layer
from nn.losses import CrossEntropy, Loss
from nn.parameters import size

CENTRAL, COMPLEX = 1e-6, 1e-10  # the relative errors that pass


def central(f: Callable[[Any], Any], h: float = 1e-5) -> float:
    """f'(0) to an error of order h^4, for a function of a real number."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def complex_step(f: Callable[[Any], Any], h: float = 1e-30) -> float:
    """f'(0) to rounding, for a function that is analytic near 0: no difference is taken, so nothing cancels."""
    return f(1j * h).imag / h


def relative(a: float, b: float, magnitude: float) -> float:
    """How far apart a and b are, beside them or the magnitude of the terms that they sum."""
    return abs(a - b) / max(abs(a), abs(b), 1e-3 * magnitude, 1e-300)


def make(kind: type[Layer], n_in: int, n_out: int) -> Layer:
    """A layer of this kind: every kind in the table is either given its widths or works at any."""
    sizes = {"n_in": n_in, "n_out": n_out}
    return kind(**{field.name: sizes[field.name] for field in fields(kind) if field.name in sizes})


def away_from_kinks(x: np.ndarray) -> np.ndarray:
    """x moved off 0, by a tenth at least: every kink in the table is at 0."""
    return x + np.where(x >= 0, 0.1, -0.1)


def random_shapes(rng: np.random.Generator, count: int = 20) -> list[tuple[int, int, int]]:
    """(n, n_in, n_out): a batch of 1 and squares are among them."""
    shapes = [tuple(int(k) for k in rng.integers(1, 9, 3)) for _ in range(count)]
    return [(1, 5, 3), (1, 4, 4), (3, 3, 3), (6, 6, 6), *shapes]


def layer_errors(layer: Layer, shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[float, float]:
    """The relative errors of a layer's derivative, by central differences and by complex steps: the worse of two.

    The derivative is of <c, y> in a random direction through parameters and input together. A first round with other
    numbers leaves its traces in the buffers; a second must not show them.
    """
    n, n_in, _ = shape
    parameters = size(layer.shapes())
    worst = [0.0, 0.0]
    theta, grad = np.empty(parameters), rng.normal(size=parameters)
    layer.bind(theta, grad)
    for _ in range(2):
        theta[:] = rng.normal(size=parameters)
        x = away_from_kinks(rng.normal(size=(n, n_in)))
        seed = int(rng.integers(2**32))
        layer.freeze(np.random.default_rng(seed))
        c = rng.normal(size=layer.forward(x).shape)
        u, w = rng.normal(size=parameters), rng.normal(size=x.shape)

        def f(h: complex, theta: Any = theta, x: Any = x, c: Any = c, u: Any = u, w: Any = w, seed: int = seed) -> Any:
            moved = copy.copy(layer)
            moved.bind(theta + h * u, np.zeros(parameters) + 0 * h)
            moved.freeze(np.random.default_rng(seed))
            return np.sum(c * moved.forward(x + h * w))

        dx = layer.backward(c.copy())
        assert dx is not None
        terms = np.concatenate([grad * u, (dx * w).ravel()])
        magnitude = np.abs(terms).sum()
        for i, numeric in enumerate((central(f), complex_step(f))):
            worst[i] = max(worst[i], relative(terms.sum(), numeric, magnitude))
    return worst[0], worst[1]


def loss_errors(loss: Loss, shape: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """The same of a loss's gradient with respect to its input z, for targets with and without certainty."""
    n, K = shape
    worst = [0.0, 0.0]
    for _ in range(2):
        target = random_target(loss, n, K, rng)
        z = rng.normal(size=(n, K)) if loss.joins or not loss.needs_probabilities else rng.uniform(0.05, 0.95, (n, K))
        w, scale = rng.normal(size=(n, K)), 1 / n

        def f(h: complex, z: Any = z, target: Any = target, w: Any = w) -> Any:
            moved = type(loss)()
            moved.bind(np.result_type(float, type(h)))
            return moved.value(z + h * w, target + 0 * h, 1 / n)

        loss.bind(float)
        loss.value(z, target, scale)
        dz = loss.gradient(z, target, scale, rng.normal(size=(n, K)))
        magnitude = np.abs(dz * w).sum()
        for i, numeric in enumerate((central(f), complex_step(f))):
            worst[i] = max(worst[i], relative(np.sum(dz * w), numeric, magnitude))
    return worst[0], worst[1]


def random_target(loss: Loss, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """What the loss can be asked for: numbers, shares of several answers, or distributions over classes."""
    if not loss.needs_probabilities:
        return rng.normal(size=(n, K))
    target = rng.uniform(size=(n, K))
    return target / target.sum(axis=1, keepdims=True) if isinstance(loss, CrossEntropy) else target


def tangent_errors(layer: Layer, shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[float, float]:
    """The relative errors of a layer's jvp and backward_jvp, by central differences and by complex steps.

    Everything moves at once: the parameters along v, x along tx, dy along tdy. <e, y>, <a, grad> and <b, dx> are
    differentiated; J^T is held to <J u, tdy> = <u, J^T tdy>. As above, in two rounds. An error counts beside the
    magnitude of what it is part of.
    """
    n, n_in, _ = shape
    P = size(layer.shapes())
    worst = [0.0, 0.0]
    theta, grad, v, Hv = np.empty(P), np.empty(P), np.empty(P), np.empty(P)
    layer.bind(theta, grad)
    layer.bind_tangents(v, Hv)
    for _ in range(2):
        theta[:] = rng.normal(size=P)
        x, tx = away_from_kinks(rng.normal(size=(n, n_in))), rng.normal(size=(n, n_in))
        seed = int(rng.integers(2**32))
        layer.freeze(np.random.default_rng(seed))
        dy, tdy, e = rng.normal(size=(3, *layer.forward(x).shape))
        a, b = rng.normal(size=P), rng.normal(size=x.shape)

        def f(h: complex, theta: Any = theta, x: Any = x, dy: Any = dy, tx: Any = tx, tdy: Any = tdy, e: Any = e,
              a: Any = a, b: Any = b, moves: Any = None, seed: int = seed) -> Any:
            moved = copy.copy(layer)
            gradient = np.zeros(P) + 0 * h
            moved.bind(theta + h * moves, gradient)
            moved.freeze(np.random.default_rng(seed))
            y = moved.forward(x + h * tx)
            dx = moved.backward(dy + h * tdy)
            return np.array([np.sum(e * y), np.sum(a * gradient), np.sum(b * dx)])

        for _ in range(2):  # two products at one point
            moves = rng.normal(size=P)
            v[:] = moves
            layer.backward(dy)
            ty = layer.jvp(tx).copy()
            layer.backward(dy)
            transposed = layer.backward_jvp(tdy, curved=False)
            adjoint = np.sum(ty * tdy), v @ Hv + np.sum(transposed * tx)
            magnitude = np.abs(ty * tdy).sum() + np.abs(v * Hv).sum() + np.abs(transposed * tx).sum()
            tdx = layer.backward_jvp(tdy)
            mine = np.array([np.sum(e * ty), a @ Hv, np.sum(b * tdx)])
            sizes = [np.abs(e * ty).sum(), np.abs(a * Hv).sum(), np.abs(b * tdx).sum()]

            def g(h: complex, f: Any = f, moves: Any = moves) -> Any:
                return f(h, moves=moves)

            for i, numeric in enumerate((central(g), complex_step(g))):
                errors = [relative(*three) for three in zip(mine, numeric, sizes)]
                worst[i] = max(worst[i], *errors, relative(*adjoint, magnitude))
    return worst[0], worst[1]


def loss_curvature_errors(loss: Loss, shape: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """The same of a loss's Hessian product, held to its gradient."""
    n, K = shape
    worst = [0.0, 0.0]
    for _ in range(2):
        target = random_target(loss, n, K, rng)
        z = rng.normal(size=(n, K)) if loss.joins or not loss.needs_probabilities else rng.uniform(0.05, 0.95, (n, K))
        v, w = rng.normal(size=(2, n, K))

        def f(h: complex, z: Any = z, target: Any = target, v: Any = v, w: Any = w) -> Any:
            moved = type(loss)()
            moved.bind(np.result_type(float, type(h)))
            moved.value(z + h * v, target + 0 * h, 1 / n)
            return np.sum(w * moved.gradient(z + h * v, target + 0 * h, 1 / n, np.empty((n, K)) + 0 * h))

        loss.bind(float)
        loss.value(z, target, 1 / n)
        product = loss.hessian_product(z, target, v, 1 / n, rng.normal(size=(n, K)))
        magnitude = np.abs(product * w).sum()
        for i, numeric in enumerate((central(f), complex_step(f))):
            worst[i] = max(worst[i], relative(np.sum(product * w), numeric, magnitude))
    return worst[0], worst[1]
