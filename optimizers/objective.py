"""Objective: everything that an optimizer may ask of the function that it minimizes."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np


class Objective(Protocol):
    """A function of a vector, evaluated at `theta`, which an optimizer changes in place.

    A class derived from this one must set `theta` and define `value_and_gradient`. By default, `value`, `hessian` and
    `gauss_newton` call the other methods. Any other method that is not defined raises an error that names it. Only
    second-order methods use the optional part.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The vector, float32 or float64. It must remain the same array as long as the objective exists.
    evaluations : int
        The number of points at which the value was computed; 0 if the class does not count them.
    examples : int
        The number of examples over which the value is a mean. Optional: only methods with `sample` use it.
    max_gigabytes : float
        The largest Hessian, Gauss-Newton matrix or Jacobian, in gigabytes; 1.0 by default. Optimizers set it to their
        own field `max_gigabytes` before they ask for a matrix.

    Notes
    -----
    A class that is not derived from this one is also an `Objective` if it has all its members. Its attributes must be
    attributes that may be set.

    Arrays that are returned are buffers: the next call of any method may overwrite them.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import GradientDescent, Objective
    >>> class Parabola(Objective):
    ...     def __init__(self):
    ...         self.theta = np.array([1.0, -2.0])
    ...     def value_and_gradient(self):
    ...         return float(self.theta @ self.theta) / 2, self.theta.copy()
    >>> parabola = Parabola()
    >>> GradientDescent(lr=0.5).step(parabola)
    2.5
    >>> parabola.theta
    array([ 0.5, -1. ])
    """

    theta: np.ndarray
    max_gigabytes: float = 1.0

    # properties with setters: type checkers then accept both a property and a plain attribute in other classes

    @property
    def evaluations(self) -> int:
        """The number of points at which the value was computed; 0 if the class does not count them."""
        number: int = vars(self).get("evaluations", 0)
        return number

    @evaluations.setter
    def evaluations(self, number: int) -> None:
        vars(self)["evaluations"] = number

    @property
    def examples(self) -> int:
        """The number of examples over which the value is a mean. A class that has examples sets it."""
        if "examples" not in vars(self):
            raise _lacks(self, "examples")
        number: int = vars(self)["examples"]
        return number

    @examples.setter
    def examples(self, number: int) -> None:
        vars(self)["examples"] = number

    @abstractmethod
    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        """Return the value and the gradient.

        Returns
        -------
        value : float
            The value at theta.
        gradient : ndarray of shape (P,)
            The derivatives of the value. The caller may overwrite them.
        """

    def value_and_gradient_parts(self) -> tuple[float, Callable[[Callable[[slice, np.ndarray], None]], None]]:
        """Return the value, and a function that computes the gradient in parts.

        Elementwise rules use it for large vectors: they update each part of theta as soon as its gradient is known, on
        the thread that computed it.

        Returns
        -------
        value : float
            The value at theta.
        each_part : callable
            ``each_part(use)`` calls ``use(part, gradient)`` once for each of some parts that cover theta, perhaps on
            several threads at once. `part` is a slice of theta, `gradient` holds the derivatives with respect to
            theta[part]. `use` may overwrite both. By default there is one part, from `value_and_gradient`.
        """
        value, gradient = self.value_and_gradient()
        return value, lambda use: use(slice(0, len(gradient)), gradient)

    def value(self) -> float:
        """Return the value at theta.

        Returns
        -------
        float
            The value. Define this method if the value alone costs less than the value with the gradient.
        """
        return self.value_and_gradient()[0]

    # optional: for second-order methods

    def hessian_product(self, v: np.ndarray, /) -> np.ndarray:
        """Return the product of the Hessian and a vector.

        Parameters
        ----------
        v : ndarray of shape (P,)
            The vector, of theta's dtype.

        Returns
        -------
        ndarray of shape (P,)
            H v, where H are the second derivatives of the value.

        Raises
        ------
        ValueError
            If the class does not define it.
        """
        raise _lacks(self, "hessian_product")

    def gauss_newton_product(self, v: np.ndarray, /) -> np.ndarray:
        """Return the product of the generalized Gauss-Newton matrix and a vector.

        Parameters
        ----------
        v : ndarray of shape (P,)
            The vector, of theta's dtype.

        Returns
        -------
        ndarray of shape (P,)
            J^T H_L J v, where J are the derivatives of the model's outputs, and H_L is the Hessian of the loss as a
            function of the outputs.

        Raises
        ------
        ValueError
            If the class does not define it.
        """
        raise _lacks(self, "gauss_newton_product")

    def hessian(self) -> np.ndarray:
        """Return the Hessian, by default from P products.

        Returns
        -------
        ndarray of shape (P, P)
            The second derivatives of the value.

        Raises
        ------
        ValueError
            If the class defines neither this method nor `hessian_product`, or if the matrix would be larger than
            `max_gigabytes`.
        """
        return _matrix(self, self.hessian_product, "hessian_product")

    def gauss_newton(self) -> np.ndarray:
        """Return the generalized Gauss-Newton matrix, by default from P products.

        Returns
        -------
        ndarray of shape (P, P)
            J^T H_L J, see `gauss_newton_product`.

        Raises
        ------
        ValueError
            If the class defines neither this method nor `gauss_newton_product`, or if the matrix would be larger than
            `max_gigabytes`.
        """
        return _matrix(self, self.gauss_newton_product, "gauss_newton_product")

    def residuals(self) -> np.ndarray:
        """Return the residuals of a sum of squares.

        Returns
        -------
        ndarray of shape (M,)
            r, if the value is r^T r / 2.

        Raises
        ------
        ValueError
            If the value is not a sum of squares.
        """
        raise _lacks(self, "residuals")

    def jacobian(self) -> np.ndarray:
        """Return the derivatives of the residuals.

        Returns
        -------
        ndarray of shape (M, P)
            J, with J[i, j] the derivative of r[i] with respect to theta[j].

        Raises
        ------
        ValueError
            If the value is not a sum of squares.
        """
        raise _lacks(self, "jacobian")

    def residual_count(self) -> int:
        """Return the number of residuals, by default from `residuals`.

        Returns
        -------
        int
            M. Define this method if it is known without the residuals.

        Raises
        ------
        ValueError
            If the value is not a sum of squares.
        """
        return len(self.residuals())

    def residual_triangle(self) -> np.ndarray:
        """Return the triangle of a QR factorization of the Jacobian and the residuals, by default from both.

        Returns
        -------
        ndarray of shape (min(M, P + 1), P + 1)
            R, upper triangular, float64, with R^T R = [J, r]^T [J, r]. The caller may overwrite it. Define this method
            if the rows of [J, r] are in several parts: the triangle of the triangles of the parts, one above the other,
            is that of all rows.

        Raises
        ------
        ValueError
            If the value is not a sum of squares.

        Notes
        -----
        The columns of R have the norms and inner products of those of [J, r], but the condition number is not squared.

        Examples
        --------
        >>> import numpy as np
        >>> from optimizers import Function
        >>> f = Function([1.0], residuals=lambda theta: np.array([3.0, 4.0]) * theta + [2.0, -4.0],
        ...              jacobian=lambda theta: np.array([[3.0], [4.0]]))
        >>> np.abs(f.residual_triangle().round(9))
        array([[5., 3.],
               [0., 4.]])
        """
        r = self.residuals()[:, np.newaxis].copy()  # the Jacobian may overwrite the residuals
        return np.asarray(np.linalg.qr(np.concatenate([self.jacobian(), r], axis=1, dtype=float), mode="r"))

    def subsample(self, rows: Any, /) -> "Objective":
        """Return the mean over some of the examples, as a function of the same theta.

        Parameters
        ----------
        rows : ndarray of int
            The indices of the examples, in increasing order.

        Returns
        -------
        Objective
            The mean over these examples.

        Raises
        ------
        ValueError
            If the class does not define it.
        """
        raise _lacks(self, "subsample")


MEMBERS = {"theta", *(name for name in vars(Objective) if not name.startswith("_"))}


def _lacks(objective: Objective, name: str) -> ValueError:
    return ValueError(f"this optimizer needs {name} of the objective, but {type(objective).__name__} does not define "
                      "it: define it, or choose an optimizer that does not need it")


def _matrix(objective: Objective, product: Callable[[np.ndarray], np.ndarray], name: str) -> np.ndarray:
    """Return the symmetric matrix (P, P) that has these products."""
    P = len(objective.theta)
    gigabytes = P * P * objective.theta.itemsize / 1e9
    if gigabytes > objective.max_gigabytes:
        raise ValueError(f"the matrix of {P:,} by {P:,} parameters needs {gigabytes:,.1f} GB, more than "
                         f"{objective.max_gigabytes:g} GB: use {name}(v), which needs no matrix, or raise "
                         "max_gigabytes")
    units = np.eye(P, dtype=objective.theta.dtype)
    return np.stack([product(unit).copy() for unit in units])


@contextmanager
def explain_missing_members(objective: Any) -> Iterator[None]:
    """Say what to do if an object that is not derived from `Objective` lacks a member that is needed.

    Parameters
    ----------
    objective : object
        The object that is used as an objective.

    Raises
    ------
    ValueError
        In place of the AttributeError for this member, of this object or of a subsample of its class.
    """
    try:
        yield
    except AttributeError as error:
        if error.name not in MEMBERS or type(error.obj) is not type(objective):
            raise
        kind = type(objective).__name__
        raise ValueError(f"this optimizer needs {error.name} of the objective, but {kind} does not define it: derive "
                         f"{kind} from optimizers.Objective, or define {error.name}") from error
