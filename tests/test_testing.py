"""check_layer, check_loss and check_optimizer: correct classes pass, and faults are named."""

from dataclasses import field
import math
import os
from pathlib import Path
import re
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from feedforward.testing import check_layer, check_loss, check_optimizer
from nn import CrossEntropy, Dense, Dropout, Elementwise, Layer, MeanSquaredError, Model, ReLU, parameter
from nn.fields import Positive, unset
from nn.losses import Loss
from optimizers import (
    OPTIMIZERS,
    Adam,
    FirstOrder,
    LevenbergMarquardt,
    Newton,
    Optimizer,
    RMSprop,
    Scheduled,
    compiled,
    elementwise,
    get,
    parse_schedule,
    scalar,
    vector,
)


def message_of(check, subject):
    """Return the message of the AssertionError that the check raises: one line that starts with the class name."""
    with pytest.raises(AssertionError) as caught:
        check(subject)
    message = str(caught.value)
    assert "\n" not in message
    name = subject.__name__ if isinstance(subject, type) else type(subject).__name__
    assert message.startswith(f"{name}: ")
    return message


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_fulfils_the_contract(name):
    check_optimizer(OPTIMIZERS[name])


@pytest.mark.parametrize("check", [check_layer, check_loss, check_optimizer])
@pytest.mark.parametrize("other", [3, int, Model])
def test_other_objects_are_refused(check, other):
    with pytest.raises(TypeError, match=rf"{check.__name__} takes an? (layer|loss|optimizer) or its class, not "):
        check(other)


# layers

class Sine(Elementwise):
    frequency: Positive = 1.0

    def f(self, x, out):
        return np.sin(np.multiply(x, self.frequency, out=out), out=out)

    def df(self, x, y, out):
        np.cos(np.multiply(x, self.frequency, out=out), out=out)
        out *= self.frequency
        return out

    def d2f(self, x, y, out):
        return np.multiply(y, -(self.frequency**2), out=out)


class SoftSign(Elementwise):
    """x / (1 + |x|): np.abs is not analytic, so complex steps do not apply."""

    def f(self, x, out):
        return np.divide(x, 1 + np.abs(x), out=out)

    def df(self, x, y, out):
        return np.square(1 - np.abs(y), out=out)

    def d2f(self, x, y, out):
        return np.multiply(-2 * np.sign(x), (1 - np.abs(y)) ** 3, out=out)


class Rounding(SoftSign):
    """np.floor raises TypeError for complex numbers."""

    def f(self, x, out):
        return super().f(np.floor(x) * 0 + x, out)


class Scale(Layer):
    """y = s x with a parameter s for each input: its width is fixed."""

    independent_rows = True
    width: int = 3
    s: np.ndarray = parameter()

    def shapes(self):
        return {"s": (self.width,)}

    def output_width(self, n_in):
        if n_in not in (None, self.width):
            raise ValueError(f"expects {self.width} inputs")
        return self.width

    def initialize(self, rng):
        self.s[:] = rng.uniform(0.5, 1.5, self.width)

    def forward(self, x):
        self.x = x
        return np.multiply(x, self.s, out=self.buffers("y", x.shape))

    def backward(self, dy, needs_dx=True):
        self.dy = dy
        np.sum(self.x * dy, axis=0, out=self.ds)
        return np.multiply(dy, self.s, out=self.buffers("dx", dy.shape)) if needs_dx else None

    def jvp(self, tx):
        self.tx = tx
        return self.x * self.vs + (0 if tx is None else tx * self.s)

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        np.sum(self.x * tdy, axis=0, out=self.Hs)
        if second_order and self.tx is not None:
            self.Hs += np.sum(self.tx * self.dy, axis=0)
        if not needs_dx:
            return None
        return tdy * self.s + (self.dy * self.vs if second_order else 0)

    def example_gradients(self, dy, out):
        out[:] = self.x * dy


class Pairs(Layer):
    """The sums of pairs of neighbours; it accepts only even widths."""

    independent_rows = True

    def output_width(self, n_in):
        if n_in is not None and n_in % 2:
            raise ValueError("needs an even number of inputs")
        return n_in and n_in // 2

    def forward(self, x):
        return x[:, ::2] + x[:, 1::2]

    def backward(self, dy, needs_dx=True):
        return np.repeat(dy, 2, axis=1)

    def jvp(self, tx):
        return self.forward(tx)

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return self.backward(tdy)


class Center(Layer):
    """x minus its mean over the batch: the rows depend on each other."""

    def forward(self, x):
        return x - x.mean(axis=0)

    def backward(self, dy, needs_dx=True):
        return self.forward(dy)

    def jvp(self, tx):
        return self.forward(tx)

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return self.forward(tdy)


class Noise(Layer):
    """Adds random numbers. The fields plant faults in its use of the generator."""

    independent_rows = True
    keeps_numbers: bool = True
    says_random: bool = True
    discards_numbers: bool = True
    selects_rows: bool = True
    uses_rng: bool = True
    _rng: object = unset(default=None)
    _noise: object = unset(default=None)

    @property
    def random(self):
        return self.says_random

    def resample(self, rng):
        self._rng = rng
        if self.discards_numbers or rng is None:
            self._noise = None

    def select_rows(self, rows):
        if self.selects_rows and self._noise is not None:
            self._noise = self._noise[rows]

    def forward(self, x):
        if self._rng is None:
            return x
        if self._noise is None or not self.keeps_numbers or self._noise.shape != x.shape:
            self._noise = (self._rng if self.uses_rng else np.random.default_rng()).random(x.shape).astype(x.real.dtype)
        return x + self._noise

    def backward(self, dy, needs_dx=True):
        return dy

    def jvp(self, tx):
        return tx

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return tdy


