"""The checks that `feedforward.testing.check_loss` consists of."""

import copy
import math

import numpy as np

from feedforward.testing.cases import loss_cases
from feedforward.testing.derivatives import SECOND_BATCH, check_errors, loss_errors
from feedforward.testing.faults import (
    ROUNDING,
    Fault,
    check_annotations,
    check_declarations,
    check_description,
    check_signatures,
    distance,
    require_array,
    require_number,
    require_out,
)
from nn import Loss, Sigmoid, Softmax

NAMES = ("value", "gradient", "hessian_product")


def check_methods(loss: Loss) -> None:
    """The methods accept the arguments with which they are called, and return a number, and out."""
    check_signatures(loss, Loss)
    for z, target, v, out, scale in loss_cases(copy.deepcopy(loss)):
        unused = copy.deepcopy(loss)
        require_number("value", unused.value(z, target, scale))
        require_out("gradient", unused.gradient(z, target, scale, out), out)
        require_out("hessian_product", unused.hessian_product(z, target, v, scale, out), out)


def _evaluate(loss: Loss, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float) -> list[np.ndarray]:
    """Return the value, the gradient and the Hessian product in new arrays."""
    value = loss.value(z, target, scale)
    return [np.array(value), loss.gradient(z, target, scale, np.full_like(z, 7)),
            loss.hessian_product(z, target, v, scale, np.full_like(z, 7))]


def check_fields(loss: Loss) -> None:
    """description() builds an equal loss."""
    z, target, _, _, scale = loss_cases(loss)[0]
    value = np.array(loss.value(z, target, scale))
    check_description(loss, lambda rebuilt: distance(np.array(rebuilt.value(z, target, scale)), value))


def check_derivatives(loss: Loss) -> None:
    """gradient and hessian_product agree with differences and complex steps."""
    rng = np.random.default_rng(1)
    for z, *_ in loss_cases(loss):
        errors = loss_errors(copy.copy(loss), (z.shape[0], z.shape[1]), rng)
        check_errors(errors, f"z of shape {z.shape}", lambda name: (
            "look for values that are kept from the first batch" if name.endswith(SECOND_BATCH) else
            f"compare it with the derivative of {'value' if name == 'gradient' else 'gradient'}"))


def check_parts(loss: Loss) -> None:
    """Results are proportional to the scale, and those of two halves add up to those of the batch."""
    for z, target, v, _, scale in loss_cases(loss):
        batch, half = _evaluate(loss, z, target, v, scale), (len(z) + 1) // 2
        for name, one, other in zip(NAMES, _evaluate(loss, z, target, v, 3 * scale), batch):
            if (difference := distance(one, 3 * other)) > ROUNDING:
                raise Fault(f"{name} is not proportional to scale, by {difference:.1e}, for z of shape {z.shape}")
        if len(z) == 1:
            continue
        first, second = (_evaluate(loss, z[rows], target[rows], v[rows], scale)
                         for rows in (slice(half), slice(half, None)))
        sums = [first[0] + second[0], *(np.concatenate(pair) for pair in zip(first[1:], second[1:]))]
        for name, one, other in zip(NAMES, sums, batch):
            if (difference := distance(one, other)) > ROUNDING:
                raise Fault(f"{name} of two halves does not add up to that of the batch, by {difference:.1e}, for z of "
                            f"shape {z.shape}: the loss is a sum over examples times scale, not a mean")


def check_example_values(loss: Loss) -> None:
    """example_values agrees with the value of each example, and gradient may follow it."""
    for z, target, v, _, scale in loss_cases(loss):
        _, gradient, product = _evaluate(loss, z, target, v, scale)
        values = np.array(require_array("example_values", loss.example_values(z, target)))
        after = [loss.gradient(z, target, scale, np.full_like(z, 7)),
                 loss.hessian_product(z, target, v, scale, np.full_like(z, 7))]
        exact = np.array([loss.value(z[i : i + 1], target[i : i + 1], 1.0) for i in range(len(z))])
        if (difference := distance(values, exact)) > 1e-10:
            raise Fault(f"example_values differs from the value of each example, by {difference:.1e}, for z of shape "
                        f"{z.shape}")
        for name, one, other in zip(NAMES[1:], after, (gradient, product)):
            if (difference := distance(one, other)) > ROUNDING:
                raise Fault(f"{name} after example_values is not that after value, by {difference:.1e}, for z of shape "
                            f"{z.shape}")


