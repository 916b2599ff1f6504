"""The checks of the derivatives of a layer, a part of `feedforward.testing.layer_checks`."""

from functools import partial

import numpy as np

from feedforward.testing.cases import Bound, layer_cases
from feedforward.testing.derivatives import SECOND_BATCH, check_errors, layer_errors, tangent_errors
from feedforward.testing.faults import ROUNDING, Fault, distance, require_dx
from nn import Elementwise, Layer
from nn.arrays import size


def check_derivatives(like: Layer) -> None:
    """backward, jvp and backward_jvp agree with differences and complex steps."""
    rng = np.random.default_rng(1)
    for layer, shape in layer_cases(like):
        for errors in (layer_errors, tangent_errors):
            check_errors(errors(layer, shape, rng), f"x of shape {shape[:2]}", partial(_advice, layer))


def _advice(layer: Layer, name: str) -> str:
    """Return what to look at if the derivative of this name is wrong."""
    if name.endswith(SECOND_BATCH):
        return "look for values that are kept from the first batch, or added to instead of overwritten"
    if name.startswith("the transposed"):
        return "it must be J^T tdy alone, without the terms of second order"
    is_tangent = name.startswith("the tangent of dL")
    if isinstance(layer, Elementwise):
        return f"compare {'d2f with the derivative of df' if is_tangent else 'df with the derivative of f'}"
    if "of jvp" in name:
        return "compare jvp with forward"
    advice = f"compare {'backward_jvp with backward' if is_tangent else 'backward with forward'}"
    part = name.partition("dL/d")[2].partition(" ")[0]
    if part in layer.shapes():
        advice += f", and write in place, such as self.{'H' if is_tangent else 'd'}{part}[:] = ..."
    return advice


def check_jacobian(like: Layer) -> None:
    """backward_jvp with second_order=False, directly after forward, equals backward."""
    for layer, (n, n_in, _) in layer_cases(like):
        first, second = Bound(layer), Bound(layer)
        x = np.random.default_rng(0).normal(size=(n, n_in))
        dy = np.random.default_rng(1).normal(size=first.forward(x).shape)
        second.forward(x)
        pairs = [(require_dx(second.layer.backward_jvp(dy, second_order=False)), require_dx(first.layer.backward(dy))),
                 (second.Hv, first.grad)]
        if (difference := max(distance(one, other) for one, other in pairs)) > ROUNDING:
            raise Fault(f"backward_jvp with second_order=False, directly after forward, differs from backward by "
                        f"{difference:.1e}, for x of shape {x.shape}: both are J^T dy")


def check_as_first(like: Layer) -> None:
    """needs_dx=False and tx=None change no other result. The first layer with parameters is called with them."""
    for layer, (n, n_in, _) in layer_cases(like):
        if not layer.shapes():
            return
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        dy, tdy = np.random.default_rng(0).normal(size=(2, *bound.forward(x).shape))
        results = []
        for tx, needs_dx in ((np.zeros_like(x), True), (None, False)):
            bound.grad.fill(7)
            bound.Hv.fill(7)
            dx, ty = bound.layer.backward(dy, needs_dx), bound.layer.jvp(tx).copy()
            tdx = bound.layer.backward_jvp(tdy, needs_dx)
            results.append((bound.grad.copy(), ty, bound.Hv.copy()))
        if dx is not None or tdx is not None:
            raise Fault("backward and backward_jvp must return None if needs_dx is False")
        names = ("backward with needs_dx=False: its gradient", "jvp with tx=None: its result",
                 "backward_jvp with needs_dx=False after jvp with tx=None: its product")
        for name, one, other in zip(names, results[1], results[0]):
            if (difference := distance(one, other)) > ROUNDING:
                raise Fault(f"{name} differs by {difference:.1e}, for x of shape {x.shape}: only dL/dx may be left out")


def check_examples(like: Layer) -> None:
    """example_gradients agrees with backward, one example at a time."""
    for layer, (n, n_in, _) in layer_cases(like):
        P, bound, x = size(layer.shapes()), Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        if not P:
            return
        dy = np.random.default_rng(0).normal(size=bound.forward(x).shape)
        rows = np.full((n, 3, P), np.nan)[:, 1]  # as in a Jacobian: not contiguous
        bound.layer.example_gradients(dy, rows)
        for row in range(n):
            bound.layer.backward(np.where(np.arange(n)[:, np.newaxis] == row, dy, 0))
            if (difference := distance(rows[row], bound.grad)) > ROUNDING:
                raise Fault(f"row {row} of example_gradients differs from the gradient of that example by "
                            f"{difference:.1e}, for x of shape {x.shape}: define it, and write to every element of out")
