"""Layers that change the units of numbers: Standardize for the inputs, Rescale for the outputs, Flatten for images."""

from collections.abc import Callable
import math
from typing import Any, ClassVar, Self
import warnings

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from nn.archive import printable
from nn.arrays import Shapes
from nn.fields import Count, unset
from nn.frames import column_keys, frame_to_array
from nn.layers import Diagonal, parameter
from nn.network import chunks
from nn.rows import block_ends

MAX_AXES = 32  # of an example
COARSE = 0.01  # a rounding error of the numbers, as a share of their scale, that is warned of


def _mean(rows: np.ndarray, share: np.ndarray, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the weighted mean of f of all rows, in float64, without a copy of all rows."""
    total = np.zeros(rows.shape[1])
    for part in chunks(len(rows)):
        total += share[part] @ f(rows[part].astype(np.float64))
    return total


class _Scaling(Diagonal):
    """Base of the layers with a mean and a scale for each number, which are constants of the model."""

    n_in: Count
    mean: np.ndarray = parameter()
    scale: np.ndarray = parameter()
    _initial: tuple[np.ndarray, np.ndarray] | None = unset(default=None)
    _of_rows: ClassVar[int]  # whether it is for x or for y of rows: 0 or 1

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Return the layer with the mean and the standard deviation of each column.

        Parameters
        ----------
        values : array_like of shape (N, n_in), or (N,) for one column
            The numbers, without NaN. A column of equal numbers gets the scale 1.
        weights : array_like of shape (N,), optional
            By how much each row counts; all the same by default.

        Returns
        -------
        Layer
            A new layer.

        Raises
        ------
        ValueError
            If they are not rows of finite numbers.
        """
        keys = column_keys(values)
        rows = np.asarray(values) if keys is None else frame_to_array(values, keys)
        if rows.ndim == 1:
            rows = rows[:, np.newaxis]
        if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "buif":
            raise ValueError(f"{cls.__name__}.of takes numbers of shape (N, n_in), not {rows.dtype} of shape "
                             f"{rows.shape}")
        share = np.full(len(rows), 1 / len(rows)) if weights is None else np.asarray(weights, float)
        if share.shape != (len(rows),) or not (np.isfinite(share).all() and (share >= 0).all() and share.any()):
            raise ValueError(f"{cls.__name__}.of: weights must be finite numbers of at least 0, one for each row, not "
                             "all zero")
        share = share / share.sum()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _mean(rows, share, lambda part: part)
            variance = _mean(rows, share, lambda part: np.square(part - mean))
        return cls._from_moments("of", mean, variance)

    @classmethod
    def of_rows(cls, rows: Any) -> Self:
        """Return the layer with the mean and the standard deviation of each column of rows that do not fit into memory.

        Parameters
        ----------
        rows : object
            As for `Model.fit_rows`. They are read once, block by block: x for Standardize, y for Rescale.

        Returns
        -------
        Layer
            A new layer, which differs from that of `of` only by rounding.

        Raises
        ------
        ValueError
            If they are not rows of finite numbers.

        Notes
        -----
        The mean and the sum of squared deviations of each block are joined with those of the blocks before, in float64,
        by the update of Chan et al. (1983), which has no difference of large sums.

        References
        ----------
        Chan, T. F., Golub, G. H., & LeVeque, R. J. (1983). Algorithms for computing the sample variance: analysis and
        recommendations. The American Statistician 37(3), 242-247.
        """
        start, mean, squares = 0, np.zeros(1), np.zeros(1)
        for end in block_ends(rows).tolist():
            block = np.asarray(rows.read(start, end)[cls._of_rows])
            if block.dtype.kind not in "buif" or not block.size:
                raise ValueError(f"{cls.__name__}.of_rows takes numbers, not {block.dtype} of shape {block.shape}")
            block = block.reshape(len(block), -1).astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                of_block = block.mean(axis=0)
                difference = of_block - mean
                squares = squares + np.square(block - of_block).sum(axis=0)
                squares += np.square(difference) * (start * len(block) / end)
                mean = mean + difference * (len(block) / end)
            if not np.isfinite(squares).all():
                rows_of, columns = np.nonzero(~np.isfinite(block))
                what = (f"row {start + rows_of[0]:,} holds NaN or infinity in column {columns[0]:,}" if len(columns)
                        else f"rows {start:,} to {end - 1:,} hold numbers that are too large")
                raise ValueError(f"{cls.__name__}.of_rows: {what}, both numbered from 0: remove such rows")
            start = end
        return cls._from_moments("of_rows", mean, squares / start)

    @classmethod
    def _from_moments(cls, method: str, mean: np.ndarray, variance: np.ndarray) -> Self:
        if not np.isfinite(variance).all():
            raise ValueError(f"{cls.__name__}.{method}: the numbers hold NaN or infinity, or are too large")
        scale = np.sqrt(variance)
        scale[scale <= 1e-12 * np.abs(mean)] = 1  # the numbers are equal, up to rounding
        layer = cls(len(mean))
        layer._initial = mean, scale
        return layer

    def initial_scale(self) -> tuple[float, ...]:
        """Return the scale with which a model begins, such as the standard deviations that `of` has computed.

        Returns
        -------
        tuple of float
            The scale of each number, as `MeanSquaredError` takes its units.
        """
        return tuple((np.ones(self.n_in) if self._initial is None else self._initial[1]).tolist())

    def constants(self) -> Shapes:
        return {"mean": (self.n_in,), "scale": (self.n_in,)}

    @property
    def input_width(self) -> int:
        return self.n_in

    def output_width(self, n_in: int | None) -> int:
        if n_in not in (None, self.n_in):
            raise ValueError(f"expects {self.n_in} inputs but gets {n_in}: write {type(self).__name__}({n_in})")
        return self.n_in

    def initialize(self, rng: Generator) -> None:
        mean, scale = (np.zeros(self.n_in), np.ones(self.n_in)) if self._initial is None else self._initial
        dtype = self.scale.dtype
        limits = np.finfo(dtype)
        wrong = np.flatnonzero(~((limits.tiny < scale) & (scale < limits.max) & (np.abs(mean) < limits.max)))
        if len(wrong):
            raise ValueError(f"{type(self).__name__}: column {wrong[0]} has mean {mean[wrong[0]]:.3g} and scale "
                             f"{scale[wrong[0]]:.3g}, which {dtype} cannot hold: use float64, or other units")
        lost = np.flatnonzero(np.abs(mean) * limits.eps > COARSE * scale)
        if len(lost):
            warnings.warn(f"{type(self).__name__}: column {lost[0]} has mean {mean[lost[0]]:.6g} and scale "
                          f"{scale[lost[0]]:.3g}, between which {dtype} is coarse: use dtype float64, or subtract "
                          f"{mean[lost[0]]:.6g}", stacklevel=4)
        self.mean, self.scale = mean, scale


class Standardize(_Scaling):
    """Standardize each input: y = (x - mean) / scale.

    Parameters
    ----------
    n_in : int
        The number of inputs, at least 1.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_in,)
        In a model, views into its constants; at first 0 and 1. They are saved with the model, so that it takes
        numbers in the units of the data.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model, Standardize
    >>> x = [[1.0, 100.0], [3.0, 500.0]]
    >>> model = Model([Standardize.of(x), Dense(2, 1)], MeanSquaredError())
    >>> model.layers[0].mean, model.layers[0].scale
    (array([  2., 300.], dtype=float32), array([  1., 200.], dtype=float32))
    >>> model.layers[0].forward(model.check_data(x, [0, 0])[0])
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    _of_rows = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """y = (x - mean) / scale."""
        y = self.buffers("y", x.shape)
        np.subtract(x, self.mean, out=y)
        y /= self.scale
        return y

    def multiply(self, rows: np.ndarray, name: str) -> np.ndarray:
        out = self.buffers(name, rows.shape)
        np.divide(rows, self.scale, out=out)
        return out


class Rescale(_Scaling):
    """Give outputs the units of the targets: y = x scale + mean, the inverse of `Standardize`.

    Parameters
    ----------
    n_in : int
        The number of inputs and outputs, at least 1.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_in,)
        In a model, views into its constants; at first 0 and 1. They are saved with the model.

    Notes
    -----
    Give the loss the same units, ``MeanSquaredError(units=...)``: then gradients are those of a network that is
    trained on standardized targets, and the loss of a prediction by the mean is 1.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model, Rescale
    >>> prices = [[100_000.0], [300_000.0]]
    >>> rescale = Rescale.of(prices)
    >>> model = Model([Dense(1, 1, init="zeros"), rescale], MeanSquaredError(units=rescale.initial_scale()))
    >>> model.predict([[1.0]])
    array([[200000.]], dtype=float32)
    >>> model.evaluate([[0.0], [0.0]], prices)["loss"]
    1.0
    """

    _of_rows = 1

    def forward(self, x: np.ndarray) -> np.ndarray:
        """y = x scale + mean."""
        y = self.multiply(x, "y")
        y += self.mean
        return y

    def multiply(self, rows: np.ndarray, name: str) -> np.ndarray:
        out = self.buffers(name, rows.shape)
        np.multiply(rows, self.scale, out=out)
        return out


class Flatten(Diagonal):
    """Say that examples are arrays of several axes, such as images; each becomes a row. It is the first layer.

    Parameters
    ----------
    shape : tuple of int, optional
        The shape of an example, such as (28, 28). By default any shape is accepted.

    Notes
    -----
    A model accepts such arrays without this layer too, but `fit` then warns that it flattens them.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import CrossEntropy, Dense, Flatten, Model, Softmax
    >>> model = Model([Flatten(), Dense(64, 10), Softmax()], CrossEntropy())
    >>> model.predict(np.zeros((5, 8, 8))).shape
    (5, 10)
    """

    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.shape
        if not isinstance(given, (tuple, list)) or len(given) > MAX_AXES or not all(
                isinstance(n, (int, np.integer)) and n >= 1 for n in given):
            raise ValueError(f"Flatten: shape must be a tuple of at most {MAX_AXES} whole numbers of at least 1, such "
                             f"as (28, 28), not {printable(repr(given), 100)}")
        vars(self)["shape"] = tuple(int(n) for n in given)

    @property
    def input_width(self) -> int | None:
        return math.prod(self.shape) if self.shape else None

    def output_width(self, n_in: int | None) -> int | None:
        if self.shape and n_in not in (None, self.input_width):
            raise ValueError(f"holds {self.input_width} numbers but gets {n_in}: put it first")
        return self.input_width or n_in

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x

    def multiply(self, rows: np.ndarray, name: str) -> np.ndarray:
        return rows