@pytest.mark.parametrize("layer", [Sine, Sine(frequency=3.0), SoftSign, Rounding, Scale, Scale(width=300), Pairs,
                                   Center, Noise, Dense, Dense(784, 50), Dropout(0.1), Dropout(0.0)], ids=repr)
def test_a_correct_layer_passes(layer):
    check_layer(layer)


def test_a_layer_of_a_model_is_not_changed():
    model = Model([Dense(5, 4), ReLU(), Dropout(0.5), Dense(4, 3)], MeanSquaredError())
    theta, objective = model.theta.copy(), model.objective(np.ones((2, 5)), np.ones((2, 3)))
    value = objective.value()
    for layer in model.layers:
        check_layer(layer)
    np.testing.assert_array_equal(model.theta, theta)
    assert np.shares_memory(model.layers[0].W, model.theta)
    assert objective.value() == value


class ClaimsIndependentRows(Center):
    independent_rows = True


class KeepsTheLargestBatch(Sine):
    def forward(self, x):
        y = super().forward(x)
        largest = self.__dict__.setdefault("largest", y.copy())
        return largest[: len(y)] if len(largest) > len(y) else y


class KeepsTheFirstMean(Center):
    def forward(self, x):
        return x - self.__dict__.setdefault("mean", x.mean(axis=0))


class NoGradientWithoutdx(Scale):
    def backward(self, dy, needs_dx=True):
        return super().backward(dy) if needs_dx else None


class AlwaysReturnsdx(Scale):
    def backward(self, dy, needs_dx=True):
        return super().backward(dy)


class NeverReturnsdx(Scale):
    def backward(self, dy, needs_dx=True):
        return super().backward(dy, needs_dx=False)


class NeedsTheTangentOfx(Scale):
    def jvp(self, tx):
        return super().jvp(0 * self.x if tx is None else tx) + (tx is None)


class NoExampleGradients(Scale):
    def example_gradients(self, dy, out):
        pass


class ReplacesItsGradient(Scale):
    def backward(self, dy, needs_dx=True):
        self.dy = dy
        self.ds = np.sum(self.x * dy, axis=0)
        return dy * self.s if needs_dx else None


class FrequencyIsNoField(Sine):
    """Its factor is not a field, so the description does not contain it."""

    factor = 2.0

    def __post_init__(self):
        self.factor = 2.0

    def f(self, x, out):
        return super().f(x * self.factor, out)


def with_factor_3():
    layer = FrequencyIsNoField()
    layer.factor = 3.0
    return layer


class FactorIsNoField(Sine):
    def __init__(self, factor):
        self.frequency = factor
        self.factor = factor


class Promotes(Center):
    def forward(self, x):
        return super().forward(x) * np.float64(1.0)


class PromotesIndx(Sine):
    def backward(self, dy, needs_dx=True):
        return super().backward(dy) * np.float64(1.0)


class Overflows(Elementwise):
    def f(self, x, out):
        return np.log1p(np.exp(x, out=out), out=out)

    def df(self, x, y, out):
        return np.negative(np.expm1(np.negative(y, out=out), out=out), out=out)

    def d2f(self, x, y, out):
        return np.multiply(np.exp(-y), -np.expm1(-y), out=out)


class ChangesItsInput(Sine):
    def forward(self, x):
        y = super().forward(x)
        x *= 2
        return y


class Changesdy(Center):
    def backward(self, dy, needs_dx=True):
        dy -= dy.mean(axis=0)
        return dy


class SharesItsBuffer(Sine):
    def backward(self, dy, needs_dx=True):
        self.dy, self._d2f_dy = dy, None
        x = self.x.copy()
        return np.multiply(dy, self.df(x, self.y, self.y), out=self.y)


class NeedsBackwardForTheJacobian(Scale):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return super().backward_jvp(tdy if "dy" in vars(self) else 2 * tdy, needs_dx, second_order)


class NoOutputWidth(Pairs):
    output_width = Layer.output_width

    def forward(self, x):
        return np.repeat(x, 2, axis=1)


class WrongShapeOfdx(Center):
    def backward(self, dy, needs_dx=True):
        return np.zeros((1, dy.shape[1]))


class AcceptsNothing(Center):
    def output_width(self, n_in):
        raise ValueError("no")


class DrawsParametersElsewhere(Scale):
    def initialize(self, rng):
        self.s[:] = np.random.default_rng().uniform(size=self.width)


class Raises(Sine):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        raise NotImplementedError("later")


class WrongInParts(Dense):
    def backward_parameters(self, x, dy, rows):
        super().backward_parameters(x, dy, rows)
        if rows.start:
            self.dW[rows] *= 1.01


class WritesTooMuch(Dense):
    def backward_parameters(self, x, dy, rows):
        super().backward_parameters(x, dy, slice(0, self.n_in + 1))


