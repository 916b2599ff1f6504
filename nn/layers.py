"""Layer, the base of all layers; Dense and Dropout.

Index letters: n examples, i inputs, o outputs. Rows are examples: x is (n, i), y and dy are (n, o), W is (i, o).

Curvature is computed by the R-operator of Pearlmutter (1994): each line of forward and backward is differentiated in
one direction v of the parameters. The prefix t marks such a tangent: ty is the tangent of y, tdy the tangent of dy. vW
is the part of v that belongs to W.
"""

from abc import ABC, abstractmethod
from dataclasses import field
from functools import cached_property
from typing import Any, ClassVar, Literal, dataclass_transform

import numpy as np
from numpy.random import Generator

from nn.arrays import Buffers, Shapes, views, write_into
from nn.fields import Count, Declared, Fraction, lookup, unset
from nn.initializers import INITIALIZERS


def parameter(*, init: Literal[False] = False) -> Any:
    """Declare an attribute of a layer that `Layer.bind` sets: a parameter, its gradient or a tangent.

    Parameters
    ----------
    init : False
        It tells type checkers that the attribute is not an argument of the constructor.

    Returns
    -------
    dataclasses.Field
        The field; it is neither an argument of the constructor nor saved as a field.

    Notes
    -----
    If `Layer.shapes` names a parameter ``W``, the layer gets the attributes ``W``, ``dW`` (its gradient), ``vW`` (its
    direction) and ``HW`` (its part of a Hessian product). They also exist without a declaration, which is for type
    checkers and readers.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Layer, parameter
    >>> class Scale(Layer):
    ...     width: int
    ...     a: np.ndarray = parameter()
    ...     def shapes(self):
    ...         return {"a": (self.width,)}
    """
    return field(init=init, repr=False)


