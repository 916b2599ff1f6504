"""Objective: everything that an optimizer may ask of the function that it minimizes."""

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np


class Objective(Protocol):
    """A function of a vector, evaluated at `theta`, which an optimizer changes in place.

    A class derived from this one must set `theta` and define `value_and_gradient`. `value`, `hessian` and
    `gauss_newton` are then defined by the other methods, and whatever else is not defined raises an error that names
    it. Only second-order methods use the optional part.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The vector, float32 or float64. It must remain the same array as long as the objective exists.
    evaluations : int
        At how many points the value was computed; 0 if the class does not count them.

    Notes
    -----
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
    evaluations: int = 0

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

    def value(self) -> float:
        """Return the value at theta.

        Returns
        -------
        float
            The value. Define this method if the value alone costs less than the value with the gradient.
        """
        return self.value_and_gradient()[0]

    # optional: for second-order methods

    def hessian_product(self, v: np.ndarray) -> np.ndarray:
        """Return the product of the Hessian and a vector.

        Parameters
        ----------
        v : ndarray of shape (P,)
            The vector, of theta's dtype.

        Returns
        -------
        ndarray of shape (P,)
            H v, H the second derivatives of the value.

        Raises
        ------
        ValueError
            If the class does not define it.
        """
        raise self._lacks("hessian_product")

    def gauss_newton_product(self, v: np.ndarray) -> np.ndarray:
        """Return the product of the generalized Gauss-Newton matrix and a vector.

        Parameters
        ----------
        v : ndarray of shape (P,)
            The vector, of theta's dtype.

        Returns
        -------
        ndarray of shape (P,)
            J^T H_L J v, J the derivatives of the model's outputs, and H_L the Hessian of the loss as a function of the
            outputs.

        Raises
        ------
        ValueError
            If the class does not define it.
        """
        raise self._lacks("gauss_newton_product")

    def hessian(self) -> np.ndarray:
        """Return the Hessian, by default from P products.

        Returns
        -------
        ndarray of shape (P, P)
            The second derivatives of the value.

        Raises
        ------
        ValueError
            If the class defines neither this method nor `hessian_product`.
        """
        return self._rows(self.hessian_product)

    def gauss_newton(self) -> np.ndarray:
        """Return the generalized Gauss-Newton matrix, by default from P products.

        Returns
        -------
        ndarray of shape (P, P)
            J^T H_L J, see `gauss_newton_product`.

        Raises
        ------
        ValueError
            If the class defines neither this method nor `gauss_newton_product`.
        """
        return self._rows(self.gauss_newton_product)

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
        raise self._lacks("residuals")

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
        raise self._lacks("jacobian")

    @cached_property  # not a property, so that a class may set self.examples
    def examples(self) -> int:
        """The number of examples over which the value is a mean."""
        raise self._lacks("examples")

    def subsample(self, rows: Any) -> "Objective":
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
        raise self._lacks("subsample")

    def _rows(self, product: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the symmetric matrix (P, P) of these products."""
        units = np.eye(len(self.theta), dtype=self.theta.dtype)
        return np.stack([product(unit).copy() for unit in units])

    def _lacks(self, name: str) -> ValueError:
        return ValueError(f"this optimizer needs {name} of the objective, but {type(self).__name__} does not define "
                          "it: define it, or choose an optimizer that does not need it")