class WrongInput(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        return None if dx is None else dx.copy()

    def backward_input(self, dy, needs_dx=True):
        dx = super().backward_input(dy, needs_dx)
        if np.isnan(self.dW).any() and dx is not None:
            dx *= 2
        return dx


class WrongNumberOfRows(Dense):
    parameter_rows = 7


@pytest.mark.parametrize(("layer", "message"), [
    (WrongInParts(6, 3), "backward_parameters wrote a gradient that differs from that of backward by"),
    (WritesTooMuch(6, 3), "backward_parameters wrote other parts of the gradient than 3 to 6 of 6"),
    (WrongInput(6, 3), "backward_input returned a dL/dx that differs from that of backward by"),
    (WrongNumberOfRows(5, 3), "parameter_rows is 7, but the 18 parameters cannot be divided into as many equal parts"),
    (ClaimsIndependentRows, "independent_rows is True, but y of rows computed separately differs.*: set it to False"),
    (KeepsTheLargestBatch, "y of forward for a batch of 2 after one of 5 differs from that of a new layer"),
    (KeepsTheFirstMean, "dL/dx of backward differs from central differences"),
    (NoGradientWithoutdx, "backward with needs_dx=False: its gradient differs by .*only dL/dx may be left out"),
    (AlwaysReturnsdx, "must return None if needs_dx is False"),
    (NeverReturnsdx, "backward or backward_jvp returned None: it must return an array unless needs_dx is False"),
    (NeedsTheTangentOfx, "jvp with tx=None: its result differs by "),
    (NoExampleGradients, "row 0 of example_gradients differs .* by inf, for x of shape .*: define it"),
    (ReplacesItsGradient, r"dL/ds of backward differs from central differences .*self.ds\[:\] = "),
    (with_factor_3(), "a new object with the same fields {'frequency': 1.0} gives a result that differs by .*annotate"),
    (FactorIsNoField(2.0), "the fields .* do not build it again: .*annotate"),
    (Promotes, "y of forward is float64 in a float32 model: use self.buffers, and Python numbers, not np.float64"),
    (PromotesIndx, "dL/dx of backward is float64 in a float32 model"),
    (ChangesItsInput, "forward or backward changed its argument x: write to a buffer"),
    (Changesdy, "forward or backward changed its argument dy"),
    (SharesItsBuffer, "backward overwrites what forward returned: give each its own buffer"),
    (NeedsBackwardForTheJacobian, "second_order=False, directly after forward, differs from backward by"),
    (NoOutputWidth, r"forward returned an array of shape \(1, 10\) .* but output_width\(5\) is 5: define output_width"),
    (WrongShapeOfdx, "backward returned .*: dL/dx must have the shape of x"),
    (AcceptsNothing, "output_width accepts no number of inputs from 1 to 4096"),
    (Noise(keeps_numbers=False), "a second forward of one batch gives a different output"),
    (Noise(says_random=False), "it draws random numbers, but its property `random` is False"),
    (Noise(discards_numbers=False), "resample with another generator gives the same output"),
    (Noise(selects_rows=False), "independent_rows is True, but y of rows computed separately .*define select_rows"),
    (Noise(uses_rng=False), "resample with an equal generator gives a different output"),
    (DrawsParametersElsewhere, "initialize with an equal generator gives different parameters"),
    (Raises, r"NotImplementedError in backward_jvp, line \d+ of test_testing.py: later$"),
], ids=lambda value: re.sub(r"\W+", " ", repr(value))[:40] if not isinstance(value, str) else "")
def test_a_fault_in_a_layer_is_named(layer, message):
    assert re.search(message, message_of(check_layer, layer))


class WithInputWidth(Scale):
    """Its output_width accepts any width, but its input_width is fixed."""

    @property
    def input_width(self):
        return self.width

    def output_width(self, n_in):
        return self.width


class WithoutWidths(Scale):
    output_width = Layer.output_width


class ContradictsItself(Scale):
    @property
    def input_width(self):
        return self.width + 1


def test_input_width_is_used_if_it_is_set():
    check_layer(WithInputWidth(width=4))
    check_layer(WithInputWidth(width=300))
    message = message_of(check_layer, WithoutWidths(width=4))
    assert "forward accepts 4 inputs, but not 5 (" in message
    assert message.endswith("): define the property input_width, which is 4")
    assert message_of(check_layer, ContradictsItself(width=4)) == (
        "ContradictsItself: input_width is 5, but output_width(5) raises ValueError: expects 4 inputs")


class WrongForLargex(Sine):
    """Its df is wrong for large |x|, which are not in every batch. Nothing is kept."""

    def df(self, x, y, out):
        return np.multiply(super().df(x, y, out), np.where(abs(x) > 2, 2, 1), out=out)


class KeepsTheFirstDerivative(Sine):
    """df is right only in the first batch."""

    def df(self, x, y, out):
        out[:] = self.__dict__.setdefault("first", super().df(x, y, out).copy())
        return out


def test_only_what_a_new_object_computes_correctly_is_said_to_be_kept():
    assert "second batch" not in message_of(check_layer, WrongForLargex)
    message = message_of(check_layer, KeepsTheFirstDerivative)
    assert "dL/dx of backward, in a second batch, differs from central differences" in message
    assert "look for values that are kept from the first batch" in message


class ReturnsNothing(Sine):
    def f(self, x, out):
        np.sin(x, out=out)


class HasNoOut(Sine):
    def f(self, x):
        return np.sin(x)


class IgnoresOut(Sine):
    def f(self, x, out):
        return np.sin(x * self.frequency)


class IgnoresOutInd2f(Sine):
    def d2f(self, x, y, out):
        return -y


class HasNoSecondOrder(Scale):
    def backward_jvp(self, tdy, needs_dx=True):
        return super().backward_jvp(tdy, needs_dx)


class ForwardReturnsNothing(Center):
    def forward(self, x):
        x.mean(axis=0)


class Logarithm(Sine):
    def f(self, x, out):
        with np.errstate(invalid="ignore"):
            return np.log(x, out=out)


class DeclaredWithoutCall(Scale):
    offset: np.ndarray = parameter


class WithConstant(Sine):
    beta = 0.9
    _private = 1.0
    labels = ("a", "b")


class WithAnnotatedConstant(Sine):
    independent_rows = False
    beta: ClassVar[float] = 0.9


class TwoParameters(Layer):
    """y = a x + c for one input; da or dc is wrong."""

    wrong: str = "a"
    a: np.ndarray = parameter()
    c: np.ndarray = parameter()

    def shapes(self):
        return {"a": (1,), "c": (1,)}

    def forward(self, x):
        self.x = x
        return self.a * x + self.c

    def backward(self, dy, needs_dx=True):
        self.da[:] = np.sum(self.x * dy) * (2 if self.wrong == "a" else 1)
        self.dc[:] = np.sum(dy) * (2 if self.wrong == "c" else 1)
        return self.a * dy

    def jvp(self, tx):
        return self.x * self.va + self.vc + self.a * tx

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return self.a * tdy


@pytest.mark.parametrize(("layer", "message"), [
    (ReturnsNothing, "f must return out, but returned None: write to out, and return it"),
    (HasNoOut, "f does not accept the arguments that it is called with: write def f(self, x, out)"),
    (IgnoresOut, "f must return out, but returned another array: write to out, and return it"),
    (IgnoresOutInd2f, "d2f must return out, but returned another array: write to out, and return it"),
    (HasNoSecondOrder, "backward_jvp does not accept the arguments that it is called with: write def "
                       "backward_jvp(self, tdy, needs_dx=True, second_order=True)"),
    (Logarithm, "y of forward is not finite for x between -2.3 and 1.3: a layer must accept all finite x"),
    (ForwardReturnsNothing, "forward must return an array, but returned None"),
    (DeclaredWithoutCall, "offset is declared by parameter without parentheses: write offset: np.ndarray = "
                          "parameter()"),
    (WithConstant, "beta = 0.9 is not a field, because it has no annotation: annotate it: beta: float = 0.9 (a "
                   "constant: beta: ClassVar[float] = 0.9)"),
])
def test_a_fault_in_how_a_layer_is_written_is_named(layer, message):
    assert message_of(check_layer, layer) == f"{layer.__name__}: {message}"


def test_an_annotated_constant_passes():
    check_layer(WithAnnotatedConstant)


@pytest.mark.parametrize("wrong", ["a", "c"])
def test_the_gradient_that_is_wrong_is_named(wrong):
    message = message_of(check_layer, TwoParameters(wrong=wrong))
    assert f"dL/d{wrong} of backward differs" in message
    assert message.endswith(f"compare backward with forward, and write in place, such as self.d{wrong}[:] = ...")


def slightly_wrong(kind):
    """Return the class with a relative error of 1e-8 in its derivative, which differences do not find."""
    def df(self, x, y, out):
        return np.multiply(kind.df(self, x, y, out), 1 + 1e-8, out=out)

    return type(f"Slightly{kind.__name__}", (kind,), {"df": df})


def test_complex_steps_find_small_errors_if_they_apply():
    message = message_of(check_layer, slightly_wrong(Sine))
    assert "differs from complex steps by 1.0e-08 (at most 1e-10 is allowed)" in message
    check_layer(slightly_wrong(SoftSign))
    check_layer(slightly_wrong(Rounding))


@pytest.mark.filterwarnings("ignore:overflow")
def test_overflow_is_named():
    assert "is not finite in float32 for x between -10,000 and 10,000" in message_of(check_layer, Overflows)


def test_a_warning_that_is_an_error_is_named():
    assert "RuntimeWarning in f, line" in message_of(check_layer, Overflows)


# losses

class LogCosh(Loss):
    """The mean of log cosh(z - t) over the outputs."""

    is_regression = True

    def value(self, z, target, scale):
        d = z - target
        return float(scale / z.shape[1] * np.sum(d + np.log1p(np.exp(-2 * d)) - math.log(2)))

    def gradient(self, z, target, scale, out):
        return np.multiply(np.tanh(z - target), scale / z.shape[1], out=out)

    def hessian_product(self, z, target, v, scale, out):
        return np.multiply(v, scale / z.shape[1] / np.cosh(z - target) ** 2, out=out)


class Poisson(Loss):
    """z - t log z, for rates z above 0. It refuses negative targets."""

    is_regression = True

    def encode(self, y, width, dtype):
        target = super().encode(y, width, dtype)
        if (target < 0).any():
            raise ValueError("counts must be at least 0")
        return target

    def value(self, z, target, scale):
        with np.errstate(invalid="ignore"):
            return (scale * np.sum(z - target * np.log(z))).item()

    def gradient(self, z, target, scale, out):
        return np.multiply(1 - target / z, scale, out=out)

    def hessian_product(self, z, target, v, scale, out):
        return np.multiply(v, scale * target / z**2, out=out)


class Hinge(Loss):
    """max(0, 1 - t z)^2, the labels as -1 and 1."""

    def encode(self, y, width, dtype):
        return 2 * super().encode(y, width, dtype) - 1

    def margin(self, z, target):
        return np.where((target * z).real < 1, 1 - target * z, 0)

    def value(self, z, target, scale):
        return (scale * np.sum(self.margin(z, target) ** 2)).item()

    def gradient(self, z, target, scale, out):
        return np.multiply(-2 * scale * target, self.margin(z, target), out=out)

    def hessian_product(self, z, target, v, scale, out):
        return np.multiply(2 * scale * target**2 * ((target * z).real < 1), v, out=out)


class Weighted(MeanSquaredError):
    weight: Positive = 1.0

    def value(self, z, target, scale):
        return super().value(z, target, self.weight * scale)

    def gradient(self, z, target, scale, out):
        return super().gradient(z, target, self.weight * scale, out)

    def hessian_product(self, z, target, v, scale, out):
        return super().hessian_product(z, target, v, self.weight * scale, out)

    def residual_scale(self, width, scale):
        return super().residual_scale(width, self.weight * scale)


@pytest.mark.parametrize("loss", [LogCosh, Poisson, Hinge, Weighted, Weighted(weight=3.0)], ids=repr)
def test_a_correct_loss_passes(loss):
    check_loss(loss)


class Mean(LogCosh):
    def value(self, z, target, scale):
        return super().value(z, target, 1 / len(z))

    def gradient(self, z, target, scale, out):
        return super().gradient(z, target, 1 / len(z), out)

    def hessian_product(self, z, target, v, scale, out):
        return super().hessian_product(z, target, v, 1 / len(z), out)


class MeanTimesScale(LogCosh):
    def value(self, z, target, scale):
        return super().value(z, target, scale / len(z))

    def gradient(self, z, target, scale, out):
        return super().gradient(z, target, scale / len(z), out)

    def hessian_product(self, z, target, v, scale, out):
        return super().hessian_product(z, target, v, scale / len(z), out)


class NotConvex(LogCosh):
    """log(1 + d^2)."""

    def value(self, z, target, scale):
        return (scale * np.sum(np.log1p((z - target) ** 2))).item()

    def gradient(self, z, target, scale, out):
        d = z - target
        return np.multiply(2 * d, scale / (1 + d**2), out=out)

    def hessian_product(self, z, target, v, scale, out):
        d = z - target
        return np.multiply(2 * (1 - d**2) / (1 + d**2) ** 2, scale * v, out=out)


class DoesNotWriteToOut(LogCosh):
    def gradient(self, z, target, scale, out):
        return np.tanh(z - target) * (scale / z.shape[1])


class PromotesTheGradient(LogCosh):
    def gradient(self, z, target, scale, out):
        return super().gradient(z, target, scale, out).astype(np.result_type(out, float))


class ReturnsAnArray(LogCosh):
    def value(self, z, target, scale):
        return np.sum(scale / z.shape[1] * np.log(np.cosh(z - target)))


class WrongExampleValues(LogCosh):
    def example_values(self, z, target):
        return np.log(np.cosh(z - target)).sum(axis=1)


class GradientNeedsTheValue(LogCosh):
    """Its gradient uses what value has kept, and its example_values keeps something else."""

    difference: object = unset(default=None)

    def value(self, z, target, scale):
        self.difference = z - target
        return super().value(z, target, scale)

    def gradient(self, z, target, scale, out):
        return super().gradient(self.difference + target, target, scale, out)

    def example_values(self, z, target):
        return np.array([self.value(z[i : i + 1], target[i : i + 1], 1.0) for i in range(len(z))])


class WrongResiduals(MeanSquaredError):
    def residual_scale(self, width, scale):
        return math.sqrt(scale / width)


class LabelsFromOne(Hinge):
    def encode(self, y, width, dtype):
        y = np.asarray(y)
        return super().encode((y + 1) % width if y.ndim == 1 else y, width, dtype)


class WeightIsNoField(LogCosh):
    def __init__(self, weight=1.0):
        self.weight = weight

    def value(self, z, target, scale):
        return super().value(z, target, scale) * self.weight


class JoinsWithAnother(Loss):
    """Its loss for a last layer Sigmoid has a different value."""

    needs_probabilities = True

    def for_last_layer(self, last):
        from nn import BinaryCrossEntropy

        return BinaryCrossEntropy().for_last_layer(last)

    value, gradient, hessian_product = LogCosh.value, LogCosh.gradient, LogCosh.hessian_product


@pytest.mark.parametrize(("loss", "message"), [
    (Mean, "value is not proportional to scale, by "),
    (MeanTimesScale, "value of two halves does not add up to that of the batch, by .*not a mean"),
    (NotConvex, "hessian_product is not positive semidefinite"),
    (DoesNotWriteToOut, "gradient must return out, but returned another array: write to out, and return it"),
    (PromotesTheGradient, "gradient must return out, but returned another array"),
    (ReturnsAnArray, "value is .*in float32, .*: it must be a finite Python float"),
    (WrongExampleValues, "example_values differs from the value of each example, by "),
    (GradientNeedsTheValue, "gradient after example_values is not that after value, by "),
    (WrongResiduals, r"value is not that of r\^T r / 2 with the residuals r = residual_scale \(z - t\), by 1.0e"),
    (LabelsFromOne, r"encode gives float32 .* for \[\[0.0, 0.0, 1.0\], .* for the labels \[2, 0, 1\]"),
    (WeightIsNoField(weight=2.0), "a new object with the same fields {} gives a result that differs by .*: annotate"),
    (JoinsWithAnother, r"for_last_layer\(Sigmoid\(\)\) returns SigmoidBinaryCrossEntropy\(\), whose value is"),
])
def test_a_fault_in_a_loss_is_named(loss, message):
    assert re.search(message, message_of(check_loss, loss))


class HuberWithWrongHessian(Loss):
    """Its hessian_product is wrong only for large errors, which are not in every batch. Nothing is kept."""

    is_regression = True
    delta: Positive = 1.0

    def value(self, z, target, scale):
        r = np.abs(z - target)
        return scale * np.where(r < self.delta, r * r / 2, self.delta * (r - self.delta / 2)).sum().item()

    def gradient(self, z, target, scale, out):
        np.clip(z - target, -self.delta, self.delta, out=out)
        out *= scale
        return out

    def hessian_product(self, z, target, v, scale, out):
        return np.multiply(v, scale, out=out)


class KeepsTheFirstTarget(LogCosh):
    def gradient(self, z, target, scale, out):
        return super().gradient(z, self.__dict__.setdefault("first", target), scale, out)


def test_only_what_a_new_loss_computes_correctly_is_said_to_be_kept():
    message = message_of(check_loss, HuberWithWrongHessian)
    assert "hessian_product differs from central differences" in message
    assert "batch" not in message
    assert message.endswith("compare it with the derivative of gradient")
    message = message_of(check_loss, KeepsTheFirstTarget)
    assert "gradient, in a second batch, differs from central differences" in message
    assert message.endswith("look for values that are kept from the first batch")


class ReturnsEachValue(LogCosh):
    def value(self, z, target, scale):
        return scale / z.shape[1] * np.log(np.cosh(z - target))


class ReturnsNoValue(LogCosh):
    def value(self, z, target, scale):
        super().value(z, target, scale)


class ReturnsNoGradient(LogCosh):
    def gradient(self, z, target, scale, out):
        super().gradient(z, target, scale, out)


class TakesNoScale(LogCosh):
    def gradient(self, z, target, out):
        return out


class WithConstantWeight(LogCosh):
    weight = 2


@pytest.mark.parametrize(("loss", "message"), [
    (ReturnsEachValue, "value must return the loss, a number, but returned an array of shape (1, 5)"),
    (ReturnsNoValue, "value must return the loss, a number, but returned None"),
    (ReturnsNoGradient, "gradient must return out, but returned None: write to out, and return it"),
    (TakesNoScale, "gradient does not accept the arguments that it is called with: write def gradient(self, z, target, "
                   "scale, out)"),
    (WithConstantWeight, "weight = 2 is not a field, because it has no annotation: annotate it: weight: int = 2 (a "
                         "constant: weight: ClassVar[int] = 2)"),
])
def test_a_fault_in_how_a_loss_is_written_is_named(loss, message):
    assert message_of(check_loss, loss) == f"{loss.__name__}: {message}"


class NeedsDistributions(CrossEntropy):
    """Its outputs must be those of Softmax."""

    def value(self, z, target, scale):
        if np.any(abs(z.real.sum(axis=1) - 1) > 1e-3):
            raise ValueError("each row of z must sum to 1")
        return super().value(z, target, scale)


def test_a_loss_that_needs_probabilities_gets_those_of_a_last_layer_that_it_accepts():
    check_loss(NeedsDistributions)


# optimizers

class HeavyBall(FirstOrder):
    velocity: np.ndarray = vector()
    friction: float = scalar(0.5)

    @elementwise
    def update(self, theta, grad):
        self.velocity *= 1 - self.friction
        self.velocity -= np.multiply(grad, self.lr, out=self.scratch)
        self.friction *= 0.9
        theta += self.velocity


class RandomSearch(Optimizer):
    def step(self, objective):
        self.start(objective.theta)
        before, theta = objective.value(), objective.theta.copy()
        if math.isfinite(before):
            self.t += 1
            objective.theta += np.random.default_rng(self.t).normal(size=theta.size)
            if objective.value() > before:
                objective.theta[:] = theta
        return before


@pytest.mark.parametrize("optimizer", [
    HeavyBall, HeavyBall(lr=0.1, weight_decay=0.1, clip_norm=1.0), RandomSearch, RMSprop(centered=True, momentum=0.9),
    Newton(sample=0.5, form="cg"), LevenbergMarquardt(form="products", sample=0.5), get("lbfgs", memory=2),
], ids=repr)
def test_a_correct_optimizer_passes(optimizer):
    check_optimizer(optimizer)


def test_a_class_that_pickle_cannot_import_passes():
    class Local(FirstOrder):
        def update(self, theta, grad):
            theta -= self.lr * grad

    check_optimizer(Local)


def test_an_optimizer_that_is_in_use_is_refused_and_a_new_one_stays_new():
    used, new = Adam(), Adam()
    used.t = 3
    assert message_of(check_optimizer, used) == "Adam: it has taken 3 steps: check a new one"
    check_optimizer(new)
    assert new.state() == {"t": 0}


class VelocityIsNotDeclared(FirstOrder):
    def update(self, theta, grad):
        self.velocity = 0.9 * getattr(self, "velocity", 0) + grad
        theta -= self.lr * self.velocity


class HiddenCounter(FirstOrder):
    def update(self, theta, grad):
        self.count = getattr(self, "count", 0) + 1
        theta -= self.lr / self.count * grad


class CounterDeclaredWithoutState(FirstOrder):
    count: int = unset(default=0)

    def update(self, theta, grad):
        self.count += 1
        theta -= self.lr / self.count * grad


class ChangesItsRate(FirstOrder):
    def update(self, theta, grad):
        theta -= self.lr * grad
        self.lr *= 0.9


class ReadsOldScratch(FirstOrder):
    def update(self, theta, grad):
        self.scratch += grad
        theta -= self.lr * self.scratch


class RandomAnew(FirstOrder):
    generator: object = field(default_factory=np.random.default_rng, init=False)

    def update(self, theta, grad):
        theta -= self.lr * self.generator.uniform(size=theta.size) * grad


class ReplacesTheta(Optimizer):
    def step(self, objective):
        self.start(objective.theta)
        loss, grad = objective.value_and_gradient()
        self.t += 1
        objective.theta = objective.theta - 0.01 * grad
        return loss


class ChangesACopy(FirstOrder):
    def update(self, theta, grad):
        theta = theta - self.lr * grad


class Ascends(FirstOrder):
    def update(self, theta, grad):
        theta += self.lr * grad


class ReturnsTheLossAfter(FirstOrder):
    def update(self, theta, grad):
        theta -= self.lr * grad

    def step(self, objective):
        super().step(objective)
        return objective.value()


class DoesNotCount(Optimizer):
    def step(self, objective):
        self.start(objective.theta)
        loss, grad = objective.value_and_gradient()
        if math.isfinite(loss):
            objective.theta -= 0.01 * grad
        return loss


class PromotesItsState(FirstOrder):
    v: np.ndarray = vector()

    def update(self, theta, grad):
        self.v = self.v + np.float64(0.1) * grad
        theta -= self.lr * self.v


class PromotesItsScalar(FirstOrder):
    length: float = scalar(1.0)

    def update(self, theta, grad):
        self.length = np.sqrt(self.length + np.float64(1))
        theta -= self.lr * grad


class MovesOnNaN(Optimizer):
    def step(self, objective):
        self.start(objective.theta)
        loss, grad = objective.value_and_gradient()
        self.t += 1
        objective.theta -= 0.01 * grad
        return loss


class CountsOnNaN(FirstOrder):
    tries: int = scalar(0)

    def step(self, objective):
        self.tries += 1
        return super().step(objective)

    def update(self, theta, grad):
        theta -= self.lr * grad


class HidesNaN(FirstOrder):
    def step(self, objective):
        loss = super().step(objective)
        return loss if math.isfinite(loss) else 0.0

    def update(self, theta, grad):
        theta -= self.lr * grad


class AcceptsAnyState(FirstOrder):
    v: np.ndarray = vector()

    def update(self, theta, grad):
        self.v += grad
        theta -= self.lr * self.v / self.t

    def restore(self, values, theta):
        self.start(theta)
        self.t = values["t"]
        self.v[:] = values.get("v", 0)


class RefusesOtherNamesOnly(AcceptsAnyState):
    def restore(self, values, theta):
        if "nonsense" in values:
            raise ValueError("nonsense")
        self.start(theta)
        self.t = values["t"]
        self.v[...] = np.resize(values.get("v", 0), theta.shape)


class CopiesLoseTheirState(AcceptsAnyState):
    restore = FirstOrder.restore

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "v"}


