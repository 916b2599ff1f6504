"""Checks of layers, losses and optimizers, for those who write their own: check_layer, check_loss, check_optimizer.

The tests of this project call the same functions for every entry of its tables.
"""

from collections.abc import Callable, Sequence
import copy
from pathlib import Path
import traceback
from typing import Any

import numpy as np

from feedforward.testing import layer_checks, loss_checks, optimizer_checks
from feedforward.testing.cases import make_layer
from feedforward.testing.faults import Fault
import nn
from nn import Layer, Loss
import optimizers
from optimizers import Optimizer

__all__ = ["check_layer", "check_loss", "check_optimizer"]

# a frame of a traceback in one of these folders is not in the class that is checked
LIBRARIES = {Path(module.__file__ or "").parent for module in (layer_checks, nn, optimizers, np)}


def check_layer(layer: Layer | type[Layer]) -> None:
    """Check that a layer fulfils the contract of `nn.Layer`, above all that its derivatives are right.

    Parameters
    ----------
    layer : Layer or type
        The layer, or its class if that can be constructed without arguments other than `n_in` and `n_out`. It is
        copied, not changed. A layer with fields `n_in` and `n_out` is checked at many widths. Any other is checked at
        its `input_width`, or, if that is None, at those that its `output_width` accepts.

    Raises
    ------
    AssertionError
        If something is wrong. The message says what, by how much, on which shape, and what to look at.
    TypeError
        If `layer` is not a layer.

    Notes
    -----
    The checks are:

    - `backward` against central differences (relative error 1e-6) and complex steps (1e-10), for 24 shapes, among them
      a batch of 1 and square shapes; then for a second batch, which must not depend on the first;
    - `jvp` and `backward_jvp` in the same way, and the transposed Jacobian, which `backward_jvp` applies without
      `second_order`;
    - if there are parameters, `needs_dx=False` and `tx=None`: the layer may be the first of a network;
    - if there are parameters, `example_gradients` agrees with `backward`, one example at a time;
    - results have the right shapes, and x and dy are not changed;
    - the result of a method stays the same until the next call of that method;
    - results do not depend on earlier batches, which were larger or smaller;
    - results for inputs up to 10,000 are finite, and float32 stays float32;
    - if `independent_rows` is True, rows computed separately equal rows computed together;
    - `resample`: random numbers stay the same until the next call, and `random` says whether there are any;
    - every method accepts the arguments that it is called with; f, df and d2f of an `Elementwise` return `out`;
    - `description` builds an equal layer;
    - numbers and texts in the class are annotated, so that they are fields or, as `ClassVar`, constants.

    Complex steps need a layer that computes with complex numbers. If a layer raises TypeError for them, discards
    imaginary parts, or is not analytic, for example because it uses np.abs, only differences are used. A kink of a
    layer should be at 0, because no input is near 0.

    Examples
    --------
    >>> import numpy as np
    >>> from feedforward.testing import check_layer
    >>> from nn import Dense, Elementwise
    >>> check_layer(Dense(5, 3))
    >>> class Sine(Elementwise):
    ...     def f(self, x, out):
    ...         return np.sin(x, out=out)
    ...     def df(self, x, y, out):
    ...         return np.sin(x, out=out)  # wrong
    ...     def d2f(self, x, y, out):
    ...         return np.negative(y, out=out)
    >>> check_layer(Sine)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: Sine: dL/dx of backward differs from central differences by ...: compare df with the derivative of f
    """
    if isinstance(layer, type) and issubclass(layer, Layer):
        layer = make_layer(layer, 5, 3)
    if not isinstance(layer, Layer):
        raise TypeError(f"check_layer takes a layer or its class, not {layer!r}")
    _run(layer_checks.CHECKS, copy.deepcopy(layer))


