"""A rule as one loop, where numba is there to compile it: each number is then read and written once in a step.

The rule is run on stand-ins for its vectors, which note what is done to them instead of doing it. What they noted is
compiled, once for each sequence of operations; the scalars between them, such as lr and the bias corrections, are the
loop's arguments, for they change from step to step. Only operations are known that are rounded exactly, so that the
loop gives what NumPy gives, to the bit.
"""

from collections.abc import Callable
from functools import cache
import importlib.util
from typing import Any, TypeVar
import warnings

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

Array = NDArray[Any]
Method = TypeVar("Method", bound=Callable[..., None])
Operation = tuple[str, str, tuple[str, ...]]  # what it is, where its result goes, and what it is of, by name

SMALLEST = 1 << 17  # numbers in a vector, below which a loop saves too little to be worth compiling
KNOWN = {"add", "subtract", "multiply", "divide", "sqrt", "square", "absolute", "negative", "positive", "maximum",
         "minimum", "sign"}


def elementwise(method: Method) -> Method:
    """Marks an `update` that may become a loop: it does nothing but arithmetic, element by element, on theta, grad,
    scratch and the vectors that its optimizer declares, and leaves nothing in them for later but in the declared ones.
    """
    method.elementwise = True  # type: ignore[attr-defined]
    return method


class Notes:
    """What a rule did, in order, and the scalars that it did it with."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.scalars: list[float] = []
        self.temporaries = 0

    def add(self, what: str, operands: tuple[Any, ...], out: "StandIn | None") -> "StandIn":
        if what not in KNOWN:
            raise TypeError(f"{what} is none of {', '.join(sorted(KNOWN))}")
        names = tuple(self._name(operand) for operand in operands)
        if out is None:
            out = StandIn(f"temporary{self.temporaries}", self)
            self.temporaries += 1
        self.operations.append((what, self._name(out), names))
        return out

    def _name(self, operand: Any) -> str:
        if isinstance(operand, StandIn) and operand.notes is self:
            return operand.name
        if type(operand) not in (int, float):  # NumPy's own scalars may promote, and other arrays have no place here
            raise TypeError(f"{type(operand).__name__} is neither a vector of this step nor a number of Python's")
        self.scalars.append(operand)
        return f"scalar{len(self.scalars) - 1}"


class StandIn(NDArrayOperatorsMixin):
    """Stands for a vector: notes ufuncs, operators and copyto; anything else that is asked of it is an error."""

    def __init__(self, name: str, notes: Notes) -> None:
        self.name, self.notes = name, notes

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (None,), **options: Any) -> Any:
        if method != "__call__" or options or len(out) != 1 or not isinstance(out[0], (StandIn, type(None))):
            return NotImplemented
        return self.notes.add(ufunc.__name__, inputs, out[0])

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function is not np.copyto or options or not isinstance(args[0], StandIn):
            return NotImplemented
        self.notes.add("positive", args[1:], args[0])
        return None


@cache
def available() -> bool:
    """Whether numba is there: the extra `fast`."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        import numba  # noqa: F401
    except ImportError as error:  # as it is with a NumPy newer than it knows
        warnings.warn(f"rules are not compiled: numba is installed, but cannot be imported: {error}", stacklevel=2)
        return False
    return True


def fits(optimizer: Any, theta: Array) -> bool:
    """Whether the rule of this optimizer becomes a loop for a vector like theta."""
    kind = type(optimizer)
    return (theta.size >= SMALLEST and theta.dtype in (np.float32, np.float64)
            and all(getattr(method, "elementwise", False) for method in (kind.update, kind.decay_weights))
            and available())


@cache
def compiled(operations: tuple[Operation, ...], vectors: tuple[str, ...], kept: tuple[str, ...], scalars: int,
             ) -> Callable[..., None]:
    """The loop that does the operations to each element of the vectors, and writes those back that are `kept`."""
    import numba

    arguments = [*(f"{name}_" for name in vectors), *(f"scalar{i}" for i in range(scalars))]
    written = {out for _, out, _ in operations}
    lines = [*(f"{name} = {name}_[i]" for name in vectors),
             *(f"{out} = np.{what}({', '.join(of)})" for what, out, of in operations),
             *(f"{name}_[i] = {name}" for name in kept if name in written)]
    source = "\n        ".join([f"def loop({', '.join(arguments)}):\n    for i in range(theta_.size):", *lines])
    namespace: dict[str, Any] = {"np": np}
    exec(source, namespace)
    # "numpy": a division by zero is infinity and no exception, which would keep the loop from using vector registers
    loop: Callable[..., None] = numba.njit(nogil=True, error_model="numpy")(namespace["loop"])
    return loop


def run(optimizer: Any, theta: Array, grad: Array) -> None:
    """Do what optimizer.move(theta, grad) does, in one loop. Raises TypeError where its rule is no such rule."""
    declared = [name for name, shape in optimizer.arrays(theta.size).items() if shape == theta.shape]
    vectors = {name: getattr(optimizer, name) for name in (*declared, "scratch")}
    notes, attributes = Notes(), vars(optimizer)
    try:
        attributes.update({name: StandIn(f"self_{name}", notes) for name in vectors})
        optimizer.move(StandIn("theta", notes), StandIn("grad", notes))
        for name in vectors:
            if getattr(attributes[name], "name", "") != f"self_{name}":
                raise TypeError(f"it puts another array in the place of {name}, instead of writing into it")
    except (TypeError, AttributeError) as error:
        raise TypeError(f"{type(optimizer).__name__}.update is marked @elementwise, but cannot be a loop: {error}; "
                        "take the mark away") from error
    finally:
        attributes.update(vectors)
    loop = compiled(tuple(notes.operations), ("theta", "grad", *(f"self_{name}" for name in vectors)),
                    ("theta", *(f"self_{name}" for name in declared)), len(notes.scalars))
    loop(theta, grad, *vectors.values(), *map(theta.dtype.type, notes.scalars))