class WronglyMarked(FirstOrder):
    @elementwise
    def update(self, theta, grad):
        theta -= self.lr * grad / np.linalg.norm(grad)


class DiffersIfCompiled(FirstOrder):
    """A compiled rule is traced with objects that are not arrays."""

    @elementwise
    def update(self, theta, grad):
        theta -= (self.lr if isinstance(theta, np.ndarray) else 2 * self.lr) * grad


class KeepsItsFirstRate(FirstOrder):
    first: float = scalar(0.0)

    def update(self, theta, grad):
        self.first = self.first or self.lr
        theta -= self.first * grad


class ReturnsNoLoss(FirstOrder):
    def step(self, objective):
        super().step(objective)

    def update(self, theta, grad):
        theta -= self.lr * grad


class UpdatesWithoutTheta(FirstOrder):
    def update(self, grad):
        self.scratch[:] = grad


class MakesItsStateItself(FirstOrder):
    """At a restored step, there is no m."""

    def update(self, theta, grad):
        if self.t == 1:
            self.m, self.count = np.zeros_like(theta), 0
        self.m *= 0.9
        self.m += grad
        self.count += 1
        theta -= self.lr * self.m


class KeepsTwoGradients(FirstOrder):
    def update(self, theta, grad):
        if not hasattr(self, "last"):
            self.last = np.zeros((2, theta.size))
        self.last[self.t % 2] = grad
        theta -= self.lr * self.last.mean(axis=0)