@dataclass_transform(eq_default=False, field_specifiers=(parameter, unset, field))
class Layer(Declared, ABC):
    """Base of all layers: a function of a batch that computes its own derivatives.

    The annotated attributes of a subclass are its fields: arguments of its constructor, checked against their types,
    and saved. A layer with parameters can be used after a model has bound it to a parameter vector.

    Attributes
    ----------
    buffers : Buffers
        ``buffers(name, shape)`` returns an array of the model's dtype that is reused from call to call.
    independent_rows : bool
        A class attribute: whether each row of y depends only on the same row of x, so that parts of a batch can run on
        several threads, each with a copy of this layer. False by default.

    Notes
    -----
    A subclass defines `forward` and `backward`, and `jvp` and `backward_jvp` for second-order optimizers. If it has
    parameters, it also defines `shapes` and `initialize`, `example_gradients` for the Jacobian of residuals, and
    `parameter_rows`, `backward_input` and `backward_parameters` for training on several threads. If it has arrays that
    are not trained, it defines `constants`. If it changes the width, it defines `input_width` and `output_width`. If it
    draws random numbers, it defines `resample`, `select_rows` and `random`. For a function of each element, derive from
    `Elementwise` instead.

    Arrays that a layer returns are its buffers: they are valid until the same method is called again.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import CrossEntropy, Dense, Layer, Model, Softmax
    >>> class Double(Layer):
    ...     def forward(self, x):
    ...         return np.multiply(x, 2, out=self.buffers("y", x.shape))
    ...     def backward(self, dy, needs_dx=True):
    ...         return np.multiply(dy, 2, out=self.buffers("dx", dy.shape))
    ...     def jvp(self, tx):
    ...         return np.multiply(tx, 2, out=self.buffers("ty", tx.shape))
    ...     def backward_jvp(self, tdy, needs_dx=True, second_order=True):
    ...         return np.multiply(tdy, 2, out=self.buffers("tdx", tdy.shape))
    >>> Model([Dense(4, 3), Double(), Softmax()], CrossEntropy())
    Model(4-3, CrossEntropy, float32, 15 parameters)
    """

    _views: frozenset[str] = unset(default=frozenset())  # the arrays that are views into vectors of a model

    independent_rows: ClassVar[bool] = False

    @cached_property
    def buffers(self) -> Buffers:
        """Arrays that are reused from call to call; float64 until `bind` is called."""
        return Buffers(float)

    def shapes(self) -> Shapes:
        """Return the shapes of the parameters.

        Returns
        -------
        dict
            The shape of each parameter by its name, in their order in theta; empty if there are none.
        """
        return {}

    def constants(self) -> Shapes:
        """Return the shapes of the arrays that are saved with the model but not trained.

        Returns
        -------
        dict
            The shape of each array by its name; empty if there are none.
        """
        return {}

    @property
    def input_width(self) -> int | None:
        """The number of inputs; None if the layer accepts any number."""
        return None

    def output_width(self, n_in: int | None) -> int | None:
        """Return the number of outputs for `n_in` inputs.

        Parameters
        ----------
        n_in : int or None
            The number of inputs; None if no layer before this one has a fixed width.

        Returns
        -------
        int or None
            The number of outputs, by default `n_in`; None if it is not known.

        Raises
        ------
        ValueError
            If the layer cannot take `n_in` inputs; the message continues the sentence "layer 2 (Dense(...)) ...".
        """
        return n_in

    @property
    def parameter_rows(self) -> int | None:
        """The number of equal parts in which `backward_parameters` can compute the gradient; None if it cannot."""
        return None

    @cached_property
    def splits_backward(self) -> bool:
        """Whether `backward_input` and `backward_parameters` together do what `backward` does.

        They do if the class defines `parameter_rows`, unless a subclass has changed `forward`, `backward` or `shapes`
        alone.
        """
        defined = {name: next(number for number, kind in enumerate(type(self).__mro__) if name in vars(kind))
                   for name in ("forward", "backward", "shapes", "backward_input", "backward_parameters")}
        splits = max(defined.pop("backward_input"), defined.pop("backward_parameters"))
        return self.parameter_rows is not None and splits <= min(defined.values())

    @property
    def bound(self) -> bool:
        """Whether the arrays of the layer are those of a model."""
        return bool(self._views)

    def bind(self, theta: np.ndarray, grad: np.ndarray) -> None:
        """Use these vectors, and new buffers of their dtype, from now on.

        Parameters
        ----------
        theta : ndarray of shape (p,)
            This layer's part of the parameter vector, p the number of its parameters.
        grad : ndarray of shape (p,)
            This layer's part of the gradient.
        """
        attributes = vars(self)  # not __setattr__, which would write into the old views
        attributes["buffers"] = Buffers(theta.dtype)
        attributes.update(views(theta, self.shapes()))
        attributes.update({"d" + name: view for name, view in views(grad, self.shapes()).items()})
        attributes["_views"] = frozenset(self.shapes())

    def bind_constants(self, vector: np.ndarray) -> None:
        """Use this vector for the arrays that are not trained. `bind` is called before.

        Parameters
        ----------
        vector : ndarray of shape (c,)
            This layer's part of the model's constants, c the size of its `constants`.
        """
        vars(self).update(views(vector, self.constants()))
        vars(self)["_views"] = self._views | frozenset(self.constants())

    def bind_tangents(self, v: np.ndarray, Hv: np.ndarray) -> None:
        """Read directions from, and write products to, these vectors from now on.

        Parameters
        ----------
        v : ndarray of shape (p,)
            This layer's part of the direction.
        Hv : ndarray of shape (p,)
            This layer's part of the Hessian product.
        """
        for prefix, vector in (("v", v), ("H", Hv)):
            for name, view in views(vector, self.shapes()).items():
                setattr(self, prefix + name, view)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._views:
            object.__setattr__(self, name, value)
        elif vars(self)[name] is not value:  # a parameter stays a view into theta
            write_into(name, vars(self)[name], value)

    def initialize(self, rng: Generator) -> None:
        """Draw the first values of the parameters, and set those of the constants.

        Parameters
        ----------
        rng : numpy.random.Generator
            The source of random numbers.
        """

    def resample(self, rng: Generator | None) -> None:
        """Draw new random numbers at the next `forward`, and keep them until the next call of this method.

        Parameters
        ----------
        rng : numpy.random.Generator or None
            The source of random numbers; if it is None, none are drawn, as in predictions.
        """

    def select_rows(self, rows: np.ndarray) -> None:
        """Keep only the random numbers of some rows of the batch.

        Parameters
        ----------
        rows : ndarray of int, shape (m,)
            The indices of the rows.
        """

    @property
    def random(self) -> bool:
        """Whether the same batch may give different outputs."""
        return False

    @abstractmethod
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute the outputs.

        Parameters
        ----------
        x : ndarray of shape (n, i)
            The inputs.

        Returns
        -------
        ndarray of shape (n, o)
            The outputs y, in a buffer.
        """

    @abstractmethod
    def backward(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        """Compute the gradients at the x of the last `forward`, and write dL/dparameters over the old values.

        Parameters
        ----------
        dy : ndarray of shape (n, o)
            dL/dy. It must not change before a following `backward_jvp`.
        needs_dx : bool
            Whether dL/dx is needed. It is not needed for the first layer with parameters.

        Returns
        -------
        ndarray of shape (n, i) or None
            dL/dx, in a buffer; None if it is not needed.
        """

    def backward_input(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        """Do what `backward` does, except for the gradients of the parameters.

        Parameters
        ----------
        dy : ndarray of shape (n, o)
            dL/dy. It must not change before a following `backward_jvp`.
        needs_dx : bool
            Whether dL/dx is needed.

        Returns
        -------
        ndarray of shape (n, i) or None
            dL/dx, in a buffer; None if it is not needed.
        """
        return self.backward(dy, needs_dx)

    def backward_parameters(self, x: np.ndarray, dy: np.ndarray, rows: slice) -> None:
        """Write some of dL/dparameters over the old values.

        It may use only its arguments: other objects may have computed `forward` and `backward_input` for the rows of
        the batch, and the parameters may already have changed.

        Parameters
        ----------
        x : ndarray of shape (n, i)
            The inputs of a batch.
        dy : ndarray of shape (n, o)
            dL/dy of the same batch.
        rows : slice
            Which of the `parameter_rows` equal parts of the gradient to write.
        """
        raise NotImplementedError

    @abstractmethod
    def jvp(self, tx: np.ndarray | None) -> np.ndarray:
        """Compute the tangent of `forward` at the last x.

        Parameters
        ----------
        tx : ndarray of shape (n, i) or None
            The tangent of x; None if x is constant, which only the first layer with parameters may get.

        Returns
        -------
        ndarray of shape (n, o)
            The tangent ty, for tx and this layer's part of v; in a buffer.
        """

    @abstractmethod
    def backward_jvp(self, tdy: np.ndarray, needs_dx: bool = True, second_order: bool = True) -> np.ndarray | None:
        """Compute the tangent of the last `backward`, in the direction of the last `jvp` and of tdy.

        The tangent of dL/dparameters is written to the layer's part of Hv.

        Parameters
        ----------
        tdy : ndarray of shape (n, o)
            The tangent of dy.
        needs_dx : bool
            Whether the tangent of dx is needed.
        second_order : bool
            If False, the layer is treated as linear around this point: the result is J^T tdy, where J is the layer's
            Jacobian, and `backward` and `jvp` need not be called before.

        Returns
        -------
        ndarray of shape (n, i) or None
            The tangent of dx, in a buffer; None if it is not needed.
        """

    def example_gradients(self, dy: np.ndarray, out: np.ndarray) -> None:
        """Write dL/dparameters of each example separately; `backward` gives their sum.

        Parameters
        ----------
        dy : ndarray of shape (n, o)
            dL/dy.
        out : ndarray of shape (n, p)
            The array to fill, a row for each example.
        """


class Dense(Layer):
    """Fully connected layer: y = x W + b.

    Parameters
    ----------
    n_in : int
        The number of inputs, at least 1.
    n_out : int
        The number of outputs, at least 1.
    init : str
        How to draw W: a name in `INITIALIZERS`. b starts at zero.
    trainable : bool
        Whether W and b are trained. If not, they are constants of the model: no part of its theta.

    Attributes
    ----------
    W, b : ndarray of shape (n_in, n_out), ndarray of shape (n_out,)
        In a model, views into its theta, or into its constants. Assigning to them copies into that vector.
    dW, db : ndarray
        Views into the model's gradient, of the same shapes.

    Raises
    ------
    ValueError
        If a number is out of bounds, or the initializer is unknown.

    Notes
    -----
    torch stores the transpose of W, (n_out, n_in); Keras stores W as here. torch draws W and b from
    U(-1/sqrt(n_in), 1/sqrt(n_in)); Keras draws W by ``glorot_uniform``, here ``"glorot"``, and sets b to zero.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model
    >>> model = Model([Dense(3, 2, init="glorot")], MeanSquaredError())
    >>> model.layers[0].W.shape, model.layers[0].b.shape
    ((3, 2), (2,))

    Train a new last layer on the features of another model:

    >>> from nn import ReLU
    >>> other = Model([Dense(3, 2, trainable=False), ReLU(), Dense(2, 1)], MeanSquaredError())
    >>> other.layers[0].W, other.layers[0].b = model.layers[0].W, model.layers[0].b
    >>> other.theta.shape
    (3,)
    """

    advice = {"activation": "write the activation as the next layer, such as Dense(784, 50), ReLU()",
              "units": "write n_in and n_out, such as Dense(784, 50)"}
    independent_rows = True
    n_in: Count
    n_out: Count
    init: str = "he"
    trainable: bool = True
    W: np.ndarray = parameter()
    b: np.ndarray = parameter()
    dW: np.ndarray = parameter()
    db: np.ndarray = parameter()
    vW: np.ndarray = parameter()
    vb: np.ndarray = parameter()
    HW: np.ndarray = parameter()
    Hb: np.ndarray = parameter()

    def __post_init__(self) -> None:
        lookup("initializer", self.init, INITIALIZERS)

    def _field_changed(self) -> None:
        trained = "dW" in vars(self)  # only a layer that is trained was bound to a gradient
        if self.bound and self.trainable != trained:
            vars(self)["trainable"] = trained
            raise ValueError(f"Dense: trainable is {trained} as long as the layer is in its model: make a new model, "
                             f"with Dense({self.n_in}, {self.n_out}, trainable={not trained}), and copy W and b")

    def __repr__(self) -> str:
        note = "" if self.trainable else ", trainable=False"
        return f"{type(self).__name__}(n_in={self.n_in}, n_out={self.n_out}, init={self.init!r}{note})"

    def shapes(self) -> Shapes:
        return self._arrays() if self.trainable else {}

    def constants(self) -> Shapes:
        return {} if self.trainable else self._arrays()

    def _arrays(self) -> Shapes:
        return {"W": (self.n_in, self.n_out), "b": (self.n_out,)}

    @property
    def input_width(self) -> int:
        return self.n_in

    def output_width(self, n_in: int | None) -> int:
        if n_in not in (None, self.n_in):
            raise ValueError(f"expects {self.n_in} inputs but gets {n_in}: write Dense({n_in}, {self.n_out})")
        return self.n_out

    def initialize(self, rng: Generator) -> None:
        self.W[:] = INITIALIZERS[self.init](rng, self.n_in, self.n_out)
        self.b[:] = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """y = x W + b."""
        self.x = x
        y = self.buffers("y", (len(x), self.n_out))
        np.matmul(x, self.W, out=y)
        y += self.b
        return y

    def backward(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        if self.trainable:
            self.backward_parameters(self.x, dy, slice(self.n_in + 1))
        return self.backward_input(dy, needs_dx)

    def backward_input(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        """dx = dy W^T."""
        self.dy = dy
        if not needs_dx:
            return None
        dx = self.buffers("dx", self.x.shape)
        np.matmul(dy, self.W.T, out=dx)
        return dx

    @property
    def parameter_rows(self) -> int | None:
        """The rows of W, and b as one more."""
        return self.n_in + 1 if self.trainable else None

    def backward_parameters(self, x: np.ndarray, dy: np.ndarray, rows: slice) -> None:
        """dW = x^T dy, db = sum_n dy."""
        np.matmul(x[:, rows].T, dy, out=self.dW[rows])
        if rows.stop > self.n_in:
            self._sum(dy, self.db)

    def _sum(self, dy: np.ndarray, out: np.ndarray) -> None:
        """Write the sum over the examples to `out`, by a matrix product, which is faster than np.sum."""
        ones = self.buffers("ones", dy.shape[:1])
        ones.fill(1)
        np.matmul(ones, dy, out=out)

    def jvp(self, tx: np.ndarray | None) -> np.ndarray:
        """ty = tx W + x vW + vb."""
        self.tx = tx
        ty = self.buffers("ty", (len(self.x), self.n_out))
        if not self.trainable:
            assert tx is not None  # it is not the first layer that is trained
            return np.matmul(tx, self.W, out=ty)
        np.matmul(self.x, self.vW, out=ty)
        ty += self.vb
        if tx is not None:
            ty += np.matmul(tx, self.W, out=self.buffers("txW", ty.shape))
        return ty

    def backward_jvp(self, tdy: np.ndarray, needs_dx: bool = True, second_order: bool = True) -> np.ndarray | None:
        """HW = x^T tdy + tx^T dy, Hb = sum_n tdy, tdx = tdy W^T + dy vW^T; the second terms are of second order."""
        if self.trainable:
            np.matmul(self.x.T, tdy, out=self.HW)
            self._sum(tdy, self.Hb)
            if second_order and self.tx is not None:
                self.HW += np.matmul(self.tx.T, self.dy, out=self.buffers("txdy", self.W.shape))
        if not needs_dx:
            return None
        tdx = self.buffers("tdx", self.x.shape)
        np.matmul(tdy, self.W.T, out=tdx)
        if second_order and self.trainable:
            tdx += np.matmul(self.dy, self.vW.T, out=self.buffers("dyvW", tdx.shape))
        return tdx

    def example_gradients(self, dy: np.ndarray, out: np.ndarray) -> None:
        if not self.trainable:
            return
        weights = out[:, : -self.n_out].reshape(len(dy), self.n_in, self.n_out)  # a view
        np.multiply(self.x[:, :, np.newaxis], dy[:, np.newaxis, :], out=weights)
        np.copyto(out[:, -self.n_out :], dy)


class Diagonal(Layer):
    """Base of the layers that multiply each input by a number that does not depend on it, and may add another.

    Their Jacobian is diagonal: `backward`, `jvp` and `backward_jvp` are the same multiplication. A subclass defines
    `forward` and `multiply`.
    """

    independent_rows = True

    @abstractmethod
    def multiply(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Multiply each element by its number.

        Parameters
        ----------
        rows : ndarray of shape (n, i)
            The rows.
        name : str
            The name of the buffer for the result.

        Returns
        -------
        ndarray of shape (n, i)
            The products, in the buffer; or the rows themselves, if all numbers are 1.
        """

    def backward(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        return self.multiply(dy, "dx") if needs_dx else None

    def jvp(self, tx: np.ndarray | None) -> np.ndarray:
        assert tx is not None  # it has no parameters
        return self.multiply(tx, "ty")

    def backward_jvp(self, tdy: np.ndarray, needs_dx: bool = True, second_order: bool = True) -> np.ndarray | None:
        return self.multiply(tdy, "tdx") if needs_dx else None


class Dropout(Diagonal):
    """Set inputs to zero at random during training, and scale up the others.

    Parameters
    ----------
    rate : float
        The probability that an input is set to zero, at least 0 and below 1. 0 switches the layer off.

    Notes
    -----
    ``y = x mask / (1 - rate)``, where each element of the mask is 0 with probability `rate`, else 1. The division
    keeps the expected value of y at x, so that predictions, in which nothing is set to zero, need no scaling. This is
    the inverted form, as in torch and Keras; the paper scales the weights after training instead.

    The mask stays the same until the next `resample`, so that an objective is one function: second-order methods and
    line searches evaluate it several times.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), *Dropout: a simple way to prevent neural networks
    from overfitting*.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Dropout
    >>> layer, x = Dropout(rate=0.5), np.ones((1, 4))
    >>> layer.resample(np.random.default_rng(1))
    >>> layer.forward(x)
    array([[2., 2., 0., 2.]])
    >>> layer.resample(None)
    >>> layer.forward(x)
    array([[1., 1., 1., 1.]])
    """

    rate: Fraction = 0.5
    _rng: Generator | None = unset(default=None)
    _mask: np.ndarray | None = unset(default=None)

    def resample(self, rng: Generator | None) -> None:
        self._rng, self._mask = rng, None

    def select_rows(self, rows: np.ndarray) -> None:
        if self._mask is not None:
            self._mask = self._mask[rows]

    @property
    def random(self) -> bool:
        return self.rate > 0

    def _draw(self, rng: Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return a mask, already divided by 1 - rate, in a buffer."""
        mask = self.buffers("mask", shape, np.empty(0, self.buffers.dtype).real.dtype)
        rng.random(out=mask, dtype=mask.dtype.type)
        mask += 1 - self.rate
        np.floor(mask, out=mask)  # 1 if the uniform number was at least the rate
        mask *= 1 / (1 - self.rate)
        return mask

    def forward(self, x: np.ndarray) -> np.ndarray:
        """y = x mask / (1 - rate)."""
        if self._rng is None or self.rate == 0:
            return x
        if self._mask is None or self._mask.shape != x.shape:
            self._mask = self._draw(self._rng, x.shape)
        return self.multiply(x, "y")

    def multiply(self, rows: np.ndarray, name: str) -> np.ndarray:
        if self._mask is None:
            return rows
        out = self.buffers(name, rows.shape)
        np.multiply(rows, self._mask, out=out)
        return out
