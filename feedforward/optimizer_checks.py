"""The checks that `feedforward.testing.check_optimizer` consists of."""

import copy
from dataclasses import fields
import math
import pickle
import sys
from typing import Any

import numpy as np

from feedforward.derivatives import Fault
from optimizers import FirstOrder, Objective, Optimizer, Scheduled, compiled, parse_schedule


class Bowl(Objective):
    """The mean over n examples of r^2 / 2, r = sqrt(a) (d + d^3 / 10), d = theta - 1: an example for each element.

    `given` takes the place of the value.
    """

    def __init__(self, dtype: Any = float, theta: np.ndarray | None = None, given: float | None = None,
                 n: int = 6) -> None:
        self.theta = np.linspace(-1, 2.5, n).astype(dtype) if theta is None else theta
        self.examples, self.given = self.theta.size, given
        self.weights = np.linspace(1, 3, self.examples) / self.examples

    @np.errstate(over="ignore", invalid="ignore")
    def _derivatives(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """r and its first and second derivatives, in float64."""
        d, root = self.theta.astype(float) - 1, np.sqrt(self.weights)
        return root * (d + d**3 / 10), root * (1 + 0.3 * d**2), root * 0.6 * d

    def _like_theta(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self.theta.dtype)

    @np.errstate(over="ignore", invalid="ignore")
    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        r, slopes, _ = self._derivatives()
        return float(r @ r) / 2 if self.given is None else self.given, self._like_theta(slopes * r)

    def hessian_product(self, v: np.ndarray) -> np.ndarray:
        r, slopes, curvatures = self._derivatives()
        return self._like_theta((slopes**2 + curvatures * r) * v)

    def gauss_newton_product(self, v: np.ndarray) -> np.ndarray:
        return self._like_theta(self._derivatives()[1] ** 2 * v)

    def residuals(self) -> np.ndarray:
        return self._like_theta(self._derivatives()[0])

    def jacobian(self) -> np.ndarray:
        return self._like_theta(np.diag(self._derivatives()[1]))

    def subsample(self, rows: Any) -> Objective:
        part = Bowl(theta=self.theta)
        part.weights = np.zeros(self.examples)
        part.weights[rows] = self.weights[rows] * self.examples / self.weights[rows].size
        return part


def check_steps(optimizer: Optimizer) -> None:
    """Steps change theta in place, return the value before, and reduce it."""
    bowl, taking = Bowl(), copy.deepcopy(optimizer)
    theta, first = bowl.theta, bowl.theta.copy()
    start = bowl.value()
    for step in range(1, 101):
        before = bowl.value()
        returned = taking.step(bowl)
        if bowl.theta is not theta:
            raise Fault("step replaced objective.theta: write into it, such as objective.theta[:] = ... or -= ...")
        if not math.isclose(returned, before, rel_tol=1e-9):
            after = ", but the value after it" if math.isclose(returned, bowl.value(), rel_tol=1e-9) else ""
            raise Fault(f"step {step} returned {returned:g}, not the value before the step, {before:g}{after}")
        if not taking.t and not np.array_equal(theta, first):
            raise Fault("t is still 0 after a step: count the steps, such as self.t += 1")
        if not math.isfinite(bowl.value()):
            break
    if not bowl.value() < start:
        advice = ("theta has not changed: write into it, not into a new array" if np.array_equal(theta, first) else
                  "look at the sign of the step and at its default length")
        raise Fault(f"after {step} steps on a bowl the value is {bowl.value():g}, and was {start:g} before: {advice}")


def check_float32(optimizer: Optimizer) -> None:
    """float32 stays float32, in theta and in the state."""
    bowl, taking = Bowl("float32"), copy.deepcopy(optimizer)
    for _ in range(3):
        taking.step(bowl)
    for name, value in {"theta": bowl.theta, **taking.state()}.items():
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype != np.float32:
            raise Fault(f"{name} is {value.dtype} after steps on a float32 vector: write into arrays in place, and use "
                        "Python numbers, not np.float64 (math.sqrt, not np.sqrt)")


def check_continuation(optimizer: Optimizer) -> None:
    """What state returned, restored, and copies continue bit for bit."""
    for count in (0, 3, 20):
        bowl, original = Bowl(), copy.deepcopy(optimizer)
        for _ in range(count):
            original.step(bowl)
        state, bowls = copy.deepcopy(original.state()), [Bowl(theta=bowl.theta.copy()) for _ in range(3)]
        restored = copy.deepcopy(optimizer)
        restored.restore(state, bowls[0].theta)
        copies = {"state and restore do": restored, "a copy by copy.deepcopy does": copy.deepcopy(original)}
        if _can_be_imported(type(original)) and _can_be_imported(type(getattr(original, "optimizer", original))):
            copies["a copy by pickle does"] = pickle.loads(pickle.dumps(original))
        changed = {how: _changed(original, other) for how, other in copies.items()}
        for _ in range(20):
            original.step(bowl)
        for (how, other), continued in zip(copies.items(), bowls):
            for _ in range(20):
                other.step(continued)
            if not np.array_equal(continued.theta, bowl.theta):
                names = " and ".join(changed[how]) or "everything that the next step depends on"
                advice = f"declare {names} as a scalar or a vector" if other is restored else f"keep {names} in copies"
                raise Fault(f"after {count} steps, {how} not continue as the optimizer itself does: {advice}")


def _can_be_imported(kind: type) -> bool:
    """Whether pickle can find this class by its name."""
    return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind


def _changed(original: Optimizer, other: Optimizer) -> list[str]:
    """The attributes that differ; those declared with unset, which are no state, only if there are no others."""
    def differ(name: str) -> bool:
        one: Any = vars(original).get(name)
        two: Any = vars(other).get(name)
        try:
            return not np.array_equal(one, two)
        except (TypeError, ValueError):
            return one is not two

    names = [name for name in vars(original) if differ(name)]
    no_state = {spec.name for spec in fields(original) if not spec.init} - set(original.state())
    return [name for name in names if name not in no_state] or [name for name in names if not name.startswith("_")
                                                                and name not in ("message", "scratch")]


def check_not_finite(optimizer: Optimizer) -> None:
    """A value that is NaN or infinite changes neither theta nor the state."""
    for given in (math.nan, math.inf):
        bowl, taking = Bowl(), copy.deepcopy(optimizer)
        taking.step(bowl)
        before = copy.deepcopy({"theta": bowl.theta, **taking.state()})
        returned = taking.step(Bowl(theta=bowl.theta, given=given))
        after = {"theta": bowl.theta, **taking.state()}
        changed = [name for name in before if not np.array_equal(before[name], after[name], equal_nan=True)]
        if changed:
            raise Fault(f"a step at a value of {given} changed {' and '.join(changed)}: return the value, and change "
                        "nothing")
        if math.isfinite(returned):
            raise Fault(f"a step at a value of {given} returned {returned:g}: return the value, so that training stops")


def check_foreign_states(optimizer: Optimizer) -> None:
    """A state with other names, shapes or dtypes raises ValueError."""
    bowl, taking = Bowl(), copy.deepcopy(optimizer)
    taking.step(bowl)
    state = copy.deepcopy(taking.state())
    foreign: dict[str, dict[str, Any]] = {"other names": {"t": 3, "nonsense": bowl.theta}}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            foreign[f"{name} of another shape"] = {**state, name: value[:-1]}
            foreign[f"{name} of another dtype"] = {**state, name: value.astype(np.float32)}
    for what, values in foreign.items():
        try:
            copy.deepcopy(optimizer).restore(values, bowl.theta)
        except ValueError:
            continue
        raise Fault(f"restore accepts a state with {what}: raise ValueError, as Optimizer.restore does")


def check_compiled(optimizer: Optimizer) -> None:
    """A rule that is marked @elementwise gives the same bits when it is compiled."""
    marked = (getattr(type(optimizer), name, None) for name in ("update", "decay_weights"))
    if not isinstance(optimizer, FirstOrder) or not all(getattr(method, "elementwise", False) for method in marked):
        return
    if not compiled.available():
        return
    results = []
    for is_compiled in (True, False):
        bowl, taking = Bowl("float32", n=100), copy.deepcopy(optimizer)
        taking.start(bowl.theta)
        for _ in range(5):
            grad = bowl.value_and_gradient()[1]
            taking.t += 1
            taking.clip(grad)
            if not is_compiled:
                taking.decay_and_update(bowl.theta, grad)
                continue
            try:
                compiled.run(taking, bowl.theta, grad)
            except TypeError as error:
                raise Fault(str(error)) from None
        results.append({"theta": bowl.theta, **taking.state()})
    changed = [name for name in results[0] if not np.array_equal(results[0][name], results[1][name], equal_nan=True)]
    if changed:
        raise Fault(f"update is marked @elementwise, but compiled it gives another {' and '.join(changed)}: it must "
                    "not read what an earlier step left in grad or scratch; otherwise remove the mark")


def check_schedule(optimizer: Optimizer) -> None:
    """An optimizer with lr follows a schedule."""
    if not hasattr(optimizer, "lr") or isinstance(optimizer, Scheduled):
        return
    ends = []
    for factor in (1.0, 0.5):
        scheduled = Scheduled(copy.deepcopy(optimizer), parse_schedule(f"exponential:{factor}", 10))
        bowl = Bowl()
        for _ in range(5):
            scheduled.step(bowl)
        ends.append(bowl.theta)
    if np.array_equal(ends[0], ends[1]):
        raise Fault("inside Scheduled, its steps do not follow the schedule: use self.lr as it is in each step")
    check_continuation(Scheduled(copy.deepcopy(optimizer), parse_schedule("exponential:0.9", 10)))


CHECKS = (check_steps, check_float32, check_continuation, check_not_finite, check_foreign_states, check_compiled,
          check_schedule)