class VectorWithoutCall(FirstOrder):
    m: np.ndarray = vector

    def update(self, theta, grad):
        theta -= self.lr * grad


class WithConstantBeta(FirstOrder):
    beta = 0.9

    def update(self, theta, grad):
        theta -= self.beta * self.lr * grad


STATE = "after 3 steps, state and restore do not continue as the optimizer itself does"


@pytest.mark.parametrize(("optimizer", "message"), [
    (ReturnsNoLoss, "step must return the loss, a number, but returned None"),
    (UpdatesWithoutTheta, "update does not accept the arguments that it is called with: write def update(self, theta, "
                          "grad)"),
    (MakesItsStateItself, f"{STATE}: m and count are not part of the state: declare them: m: np.ndarray = vector(); "
                          "count: int = scalar(0)"),
    (KeepsTwoGradients, f"{STATE}: last is not part of the state: declare it: last: np.ndarray = array(lambda "
                        "optimizer, P: (2, 6))"),
    (VectorWithoutCall, "m is declared by vector without parentheses: write m: np.ndarray = vector()"),
    (WithConstantBeta, "beta = 0.9 is not a field, because it has no annotation: annotate it: beta: float = 0.9 (a "
                       "constant: beta: ClassVar[float] = 0.9)"),
])
def test_a_fault_in_how_an_optimizer_is_written_is_named(optimizer, message):
    assert message_of(check_optimizer, optimizer) == f"{optimizer.__name__}: {message}"