def check_loss(loss: Loss | type[Loss]) -> None:
    """Check that a loss fulfils the contract of `nn.Loss`, above all that its derivatives are right.

    Parameters
    ----------
    loss : Loss or type
        The loss, or its class if that can be constructed without arguments. It is copied, not changed.

    Raises
    ------
    AssertionError
        If something is wrong. The message says what, by how much, on which shape, and what to look at.
    TypeError
        If `loss` is not a loss.

    Notes
    -----
    The checks are:

    - `gradient` and `hessian_product` against central differences (relative error 1e-6) and complex steps (1e-10), for
      24 shapes, in two batches, one after the other; without complex steps in the cases that `check_layer` names;
    - the value and both derivatives are proportional to `scale`, and those of two halves of a batch add up to those of
      the batch;
    - the Hessian of each row is symmetric and positive semidefinite;
    - float32 stays float32, the results are in `out`, and probabilities of 0 and 1 give finite numbers;
    - `residuals`, if `residual_scale` gives a number, agree with the value and both derivatives;
    - `encode` gives the same target for labels and for one-hot rows, unless the loss is for regression;
    - `for_last_layer` returns a loss of the same value, if that loss includes the layer;
    - every method accepts the arguments that it is called with, `value` returns a number, and the others return `out`;
    - `description` builds an equal loss;
    - numbers and texts in the class are annotated, so that they are fields or, as `ClassVar`, constants.

    If the loss needs probabilities, the outputs are those of the first of Sigmoid and Softmax that `for_last_layer`
    accepts. Otherwise they are normal numbers, or, if the loss is not finite for these, numbers between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from feedforward.testing import check_loss
    >>> from nn import MeanSquaredError
    >>> check_loss(MeanSquaredError())
    >>> class Faulty(MeanSquaredError):
    ...     def hessian_product(self, z, target, v, scale, out):
    ...         return np.multiply(v, scale / z.shape[1], out=out)
    >>> check_loss(Faulty)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: Faulty: hessian_product differs from central differences by 5.0e-01 (at most ...
    """
    loss = loss() if isinstance(loss, type) and issubclass(loss, Loss) else loss
    if not isinstance(loss, Loss):
        raise TypeError(f"check_loss takes a loss or its class, not {loss!r}")
    _run(loss_checks.CHECKS, copy.deepcopy(loss))


def check_optimizer(optimizer: Optimizer | type[Optimizer]) -> None:
    """Check that an optimizer fulfils the contract of `optimizers.Optimizer`, above all that its state is complete.

    Parameters
    ----------
    optimizer : Optimizer or type
        A new optimizer, or its class if that can be constructed without arguments. It is copied, not changed.

    Raises
    ------
    AssertionError
        If something is wrong. The message says what, and what to look at.
    TypeError
        If `optimizer` is not an optimizer.

    Notes
    -----
    The objective is a small convex sum of squares, which implements every method of `Objective`. The checks are:

    - `step` changes the vector theta in place, returns the value before the step, and reduces it within 100 steps;
    - float32 stays float32, in theta and in the state;
    - `restore` of what `state` returned continues bit for bit, after 0, 3 and 20 steps; a copy by `copy.deepcopy` or
      `pickle` does so too (`pickle` only of classes that can be imported);
    - a value that is NaN or infinite changes neither theta nor the state;
    - a state with other names, shapes or dtypes raises ValueError;
    - a rule that is marked @elementwise gives the same bits when it is compiled, if numba is installed;
    - an optimizer with a field `lr` follows a schedule;
    - every method accepts the arguments that it is called with;
    - numbers and texts in the class are annotated, so that they are fields or, as `ClassVar`, constants.

    Examples
    --------
    >>> from feedforward.testing import check_optimizer
    >>> from optimizers import Adam, FirstOrder
    >>> check_optimizer(Adam(lr=0.01))
    >>> class Slowing(FirstOrder):
    ...     rate = 1.0  # not part of the state, because it is not declared as a scalar
    ...     def update(self, theta, grad):
    ...         theta -= self.lr * self.rate * grad
    ...         self.rate *= 0.9
    >>> check_optimizer(Slowing)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: Slowing: after 3 steps, state and restore do not continue ... declare it: rate: float = scalar(1.0)
    """
    optimizer = optimizer() if isinstance(optimizer, type) and issubclass(optimizer, Optimizer) else optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"check_optimizer takes an optimizer or its class, not {optimizer!r}")
    if optimizer.t:
        raise AssertionError(f"{type(optimizer).__name__}: it has taken {optimizer.t} steps: check a new one")
    _run(optimizer_checks.CHECKS, optimizer)


def _run(checks: Sequence[Callable[[Any], None]], subject: Any) -> None:
    """Run the checks. Every failure becomes an AssertionError of one line that names the subject's class."""
    for check in checks:
        try:
            check(subject)
        except Fault as fault:
            raise AssertionError(f"{type(subject).__name__}: {fault}") from None
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if not LIBRARIES & set(Path(frame.filename).parents)]
            frame, check_text = (own[-1], "") if own else (frames[-1], f"; the check was: {check.__doc__}")
            first_line = str(error).partition("\n")[0]
            place = f"{frame.name}, line {frame.lineno} of {Path(frame.filename).name}"
            raise AssertionError(f"{type(subject).__name__}: {type(error).__name__} in {place}: {first_line}"
                                 f"{check_text}") from error