def check_hessian(loss: Loss) -> None:
    """The Hessian of each row is symmetric and positive semidefinite."""
    for z, target, v, w, scale in loss_cases(loss):
        Hv, Hw = (_evaluate(loss, z, target, direction, scale)[2] for direction in (v, w))
        magnitude = np.linalg.norm(v, axis=1) * np.linalg.norm(Hv, axis=1)
        sum_of_magnitudes = magnitude + np.linalg.norm(w, axis=1) * np.linalg.norm(Hw, axis=1)
        if (np.abs(np.sum(w * Hv - v * Hw, axis=1)) > 1e-10 * sum_of_magnitudes).any():
            raise Fault(f"hessian_product is not symmetric, for z of shape {z.shape}")
        if (np.sum(v * Hv, axis=1) < -1e-10 * magnitude).any():
            raise Fault(f"hessian_product is not positive semidefinite, for z of shape {z.shape}: a Loss must be "
                        "convex as a function of z")


def check_residuals(loss: Loss) -> None:
    """residuals agree with the value, the gradient and the Hessian product."""
    for z, target, v, _, scale in loss_cases(loss):
        try:
            c = loss.residual_scale(z.shape[1], scale)
        except ValueError:
            return
        r = loss.residuals(z, target, scale, np.full_like(z, 7))
        exact = [np.array(np.sum(r**2) / 2), c * r, c**2 * v]
        for name, one, other in zip(NAMES, _evaluate(loss, z, target, v, scale), exact):
            if (difference := distance(one, other)) > 1e-10:
                raise Fault(f"{name} is not that of r^T r / 2 with the residuals r = residual_scale (z - t), by "
                            f"{difference:.1e}, for z of shape {z.shape}")


def check_float32(loss: Loss) -> None:
    """float32 stays, results are in `out`, and probabilities of 0 and 1 give finite numbers."""
    for dtype in (np.float32, np.float64):
        loss = copy.copy(loss)
        loss.bind(dtype)
        cases = [(z.astype(dtype), target.astype(dtype)) for z, target, *_ in loss_cases(loss)]
        if loss.needs_probabilities:
            certain = np.array([[1e4 if loss.includes else 1, 0], [0, 1e4 if loss.includes else 1]], dtype)
            cases.append((certain, np.array([[1, 0], [1, 0]], dtype)))
        for z, target in cases:
            value = loss.value(z, target, 0.5)
            if not isinstance(value, float) or not math.isfinite(value):
                raise Fault(f"value is {value!r} in {dtype.__name__}, for z between {z.min():g} and {z.max():g}: it "
                            "must be a finite Python float")
            for name in ("gradient", "hessian_product"):
                out = np.full_like(z, 7)
                result = (loss.gradient(z, target, 0.5, out) if name == "gradient" else
                          loss.hessian_product(z, target, np.ones_like(z), 0.5, out))
                if not np.isfinite(require_out(name, result, out)).all():
                    raise Fault(f"{name} is not finite in {out.dtype}, for z between {z.min():g} and {z.max():g}")


def check_encode(loss: Loss) -> None:
    """encode gives the same target for labels and for one-hot rows."""
    labels = np.array([2, 0, 1])
    if loss.is_regression:
        return
    expected = loss.encode(labels, 3, np.float32)
    for y in (labels.tolist(), labels.astype(np.uint8), np.eye(3)[labels]):
        target = loss.encode(y, 3, np.float32)
        if target.dtype != np.float32 or target.shape != (3, 3) or not np.array_equal(target, expected):
            raise Fault(f"encode gives {target.dtype} {target.tolist()} for {np.asarray(y).tolist()}, but "
                        f"{expected.tolist()} for the labels {labels.tolist()}")


def check_last_layer(loss: Loss) -> None:
    """for_last_layer returns a loss of the same value."""
    for layer in (Softmax(), Sigmoid()):
        try:
            joined = loss.for_last_layer(layer)
        except ValueError:
            continue
        if loss.includes or not joined.includes:
            continue
        joined.bind(float)
        layer.bind(np.empty(0), np.empty(0))
        for z, target, _, _, scale in loss_cases(joined):
            one, other = joined.value(z, target, scale), loss.value(layer.forward(z), target, scale)
            if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12):
                raise Fault(f"for_last_layer({layer!r}) returns {joined!r}, whose value is {one:g}, not {other:g}, for "
                            f"z of shape {z.shape}")


CHECKS = (check_declarations, check_methods, check_fields, check_derivatives, check_parts, check_example_values,
          check_hessian, check_residuals, check_float32, check_encode, check_last_layer, check_annotations)