NEEDS_NUMBA = pytest.mark.skipif(not compiled.available(), reason="numba is not installed (extra fast)")


@pytest.mark.parametrize(("optimizer", "message"), [
    (VelocityIsNotDeclared, ": velocity is not part of the state: declare it: velocity: np.ndarray = vector.*$"),
    (HiddenCounter, "after 3 steps, state and restore do not continue .*: declare it: count: int = scalar.0.$"),
    (CounterDeclaredWithoutState, "state and restore do not continue .*: declare it: count: int = scalar.0.$"),
    (ChangesItsRate, "state and restore do not continue .*: declare lr as"),
    (ReadsOldScratch, "state and restore do not continue .*: declare everything that the next step depends on as"),
    (RandomAnew, "after 3 steps, state and restore do not continue .*: declare generator as"),
    (ReplacesTheta, "step replaced objective.theta: write into it"),
    (ChangesACopy, "after 100 steps on a convex function the value is .*: theta has not changed: write into"),
    (Ascends, r"after \d+ steps on a convex function .*: look at the sign of the step"),
    (ReturnsTheLossAfter, "step 1 returned .*, not the value before the step, .*, but the value after it"),
    (DoesNotCount, "t is still 0 after a step: count the steps"),
    (PromotesItsState, "v is float64 after steps on a float32 vector: write into arrays in place"),
    (PromotesItsScalar, "length is float64 after steps on a float32 vector: .*Python numbers"),
    (MovesOnNaN, "a step at a value of nan changed theta and t: return the value, and change nothing"),
    (CountsOnNaN, "a step at a value of nan changed tries: "),
    (HidesNaN, "a step at a value of nan returned 0: return the value"),
    (AcceptsAnyState, "restore accepts a state with other names: raise ValueError"),
    (RefusesOtherNamesOnly, "restore accepts a state with v of another shape"),
    (CopiesLoseTheirState, "after 3 steps, a copy by copy.deepcopy does not continue .*: keep v in copies"),
    pytest.param(WronglyMarked, "update is marked @elementwise, but cannot be applied in parts: .*; remove the mark",
                 marks=NEEDS_NUMBA),
    pytest.param(DiffersIfCompiled, "update is marked @elementwise, but in parts it gives a different theta",
                 marks=NEEDS_NUMBA),
    (KeepsItsFirstRate, "inside Scheduled, its steps do not follow the schedule: use self.lr"),
])
def test_a_fault_in_an_optimizer_is_named(optimizer, message):
    assert re.search(message, message_of(check_optimizer, optimizer))


