"""A rule as one loop, where numba is there to compile it: each number is then read and written once in a step.

The rule is run on stand-ins for its vectors, which note what is done to them instead of doing it. What they noted is
compiled, once for each sequence of operations; the scalars between them, such as lr and the bias corrections, are the
loop's arguments, for they change from step to step. It rounds as NumPy does, operation for operation: the results are
the rule's own to the bit.
"""

from collections.abc import Callable
from functools import cache
import importlib.util
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

Array = NDArray[Any]
Operation = tuple[str, str, tuple[str, ...]]  # what it is, where its result goes, and what it is of, by name

SMALLEST = 1 << 17  # numbers in a vector, below which a loop saves too little to be worth compiling
_unfit: set[type] = set()  # kinds of optimizers whose rule does more than the stand-ins can note


class Notes:
    """What a rule did, in order, and the scalars that it did it with."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.scalars: list[float] = []
        self.temporaries = 0

    def add(self, what: str, operands: tuple[Any, ...], out: "StandIn | None") -> "StandIn":
        names = tuple(self._name(operand) for operand in operands)
        if out is None:
            out = StandIn(f"temporary{self.temporaries}", self)
            self.temporaries += 1
        self.operations.append((what, out.name, names))
        return out

    def _name(self, operand: Any) -> str:
        if isinstance(operand, StandIn):
            return operand.name
        if type(operand) not in (int, float):  # NumPy's own scalars may promote, and arrays have no place in the loop
            raise TypeError(f"{type(operand).__name__} cannot be an argument of the loop")
        self.scalars.append(operand)
        return f"scalar{len(self.scalars) - 1}"


class StandIn(NDArrayOperatorsMixin):
    """Stands for a vector: notes ufuncs, operators and copyto; anything else that is asked of it is a TypeError."""

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
    """Whether numba is installed: the extra `fast`."""
    return importlib.util.find_spec("numba") is not None


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


def run(optimizer: Any, rule: Callable[[Array, Array], None], theta: Array, grad: Array) -> None:
    """Do what rule(theta, grad), a method of the optimizer, does to theta and to the optimizer's state."""
    kind = type(optimizer)
    if theta.size < SMALLEST or not available() or kind in _unfit:
        rule(theta, grad)
        return
    attributes = vars(optimizer)
    before = attributes.copy()
    vectors = {name: value for name, value in before.items() if getattr(value, "shape", None) == theta.shape}
    notes = Notes()
    try:
        attributes.update({name: StandIn(name, notes) for name in vectors})
        rule(StandIn("theta", notes), StandIn("grad", notes))  # type: ignore[arg-type]
        fits = all(attributes[name].name == name for name in vectors)  # none was replaced
    except Exception:  # whatever it was, the rule itself says it better
        fits = False
    if not fits:
        attributes.clear()
        attributes.update(before)
        _unfit.add(kind)
        rule(theta, grad)
        return
    attributes.update(vectors)
    kept = tuple(name for name in ("theta", *vectors) if name != "scratch")
    loop = compiled(tuple(notes.operations), ("theta", "grad", *vectors), kept, len(notes.scalars))
    loop(theta, grad, *vectors.values(), *map(theta.dtype.type, notes.scalars))
