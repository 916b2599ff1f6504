"""The checks that `feedforward.testing.check_layer` consists of."""

import copy
from typing import Any

import numpy as np

from feedforward.derivatives import (
    ALIKE,
    SECOND,
    Fault,
    distance,
    given,
    judge,
    layer_errors,
    make_layer,
    random_shapes,
    tangent_errors,
)
from nn import Elementwise, Layer
from nn.arrays import size, views

SAME_DRAW = "resample with an equal generator gives another output: draw from that generator alone"
Case = tuple[Layer, tuple[int, int, int]]  # a new layer, and n, n_in and n_out of a batch


def new_cases(like: Layer) -> list[Case]:
    """A new layer for each random shape: of that shape if it accepts that, otherwise of the nearest width."""
    cases = []
    for n, n_in, n_out in random_shapes(np.random.default_rng(0)):
        try:
            layer = make_layer(like, n_in, n_out)
        except ValueError:  # of widths that this class refuses
            layer = copy.deepcopy(like)
        cases.append((layer, (n, _accepted_width(layer, n_in), n_out)))
    return cases


def _accepted_width(layer: Layer, n_in: int) -> int:
    """The number of inputs nearest to n_in that the layer accepts."""
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
        self.layer.bind_tangents(self.v, self.Hv)

    def forward(self, x: np.ndarray, seed: int | None = 0) -> np.ndarray:
        """y, with what is random drawn from this seed; None: nothing random."""
        self.layer.resample(None if seed is None else np.random.default_rng(seed))
        return self.layer.forward(x)

    def run(self, x: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
        """Everything that the layer computes for x, by name, in copies."""
        y = self.forward(x, seed).copy()
        results, rng = {"y of forward": y}, np.random.default_rng(seed)
        dy, tdy = rng.normal(size=(2, *y.shape)).astype(x.dtype)
        tx = rng.normal(size=x.shape).astype(x.dtype)
        results["dL/dx of backward"] = given(self.layer.backward(dy)).copy()
        results |= {f"dL/d{name} of backward": part.copy() for name, part in views(self.grad, self.shapes).items()}
        results["ty of jvp"] = self.layer.jvp(tx).copy()
        results["tdx of backward_jvp"] = given(self.layer.backward_jvp(tdy)).copy()
        results |= {f"H{name} of backward_jvp": part.copy() for name, part in views(self.Hv, self.shapes).items()}
        return results


def check_description(layer: Layer) -> None:
    """description() builds an equal layer."""
    fields = layer.description()
    try:
        rebuilt = type(layer)(**fields)
    except TypeError as error:
        raise Fault(f"the fields {fields} build no layer: {error}: annotate its attributes in the class, which makes "
                    "them fields") from None
    x = np.random.default_rng(0).normal(size=(3, _accepted_width(layer, 5)))
    y = Bound(layer).forward(x.copy())
    if not np.array_equal(Bound(layer).forward(x.copy()), y):
        raise Fault(SAME_DRAW)
    difference = distance(Bound(rebuilt).forward(x.copy()), y)
    if rebuilt.description() != fields or difference > 0:
        raise Fault(f"a layer of the same fields {fields} gives another output, by {difference:.1e}: annotate what "
                    "determines the output in the class, which makes it a field")


def check_outputs(like: Layer) -> None:
    """The shapes of what forward and backward return, and x and dy, which must stay as they are."""
    for layer, (n, n_in, _) in new_cases(like):
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        kept, width = x.copy(), layer.output_width(n_in)
        y = bound.forward(x)
        if list(y.shape) != [n, width]:
            raise Fault(f"forward returned an array of shape {y.shape} for x of shape {x.shape}, but output_width("
                        f"{n_in}) is {width}: define output_width")
        dy = np.random.default_rng(0).normal(size=y.shape)
        same = dy.copy()
        dx = given(bound.layer.backward(dy))
        if dx.shape != x.shape:
            raise Fault(f"backward returned an array of shape {dx.shape} for x of shape {x.shape}: dL/dx must have the "
                        "shape of x")
        for name, array, before in (("x", x, kept), ("dy", dy, same)):
            if not np.array_equal(array, before):
                raise Fault(f"forward or backward changed its argument {name}: write to a buffer instead, such as "
                            f"self.buffers('y', {name}.shape)")


def check_derivatives(like: Layer) -> None:
    """backward, jvp and backward_jvp against differences and complex steps."""
    rng = np.random.default_rng(1)
    for layer, shape in new_cases(like):
        def advice(name: str, layer: Layer = layer) -> str:
            if name.endswith(SECOND):
                return "look for what is kept from the first batch, or added to old values instead of written over them"
            if name.startswith("the transposed"):
                return "it must be J^T tdy alone, without the terms of second order"
            if isinstance(layer, Elementwise):
                return "compare " + ("d2f with the derivative of df" if "the tangent of dL" in name else
                                     "df with the derivative of f")
            method, other = ("jvp", "forward") if "the tangent of y" in name else ("backward_jvp", "backward")
            method, other = (method, other) if "tangent" in name else ("backward", "forward")
            return f"compare {method} with {other}, and write parts of a vector in place, such as self.dW[:] = ..."

        for errors in (layer_errors, tangent_errors):
            judge(errors(copy.deepcopy(layer), shape, rng), f"x of shape {shape[:2]}", advice)


def check_jacobian(like: Layer) -> None:
    """backward_jvp with second_order=False gives what backward gives, directly after forward."""
    for layer, (n, n_in, _) in new_cases(like):
        first, second = Bound(layer), Bound(layer)
        x = np.random.default_rng(0).normal(size=(n, n_in))
        dy = np.random.default_rng(1).normal(size=first.forward(x).shape)
        second.forward(x)
        pairs = [(given(second.layer.backward_jvp(dy, second_order=False)), given(first.layer.backward(dy))),
                 (second.Hv, first.grad)]
        if (difference := max(distance(one, other) for one, other in pairs)) > ALIKE:
            raise Fault(f"backward_jvp with second_order=False, directly after forward, differs from backward by "
                        f"{difference:.1e}, for x of shape {x.shape}: both are J^T dy")


def check_buffers(like: Layer) -> None:
    """What a method returns stays the same until that method is called again."""
    for layer, (n, n_in, _) in new_cases(like)[:8]:
        bound, (x, tx) = Bound(layer), np.random.default_rng(0).normal(size=(2, n, n_in))
        y = bound.forward(x)
        dy, tdy = np.random.default_rng(1).normal(size=(2, *y.shape))
        returned = {"forward": (y, y.copy())}
        for method, argument in (("backward", dy), ("jvp", tx), ("backward_jvp", tdy)):
            result = given(getattr(bound.layer, method)(argument))
            for earlier, (array, kept) in returned.items():
                if not np.array_equal(array, kept):
                    raise Fault(f"{method} overwrites what {earlier} returned: give each its own buffer, such as "
                                "self.buffers('dx', x.shape)")
            returned[method] = (result, result.copy())


def check_as_first(like: Layer) -> None:
    """needs_dx=False and tx=None, as in the first layer of a network that has parameters."""
    for layer, (n, n_in, _) in new_cases(like):
        if not layer.shapes():
            return
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        dy, tdy = np.random.default_rng(0).normal(size=(2, *bound.forward(x).shape))
        found = []
        for tx, needs_dx in ((np.zeros_like(x), True), (None, False)):
            bound.grad.fill(7)
            bound.Hv.fill(7)
            dx, ty = bound.layer.backward(dy, needs_dx), bound.layer.jvp(tx).copy()
            tdx = bound.layer.backward_jvp(tdy, needs_dx)
            found.append((bound.grad.copy(), ty, bound.Hv.copy()))
        if dx is not None or tdx is not None:
            raise Fault("backward and backward_jvp must return None if needs_dx is False")
        names = ("backward with needs_dx=False: its gradient", "jvp with tx=None: its result",
                 "backward_jvp with needs_dx=False after jvp with tx=None: its product")
        for name, one, other in zip(names, found[1], found[0]):
            if (difference := distance(one, other)) > ALIKE:
                raise Fault(f"{name} is another, by {difference:.1e}, for x of shape {x.shape}: only dL/dx may be left "
                            "out")


def check_examples(like: Layer) -> None:
    """example_gradients against backward, one example at a time."""
    for layer, (n, n_in, _) in new_cases(like):
        P, bound, x = size(layer.shapes()), Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        if not P:
            return
        dy = np.random.default_rng(0).normal(size=bound.forward(x).shape)
        rows = np.full((n, 3, P), np.nan)[:, 1]  # as in a Jacobian: not contiguous
        bound.layer.example_gradients(dy, rows)
        for row in range(n):
            bound.layer.backward(np.where(np.arange(n)[:, np.newaxis] == row, dy, 0))
            if (difference := distance(rows[row], bound.grad)) > ALIKE:
                raise Fault(f"row {row} of example_gradients differs from the gradient of that example by "
                            f"{difference:.1e}, for x of shape {x.shape}: define it, and write to every element of out")


def check_batches(like: Layer) -> None:
    """A batch that shrinks and grows in one layer."""
    for layer, (_, n_in, _) in new_cases(like)[:8]:
        used, before = Bound(layer), 0
        for n in (5, 2, 7, 1, 3):
            x = np.random.default_rng(n).normal(size=(n, n_in))
            fresh = Bound(layer).run(x, n)
            for name, result in used.run(x, n).items():
                if (difference := distance(result, fresh[name])) > ALIKE:
                    raise Fault(f"{name} for a batch of {n} after one of {before} differs from that of a new layer by "
                                f"{difference:.1e}, with {n_in} inputs: look for what is kept from the batch before")
            before = n


def check_rows(like: Layer) -> None:
    """independent_rows: rows computed separately equal rows computed together."""
    for layer, (_, n_in, _) in new_cases(like)[:8]:
        if not layer.independent_rows:
            return
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(8, n_in))
        y = bound.forward(x).copy()
        dy = np.random.default_rng(0).normal(size=y.shape)
        whole, parts = [y, given(bound.layer.backward(dy)), bound.grad.copy()], []
        for rows in (slice(0, 3), slice(3, 8)):
            part, grad = copy.copy(bound.layer), np.zeros_like(bound.grad)
            part.bind(bound.theta, grad)
            part.select_rows(np.arange(8)[rows])
            parts.append((part.forward(x[rows]).copy(), given(part.backward(dy[rows])), grad))
        both = [np.concatenate([one, other]) for one, other in list(zip(*parts))[:2]] + [parts[0][2] + parts[1][2]]
        for name, one, other in zip(("y", "dL/dx", "the gradient"), both, whole):
            if (difference := distance(one, other)) > ALIKE:
                raise Fault(f"independent_rows is True, but {name} of rows computed separately differs by "
                            f"{difference:.1e} from that of rows computed together, for x of shape {x.shape}: set it "
                            "to False, or, if the layer draws random numbers, define select_rows")


