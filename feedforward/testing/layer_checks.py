"""The checks that `feedforward.testing.check_layer` consists of."""

import copy

import numpy as np

from feedforward.testing.cases import Bound, accepted_width, away_from_kinks, layer_cases
from feedforward.testing.faults import (
    ROUNDING,
    Fault,
    check_annotations,
    check_declarations,
    check_description,
    check_signatures,
    distance,
    require_dx,
    require_out,
)
from feedforward.testing.layer_derivative_checks import (
    check_as_first,
    check_derivatives,
    check_examples,
    check_jacobian,
)
from nn import Elementwise, Layer
from nn.arrays import size

SAME_DRAW = "resample with an equal generator gives a different output: draw from that generator alone"


def check_methods(layer: Layer) -> None:
    """The methods accept the arguments with which they are called; f, df and d2f fill out and return it."""
    check_signatures(layer, Elementwise if isinstance(layer, Elementwise) else Layer)
    if not isinstance(layer, Elementwise):
        return
    bound = copy.deepcopy(layer)
    bound.bind(np.empty(size(layer.shapes())), np.empty(size(layer.shapes())))
    x = away_from_kinks(np.random.default_rng(0).normal(size=(3, accepted_width(layer, 5))))
    y, dy, d2y = np.full((3, *x.shape), 7.0)
    require_out("f", bound.f(x, y), y)
    require_out("df", bound.df(x, y, dy), dy)
    require_out("d2f", bound.d2f(x, y, d2y), d2y)


def check_width(layer: Layer) -> None:
    """forward accepts the number of inputs that input_width and output_width allow."""
    n_in = accepted_width(layer, 5)
    if not (refusal := _refusal(layer, n_in)):
        return
    for value in layer.description().values():
        if type(value) is int and 1 <= value <= 4096 and not _refusal(layer, value):
            raise Fault(f"forward accepts {value} inputs, but not {n_in} ({refusal}): define the property input_width, "
                        f"which is {value}")


def _refusal(layer: Layer, n_in: int) -> str:
    """Return the message of the ValueError that forward raises for this number of inputs, if it does."""
    try:
        Bound(layer).forward(np.ones((3, n_in)))
    except ValueError as error:
        return str(error) or "ValueError"
    return ""


def check_fields(layer: Layer) -> None:
    """description() builds an equal layer."""
    x = np.random.default_rng(0).normal(size=(3, accepted_width(layer, 5)))
    y = Bound(layer).forward(x.copy())
    if not np.isfinite(y).all():
        raise Fault(f"y of forward is not finite for x between {x.min():.1f} and {x.max():.1f}: a layer must accept "
                    "all finite x")
    if not np.array_equal(Bound(layer).forward(x.copy()), y):
        raise Fault(SAME_DRAW)
    check_description(layer, lambda rebuilt: distance(Bound(rebuilt).forward(x.copy()), y))


def check_outputs(like: Layer) -> None:
    """forward and backward return arrays of the right shapes, and do not change x and dy."""
    for layer, (n, n_in, _) in layer_cases(like):
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        x_before, width = x.copy(), layer.output_width(n_in)
        y = bound.forward(x)
        if list(y.shape) != [n, width]:
            raise Fault(f"forward returned an array of shape {y.shape} for x of shape {x.shape}, but output_width("
                        f"{n_in}) is {width}: define output_width")
        dy = np.random.default_rng(0).normal(size=y.shape)
        dy_before = dy.copy()
        dx = require_dx(bound.layer.backward(dy))
        if dx.shape != x.shape:
            raise Fault(f"backward returned an array of shape {dx.shape} for x of shape {x.shape}: dL/dx must have the "
                        "shape of x")
        for name, array, before in (("x", x, x_before), ("dy", dy, dy_before)):
            if not np.array_equal(array, before):
                raise Fault(f"forward or backward changed its argument {name}: write to a buffer instead, such as "
                            f"self.buffers('y', {name}.shape)")


def check_buffers(like: Layer) -> None:
    """The result of a method stays the same until that method is called again."""
    for layer, (n, n_in, _) in layer_cases(like)[:8]:
        bound, (x, tx) = Bound(layer), np.random.default_rng(0).normal(size=(2, n, n_in))
        y = bound.forward(x)
        dy, tdy = np.random.default_rng(1).normal(size=(2, *y.shape))
        returned = {"forward": (y, y.copy())}
        for method, argument in (("backward", dy), ("jvp", tx), ("backward_jvp", tdy)):
            result = require_dx(getattr(bound.layer, method)(argument))
            for earlier, (array, before) in returned.items():
                if not np.array_equal(array, before):
                    raise Fault(f"{method} overwrites what {earlier} returned: give each its own buffer, such as "
                                "self.buffers('dx', x.shape)")
            returned[method] = (result, result.copy())


def check_batches(like: Layer) -> None:
    """Results do not depend on earlier batches, which were larger or smaller."""
    for layer, (_, n_in, _) in layer_cases(like)[:8]:
        used, before = Bound(layer), 0
        for n in (5, 2, 7, 1, 3):
            x = np.random.default_rng(n).normal(size=(n, n_in))
            fresh = Bound(layer).run(x, n)
            for name, result in used.run(x, n).items():
                if (difference := distance(result, fresh[name])) > ROUNDING:
                    raise Fault(f"{name} for a batch of {n} after one of {before} differs from that of a new layer by "
                                f"{difference:.1e}, with {n_in} inputs: look for values kept from the last batch")
            before = n