def test_an_optimizer_with_a_schedule_passes():
    check_optimizer(Scheduled(Adam(), parse_schedule("cosine", 50)))


# registered classes

PLUGIN = """
import numpy as np
import nn
import optimizers

@nn.register
class NewNameLayer(nn.Elementwise):
    def f(self, x, out):
        return np.sin(x, out=out)
    def df(self, x, y, out):
        return np.cos(x, out=out)
    def d2f(self, x, y, out):
        return np.negative(y, out=out)

@nn.register
class NewNameLoss(nn.MeanSquaredError):
    pass

@nn.register
class NewNameOfProbabilities(nn.Loss):
    needs_probabilities = True
    def value(self, z, target, scale):
        z = np.clip(z, 1e-7, 1 - 1e-7)
        return -scale * np.sum(target * np.log(z) + (1 - target) * np.log(1 - z)).item()
    def gradient(self, z, target, scale, out):
        z = np.clip(z, 1e-7, 1 - 1e-7)
        return np.multiply(scale, (1 - target) / (1 - z) - target / z, out=out)
    def hessian_product(self, z, target, v, scale, out):
        z = np.clip(z, 1e-7, 1 - 1e-7)
        return np.multiply(scale * v, (1 - target) / (1 - z) ** 2 + target / z**2, out=out)

@optimizers.register
class NewName(optimizers.FirstOrder):
    def update(self, theta, grad):
        theta -= self.lr * np.sign(grad)
"""


def test_registered_classes_are_tested(tmp_path):
    (tmp_path / "registers_classes.py").write_text(PLUGIN)
    root = Path(__file__).parent.parent
    files = [f"tests/{name}.py" for name in ("test_layers", "test_losses", "test_model", "test_testing")]
    options = ["-p", "registers_classes", "-p", "no:cacheprovider", "--assert=plain", "-k", "NewName", "-v"]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *files], cwd=root, capture_output=True, text=True,
                          check=False, env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    for test in ("test_a_layer_fulfils_the_contract[NewNameLayer]", "test_a_loss_fulfils_the_contract[NewNameLoss]",
                 "test_an_optimizer_fulfils_the_contract[newname]"):
        assert f"{test} PASSED" in done.stdout
    assert "test_gradient_of_a_whole_model[NewNameOfProbabilities-" in done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
