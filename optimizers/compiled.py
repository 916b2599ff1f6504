"""Rules compiled to one loop if numba is installed, so that each number is read and written once in a step.

The rule is traced: it is run on objects that record the operations instead of doing them. The recorded operations are
compiled once. Scalars, such as lr and the bias corrections, change from step to step and are arguments of the loop.
Only operations that are correctly rounded are allowed, so that the loop and NumPy give the same bits.
"""

from collections.abc import Callable
from functools import cache
import importlib.util
from typing import Any, TypeVar
import warnings

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Method = TypeVar("Method", bound=Callable[..., None])
Operation = tuple[str, str, tuple[str, ...]]  # the names of the function, of its result and of its operands

MIN_SIZE = 1 << 17  # with fewer parameters, a loop saves less time than its compilation takes
ALLOWED = {"add", "subtract", "multiply", "divide", "sqrt", "square", "absolute", "negative", "positive", "maximum",
         "minimum", "sign"}


def elementwise(method: Method) -> Method:
    """Mark an `update` that may be compiled to one loop, as a decorator.

    Parameters
    ----------
    method : function
        An `update` or `decay_weights`. It must do nothing but elementwise arithmetic, in place, on theta, grad, scratch
        and the vectors that are declared with `vector`, with Python numbers as scalars. The next step must not read the
        last values of grad and scratch.

    Returns
    -------
    function
        The same function.

    Notes
    -----
    The loop is compiled if numba is installed (the extra ``fast``) and theta has at least `MIN_SIZE` components of
    float32 or float64. It gives the same bits as NumPy. If the function does anything else, the first step that would
    be compiled raises a TypeError that names it.

    Examples
    --------
    >>> from optimizers import FirstOrder, elementwise
    >>> class Halving(FirstOrder):
    ...     @elementwise
    ...     def update(self, theta, grad):
    ...         theta -= self.lr * 0.5**self.t * grad
    """
    vars(method)["elementwise"] = True
    return method


class Trace:
    """The operations of a rule in order, and the scalars in them."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.scalars: list[float] = []
        self.temporaries = 0

    def add(self, function: str, operands: tuple[Any, ...], out: "TracedVector | None") -> "TracedVector":
        if function not in ALLOWED:
            raise TypeError(f"{function} is not one of {', '.join(sorted(ALLOWED))}")
        names = tuple(self._name(operand) for operand in operands)
        if out is None:
            out = TracedVector(f"temporary{self.temporaries}", self)
            self.temporaries += 1
        self.operations.append((function, self._name(out), names))
        return out

    def _name(self, operand: Any) -> str:
        if isinstance(operand, TracedVector) and operand.trace is self:
            return operand.name
        if type(operand) not in (int, float):  # NumPy scalars may promote; other arrays are not traced
            raise TypeError(f"{type(operand).__name__} is neither a vector of this step nor a Python number")
        self.scalars.append(operand)
        return f"scalar{len(self.scalars) - 1}"


class TracedVector(NDArrayOperatorsMixin):
    """A substitute for a vector that records ufuncs, operators and copyto; any other use raises an error."""

    def __init__(self, name: str, trace: Trace) -> None:
        self.name, self.trace = name, trace

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (None,), **options: Any) -> Any:
        if method != "__call__" or options or len(out) != 1 or not isinstance(out[0], (TracedVector, type(None))):
            return NotImplemented
        return self.trace.add(ufunc.__name__, inputs, out[0])

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is not np.copyto or options or not isinstance(args[0], TracedVector):
            return NotImplemented
        self.trace.add("positive", args[1:], args[0])
        return None


@cache
def available() -> bool:
    """Return whether numba can be imported.

    Returns
    -------
    bool
        False without the extra ``fast``. If numba is installed but cannot be imported, there is a warning.
    """
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        import numba  # noqa: F401
    except ImportError as error:  # for example with a newer NumPy than it supports
        warnings.warn(f"rules are not compiled: numba is installed, but cannot be imported: {error}", stacklevel=2)
        return False
    return True


def is_used(optimizer: Any, theta: np.ndarray) -> bool:
    """Return whether the rule of an optimizer is compiled.

    Parameters
    ----------
    optimizer : FirstOrder
        The optimizer.
    theta : ndarray of shape (P,)
        The vector that its steps change.

    Returns
    -------
    bool
        True if numba is available and the rule is marked with `elementwise`.
    """
    kind = type(optimizer)
    return (theta.dtype in (np.float32, np.float64)
            and all(getattr(method, "elementwise", False) for method in (kind.update, kind.decay_weights))
            and available())


@cache
def compile_loop(operations: tuple[Operation, ...], vectors: tuple[str, ...], outputs: tuple[str, ...], scalars: int,
             ) -> Callable[..., None]:
    """Compile the loop that applies the operations to each element of the vectors.

    Parameters
    ----------
    operations : tuple
        The operations of a `Trace`.
    vectors : tuple of str
        The names of the vectors.
    outputs : tuple of str
        The names of the vectors to which results are written.
    scalars : int
        The number of scalars.

    Returns
    -------
    callable
        The loop: its arguments are the vectors and then the scalars.
    """
    import numba

    arguments = [*(f"{name}_" for name in vectors), *(f"scalar{i}" for i in range(scalars))]
    written = {out for _, out, _ in operations}
    lines = [*(f"{name} = {name}_[i]" for name in vectors),
             *(f"{out} = np.{function}({', '.join(operands)})" for function, out, operands in operations),
             *(f"{name}_[i] = {name}" for name in outputs if name in written)]
    source = "\n        ".join([f"def loop({', '.join(arguments)}):\n    for i in range(theta_.size):", *lines])
    namespace: dict[str, Any] = {"np": np}
    exec(source, namespace)
    # "numpy": a division by zero gives infinity; an exception would prevent vector instructions
    loop: Callable[..., None] = numba.njit(nogil=True, error_model="numpy")(namespace["loop"])
    return loop


def run(optimizer: Any, theta: np.ndarray, grad: np.ndarray) -> None:
    """Do what optimizer.decay_and_update(theta, grad) does, in one loop.

    Parameters
    ----------
    optimizer : FirstOrder
        The optimizer.
    theta, grad : ndarray of shape (P,)
        The vector to change, and the gradient at this vector.

    Raises
    ------
    TypeError
        If the rule is not elementwise; the message says why.
    """
    declared = [name for name, shape in optimizer.arrays(theta.size).items() if shape == theta.shape]
    vectors = {name: getattr(optimizer, name) for name in (*declared, "scratch")}
    trace, attributes = Trace(), vars(optimizer)
    try:
        attributes.update({name: TracedVector(f"self_{name}", trace) for name in vectors})
        optimizer.decay_and_update(TracedVector("theta", trace), TracedVector("grad", trace))
        for name in vectors:
            if getattr(attributes[name], "name", "") != f"self_{name}":
                raise TypeError(f"it replaces the array {name} instead of writing into it")
    except (TypeError, AttributeError) as error:
        raise TypeError(f"{type(optimizer).__name__}.update is marked @elementwise, but cannot be compiled: {error}; "
                        "remove the mark") from error
    finally:
        attributes.update(vectors)
    loop = compile_loop(tuple(trace.operations), ("theta", "grad", *(f"self_{name}" for name in vectors)),
                        ("theta", *(f"self_{name}" for name in declared)), len(trace.scalars))
    loop(theta, grad, *vectors.values(), *map(theta.dtype.type, trace.scalars))
