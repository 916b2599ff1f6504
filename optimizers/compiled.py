"""Rules as one loop over the vectors, which can be applied to parts of them, on several threads.

The rule is traced: it is run on objects that record the operations instead of doing them. If numba is installed, the
recorded operations are compiled once to a loop, so that each number is read and written once in a step; otherwise NumPy
does them. Scalars, such as lr and the bias corrections, change from step to step and are arguments of the loop. Only
operations that are correctly rounded are allowed, so that both give the same bits as the rule itself.
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
SCALAR = "scalar"  # the name of an operand that is the next scalar

MIN_SIZE = 1 << 17  # with fewer parameters, a loop saves less time than its compilation takes
ALLOWED = {"add", "subtract", "multiply", "divide", "sqrt", "square", "absolute", "negative", "positive", "maximum",
         "minimum", "sign"}


def elementwise(method: Method) -> Method:
    """Mark an `update` that may be applied in parts, and compiled to one loop, as a decorator.

    Parameters
    ----------
    method : function
        An `update`, `decay_weights` or `clip`. It must do nothing but elementwise arithmetic, in place, on theta, grad,
        scratch and the vectors that are declared with `vector`, with Python numbers as scalars. The next step must not
        read the last values of grad and scratch.

    Returns
    -------
    function
        The same function.

    Notes
    -----
    If theta has at least `MIN_SIZE` components of float32 or float64, the function is applied in parts, perhaps on
    several threads. It is compiled if numba is installed (the extra ``fast``). The result has the same bits, except
    that maximum, minimum and sign may give zeros another sign. If the
    function does anything else, the first step that would be done in parts raises a TypeError that names it.

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
        names = []
        for operand in operands:
            if type(operand) is TracedVector and operand.trace is self:
                names.append(operand.name)
            elif type(operand) in (float, int):  # NumPy scalars may promote
                self.scalars.append(operand)
                names.append(SCALAR)
            else:
                raise TypeError(f"{type(operand).__name__} is neither a vector of this step nor a Python number")
        if out is None:
            out = TracedVector(f"temporary{self.temporaries}", self)
            self.temporaries += 1
        self.operations.append((function, out.name, tuple(names)))
        return out


class TracedVector(NDArrayOperatorsMixin):
    """A substitute for a vector that records ufuncs, operators and copyto; any other use raises an error."""

    def __init__(self, name: str, trace: Trace) -> None:
        self.name, self.trace = name, trace

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (None,), **options: Any) -> Any:
        if method != "__call__" or options or len(out) != 1 or type(out[0]) not in (TracedVector, type(None)):
            return NotImplemented
        return self.trace.add(ufunc.__name__, inputs, out[0])

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is not np.copyto or options or not isinstance(args[0], TracedVector):
            return NotImplemented
        self.trace.add("positive", args[1:], args[0])
        return None

    # the operators that rules use most, without the way through NumPy: a rule is traced in each step

    def __iadd__(self, other: Any) -> "TracedVector":
        return self.trace.add("add", (self, other), self)

    def __isub__(self, other: Any) -> "TracedVector":
        return self.trace.add("subtract", (self, other), self)

    def __imul__(self, other: Any) -> "TracedVector":
        return self.trace.add("multiply", (self, other), self)


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


def is_elementwise(optimizer: Any) -> bool:
    """Return whether the rule of an optimizer is marked with `elementwise`, and needs no norm of the gradient."""
    methods = (type(optimizer).clip, type(optimizer).decay_weights, type(optimizer).update)
    return optimizer.clip_norm is None and all(getattr(method, "elementwise", False) for method in methods)


def can_divide(optimizer: Any, theta: np.ndarray) -> bool:
    """Return whether the rule of an optimizer can be applied to theta in parts, by `rule`.

    Parameters
    ----------
    optimizer : FirstOrder
        The optimizer.
    theta : ndarray of shape (P,)
        The vector that its steps change.

    Returns
    -------
    bool
        True if the rule is elementwise, for theta of float32 or float64.
    """
    return theta.dtype in (np.float32, np.float64) and is_elementwise(optimizer)