def check_random(like: Layer) -> None:
    """resample, and whether `random` says the truth."""
    layer, (_, n_in, _) = new_cases(like)[0]
    bound, x = Bound(layer), np.random.default_rng(0).normal(size=(200, n_in))

    first = bound.forward(x, 0).copy()
    if not np.array_equal(bound.layer.forward(x), first):
        raise Fault("a second forward of one batch gives another output: keep what is drawn until the next resample")
    other, again, plain = (bound.forward(x, seed).copy() for seed in (1, 0, None))
    if not np.array_equal(again, first):
        raise Fault(SAME_DRAW)
    if not layer.random and not (np.array_equal(plain, first) and np.array_equal(other, first)):
        raise Fault("it draws random numbers, but its property `random` is False: return True")
    if layer.random and not np.array_equal(plain, first) and np.array_equal(other, first):
        raise Fault("resample with another generator gives the same output: forget what was drawn before")
    if not np.array_equal(bound.forward(x, None), plain):
        raise Fault("resample(None) must leave nothing random, but the output changes")


def check_large_inputs(like: Layer) -> None:
    """Large inputs, and float32."""
    for dtype in ("float32", "float64"):
        for layer, (_, n_in, _) in new_cases(like)[:2]:
            drawn = [Bound(layer, dtype, theta=np.zeros(())) for _ in range(2)]
            for bound in drawn:
                bound.layer.initialize(np.random.default_rng(0))
            if not np.array_equal(drawn[0].theta, drawn[1].theta):
                raise Fault("initialize with an equal generator gives other parameters: draw from that generator alone")
            x = np.resize(np.array([-1e4, -100, -1, 0, 1, 100, 1e4], dtype), (7, n_in))
            for name, result in drawn[0].run(x).items():
                if result.dtype != np.dtype(dtype):
                    raise Fault(f"{name} is {result.dtype} in a {dtype} model: use self.buffers, and Python numbers, "
                                "not np.float64")
                if not np.isfinite(result).all():
                    raise Fault(f"{name} is not finite in {dtype} for x between -10,000 and 10,000")


CHECKS = (check_description, check_outputs, check_random, check_buffers, check_derivatives, check_jacobian,
          check_as_first, check_examples, check_batches, check_rows, check_large_inputs)