def check_rows(like: Layer) -> None:
    """independent_rows: rows computed separately equal rows computed together."""
    for layer, (_, n_in, _) in layer_cases(like)[:8]:
        if not layer.independent_rows:
            return
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(8, n_in))
        y = bound.forward(x).copy()
        dy = np.random.default_rng(0).normal(size=y.shape)
        together, parts = [y, require_dx(bound.layer.backward(dy)), bound.grad.copy()], []
        for rows in (slice(0, 3), slice(3, 8)):
            part, grad = copy.copy(bound.layer), np.zeros_like(bound.grad)
            part.bind(bound.theta, grad)
            part.select_rows(np.arange(8)[rows])
            parts.append((part.forward(x[rows]).copy(), require_dx(part.backward(dy[rows])), grad))
        separately = [np.concatenate(pair) for pair in list(zip(*parts))[:2]] + [parts[0][2] + parts[1][2]]
        for name, one, other in zip(("y", "dL/dx", "the gradient"), separately, together):
            if (difference := distance(one, other)) > ROUNDING:
                raise Fault(f"independent_rows is True, but {name} of rows computed separately differs by "
                            f"{difference:.1e} from that of rows computed together, for x of shape {x.shape}: set it "
                            "to False, or, if the layer draws random numbers, define select_rows")


def check_parameter_rows(like: Layer) -> None:
    """backward_input and backward_parameters together equal backward, in whatever parts the gradient is computed."""
    for layer, (n, n_in, _) in layer_cases(like)[:8]:
        bound, x = Bound(layer), np.random.default_rng(0).normal(size=(n, n_in))
        rows = bound.layer.parameter_rows
        if rows is None or not len(bound.grad):
            return
        if rows < 1 or len(bound.grad) % rows:
            raise Fault(f"parameter_rows is {rows}, but the {len(bound.grad)} parameters cannot be divided into "
                        "as many equal parts")
        dy = np.random.default_rng(1).normal(size=bound.forward(x).shape)
        expected, gradient = require_dx(bound.layer.backward(dy)).copy(), bound.grad.copy()
        bound.grad.fill(np.nan)
        dx = require_dx(bound.layer.backward_input(dy))
        if (difference := distance(dx, expected)) > ROUNDING:
            raise Fault(f"backward_input returned a dL/dx that differs from that of backward by {difference:.1e}")
        size, other = len(gradient) // rows, copy.copy(bound.layer)
        other.bind(np.full_like(bound.theta, np.nan), bound.grad)
        for name in ("x", "y", "dy"):
            vars(other).pop(name, None)
        for part in (slice(rows // 2, rows), slice(0, rows // 2)):
            other.backward_parameters(x, dy, part)  # with other parameters, and without a forward
            written = np.flatnonzero(~np.isnan(bound.grad))
            if not np.array_equal(written, np.arange(part.start * size, len(gradient))):
                raise Fault(f"backward_parameters wrote other parts of the gradient than {part.start} to {part.stop} "
                            f"of {rows}")
        if (difference := distance(bound.grad, gradient)) > ROUNDING:
            raise Fault(f"backward_parameters wrote a gradient that differs from that of backward by {difference:.1e}")


def check_random(like: Layer) -> None:
    """resample draws new random numbers, and `random` says whether there are any."""
    layer, (_, n_in, _) = layer_cases(like)[0]
    bound, x = Bound(layer), np.random.default_rng(0).normal(size=(200, n_in))

    first = bound.forward(x, 0).copy()
    if not np.array_equal(bound.layer.forward(x), first):
        raise Fault("a second forward of one batch gives a different output: keep the random numbers until the next "
                    "resample")
    other, again, plain = (bound.forward(x, seed).copy() for seed in (1, 0, None))
    if not np.array_equal(again, first):
        raise Fault(SAME_DRAW)
    if not layer.random and not (np.array_equal(plain, first) and np.array_equal(other, first)):
        raise Fault("it draws random numbers, but its property `random` is False: return True")
    if layer.random and not np.array_equal(plain, first) and np.array_equal(other, first):
        raise Fault("resample with another generator gives the same output: discard the earlier random numbers")
    if not np.array_equal(bound.forward(x, None), plain):
        raise Fault("resample(None) must leave nothing random, but the output changes")


def check_large_inputs(like: Layer) -> None:
    """Results for large inputs are finite, and float32 stays float32."""
    for dtype in ("float32", "float64"):
        for layer, (_, n_in, _) in layer_cases(like)[:2]:
            drawn = [Bound(layer, dtype, theta=np.zeros(())) for _ in range(2)]
            for bound in drawn:
                bound.layer.initialize(np.random.default_rng(0))
            if not np.array_equal(drawn[0].theta, drawn[1].theta):
                raise Fault("initialize with an equal generator gives different parameters: draw from that generator "
                            "alone")
            x = np.resize(np.array([-1e4, -100, -1, 0, 1, 100, 1e4], dtype), (7, n_in))
            for name, result in drawn[0].run(x).items():
                if result.dtype != np.dtype(dtype):
                    raise Fault(f"{name} is {result.dtype} in a {dtype} model: use self.buffers, and Python numbers, "
                                "not np.float64")
                if not np.isfinite(result).all():
                    raise Fault(f"{name} is not finite in {dtype} for x between -10,000 and 10,000")


CHECKS = (check_declarations, check_methods, check_width, check_fields, check_outputs, check_random, check_buffers,
          check_derivatives, check_jacobian, check_as_first, check_examples, check_batches, check_rows,
          check_parameter_rows, check_large_inputs, check_annotations)