def _number(operations: tuple[Operation, ...]) -> tuple[list[Operation], list[str]]:
    """Return the operations with numbered scalars, and the names of these."""
    scalars: list[str] = []
    numbered = []
    for function, out, operands in operations:
        names = []
        for name in operands:
            if name == SCALAR:
                name = f"scalar{len(scalars)}"
                scalars.append(name)
            names.append(name)
        numbered.append((function, out, tuple(names)))
    return numbered, scalars


@cache
def compiled_loop(operations: tuple[Operation, ...], vectors: tuple[str, ...]) -> Callable[..., None]:
    """Compile the loop that applies the operations to each element of the vectors.

    Parameters
    ----------
    operations : tuple
        The operations of a `Trace`.
    vectors : tuple of str
        The names of the vectors. Results are written to them, except to the gradient and the scratch vector.

    Returns
    -------
    callable
        The loop: its arguments are the vectors and then the scalars.
    """
    import numba

    numbered, scalars = _number(operations)
    outputs = {out for _, out, _ in numbered}.intersection(vectors) - {"grad", "self_scratch"}
    lines = [*(f"{name} = {name}_[i]" for name in vectors),
             *(f"{out} = np.{function}({', '.join(operands)})" for function, out, operands in numbered),
             *(f"{name}_[i] = {name}" for name in vectors if name in outputs)]
    arguments = ", ".join([*(f"{name}_" for name in vectors), *scalars])
    source = "\n        ".join([f"def loop({arguments}):\n    for i in range(theta_.size):", *lines])
    namespace: dict[str, Any] = {"np": np}
    exec(source, namespace)
    # "numpy": a division by zero gives infinity; an exception would prevent vector instructions
    loop: Callable[..., None] = numba.njit(nogil=True, error_model="numpy")(namespace["loop"])
    return loop


@cache
def numpy_loop(operations: tuple[Operation, ...], vectors: tuple[str, ...]) -> Callable[..., None]:
    """Return a function that does the same as `compiled_loop`, by NumPy."""
    numbered, scalars = _number(operations)
    calls = [(getattr(np, function), out, operands) for function, out, operands in numbered]

    def loop(*arguments: Any) -> None:
        values = dict(zip((*vectors, *scalars), arguments))
        for function, out, operands in calls:
            values[out] = function(*[values[name] for name in operands], out=values.get(out))

    return loop


def rule(optimizer: Any, theta: np.ndarray) -> Callable[[slice, np.ndarray], None]:
    """Return a function that does a part of what optimizer.clip_and_update(theta, grad) does.

    Parameters
    ----------
    optimizer : FirstOrder
        The optimizer. Its scalars change now, its vectors when the function is called.
    theta : ndarray of shape (P,)
        The vector to change.

    Returns
    -------
    callable
        Its arguments are a slice of theta, and the gradient with respect to theta[slice]. It may be called on several
        threads at once for different parts.

    Raises
    ------
    TypeError
        If the rule is not elementwise; the message says why.
    """
    vectors = optimizer.vectors()
    names = [f"self_{name}" for name in vectors]
    trace, attributes = Trace(), vars(optimizer)
    try:
        attributes.update(zip(vectors, [TracedVector(name, trace) for name in names]))
        optimizer.clip_and_update(TracedVector("theta", trace), TracedVector("grad", trace))
        for name in vectors:
            if getattr(attributes[name], "name", "") != f"self_{name}":
                raise TypeError(f"it replaces the array {name} instead of writing into it")
        kept = [name for name, value in attributes.items() if type(value) is TracedVector and name not in vectors]
        if kept:
            del attributes[kept[0]]
            raise TypeError(f"it keeps a vector of the step in self.{kept[0]}")
    except (TypeError, AttributeError) as error:
        raise TypeError(f"{type(optimizer).__name__}.update is marked @elementwise, but cannot be applied in parts: "
                        f"{error}; remove the mark") from error
    finally:
        attributes.update(vectors)
    make_loop = compiled_loop if available() else numpy_loop
    loop = make_loop(tuple(trace.operations), ("theta", "grad", *names))
    scalars = [theta.dtype.type(scalar) for scalar in trace.scalars]

    def apply(part: slice, gradient: np.ndarray) -> None:
        loop(theta[part], gradient, *[vector[part] for vector in vectors.values()], *scalars)

    return apply
