"""The checks that `feedforward.testing.check_loss` consists of."""

import copy
import math

import numpy as np

from feedforward.derivatives import (
    ALIKE,
    SECOND,
    Fault,
    distance,
    judge,
    loss_errors,
    random_output,
    random_shapes,
    random_target,
)
from nn import Loss, Sigmoid, Softmax

NAMES = ("value", "gradient", "hessian_product")
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]  # z, target, v, w, all (n, K), and a scale


def new_cases(loss: Loss) -> list[Case]:
    """A case of each random shape of which the loss accepts targets."""
    rng, cases, refusal = np.random.default_rng(0), [], ""
    for n, K, _ in random_shapes(rng):
        try:
            target = random_target(loss, n, K, rng)
        except ValueError as error:
            refusal = str(error)
            continue
        cases.append((random_output(loss, target, rng), target, *rng.normal(size=(2, n, K)), 1 / n))
    if not cases:
        raise Fault(f"encode accepts neither numbers nor shares nor labels: {refusal}")
    return cases


def _evaluate(loss: Loss, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float) -> list[np.ndarray]:
    """The value, the gradient and the Hessian product, in arrays of their own."""
    value = loss.value(z, target, scale)
    return [np.array(value), loss.gradient(z, target, scale, np.full_like(z, 7)),
            loss.hessian_product(z, target, v, scale, np.full_like(z, 7))]


def check_description(loss: Loss) -> None:
    """description() builds an equal loss."""
    fields = loss.description()
    try:
        rebuilt = type(loss)(**fields)
    except TypeError as error:
        raise Fault(f"the fields {fields} build no loss: {error}: annotate its attributes in the class, which makes "
                    "them fields") from None
    z, target, _, _, scale = new_cases(loss)[0]
    if rebuilt.description() != fields or rebuilt.value(z, target, scale) != loss.value(z, target, scale):
        raise Fault(f"a loss of the same fields {fields} gives another value: annotate what determines the value in "
                    "the class, which makes it a field")


def check_derivatives(loss: Loss) -> None:
    """gradient and hessian_product against differences and complex steps."""
    rng = np.random.default_rng(1)
    for z, *_ in new_cases(loss):
        judge(loss_errors(copy.copy(loss), (z.shape[0], z.shape[1]), rng), f"z of shape {z.shape}", lambda name: (
            "look for what is kept from the first batch" if name.endswith(SECOND) else
            f"compare it with the derivative of {'value' if name == 'gradient' else 'gradient'}"))


def check_parts(loss: Loss) -> None:
    """The scale, and two halves of a batch."""
    for z, target, v, _, scale in new_cases(loss):
        whole, half = _evaluate(loss, z, target, v, scale), (len(z) + 1) // 2
        for name, one, other in zip(NAMES, _evaluate(loss, z, target, v, 3 * scale), whole):
            if (difference := distance(one, 3 * other)) > ALIKE:
                raise Fault(f"{name} is not proportional to scale, by {difference:.1e}, for z of shape {z.shape}")
        if len(z) == 1:
            continue
        first, second = (_evaluate(loss, z[rows], target[rows], v[rows], scale)
                         for rows in (slice(half), slice(half, None)))
        both = [first[0] + second[0], *(np.concatenate(pair) for pair in zip(first[1:], second[1:]))]
        for name, one, other in zip(NAMES, both, whole):
            if (difference := distance(one, other)) > ALIKE:
                raise Fault(f"{name} of two halves does not add up to that of the batch, by {difference:.1e}, for z of "
                            f"shape {z.shape}: the loss is a sum over examples times scale, not a mean")


def check_hessian(loss: Loss) -> None:
    """The Hessian of each row is symmetric and positive semidefinite."""
    for z, target, v, w, scale in new_cases(loss):
        Hv, Hw = (_evaluate(loss, z, target, direction, scale)[2] for direction in (v, w))
        magnitude = np.linalg.norm(v, axis=1) * np.linalg.norm(Hv, axis=1)
        size_of_both = magnitude + np.linalg.norm(w, axis=1) * np.linalg.norm(Hw, axis=1)
        if (np.abs(np.sum(w * Hv - v * Hw, axis=1)) > 1e-10 * size_of_both).any():
            raise Fault(f"hessian_product is not symmetric, for z of shape {z.shape}")
        if (np.sum(v * Hv, axis=1) < -1e-10 * magnitude).any():
            raise Fault(f"hessian_product is not positive semidefinite, for z of shape {z.shape}: a Loss must be "
                        "convex as a function of z")


def check_residuals(loss: Loss) -> None:
    """residuals agree with the value and both derivatives."""
    for z, target, v, _, scale in new_cases(loss):
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
        cases = [(z.astype(dtype), target.astype(dtype)) for z, target, *_ in new_cases(loss)]
        if loss.needs_probabilities:
            certain = np.array([[1e4 if loss.includes else 1, 0], [0, 1e4 if loss.includes else 1]], dtype)
            cases.append((certain, np.array([[1, 0], [1, 0]], dtype)))
        for z, target in cases:
            value = loss.value(z, target, 0.5)
            if not isinstance(value, float) or not math.isfinite(value):
                raise Fault(f"value is {value!r} in {dtype.__name__}, for z of shape {z.shape}: it must be a finite "
                            "Python float")
            for name in ("gradient", "hessian_product"):
                out = np.full_like(z, 7)
                result = (loss.gradient(z, target, 0.5, out) if name == "gradient" else
                          loss.hessian_product(z, target, np.ones_like(z), 0.5, out))
                if result.dtype != dtype or not np.array_equal(result, out, equal_nan=True):
                    raise Fault(f"{name} returned an array of {result.dtype} that is not out, of {out.dtype}: write to "
                                "out, and return it")
                if not np.isfinite(result).all():
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
        for z, target, _, _, scale in new_cases(joined):
            one, other = joined.value(z, target, scale), loss.value(layer.forward(z), target, scale)
            if not math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12):
                raise Fault(f"for_last_layer({layer!r}) returns {joined!r}, whose value is {one:g}, not {other:g}, for "
                            f"z of shape {z.shape}")


CHECKS = (check_description, check_derivatives, check_parts, check_hessian, check_residuals, check_float32,
          check_encode, check_last_layer)
