"""The checks that `feedforward.testing.check_optimizer` consists of."""

import copy
from dataclasses import fields
import math
import pickle
import sys
from typing import Any

import numpy as np

from feedforward.testing.cases import ConvexObjective
from feedforward.testing.faults import Fault, check_annotations, check_declarations, check_signatures, require_number
from optimizers import FirstOrder, Optimizer, Scheduled, compiled, parse_schedule
from optimizers.state import array_names, scalars

EVERYTHING = "everything that the next step depends on"


def check_methods(optimizer: Optimizer) -> None:
    """The methods accept the arguments with which they are called."""
    check_signatures(optimizer, FirstOrder if isinstance(optimizer, FirstOrder) else Optimizer)


def check_steps(optimizer: Optimizer) -> None:
    """Steps change theta in place, return the value before the step, and reduce it."""
    objective, tested = ConvexObjective(), copy.deepcopy(optimizer)
    theta, theta_before = objective.theta, objective.theta.copy()
    start = objective.value()
    for step in range(1, 101):
        before = objective.value()
        returned = require_number("step", tested.step(objective))
        if objective.theta is not theta:
            raise Fault("step replaced objective.theta: write into it, such as objective.theta[:] = ... or -= ...")
        if not math.isclose(returned, before, rel_tol=1e-9):
            after = ", but the value after it" if math.isclose(returned, objective.value(), rel_tol=1e-9) else ""
            raise Fault(f"step {step} returned {returned:g}, not the value before the step, {before:g}{after}")
        if not tested.t and not np.array_equal(theta, theta_before):
            raise Fault("t is still 0 after a step: count the steps, such as self.t += 1")
        if not math.isfinite(objective.value()):
            break
    if not objective.value() < start:
        advice = ("theta has not changed: write into it, not into a new array"
                  if np.array_equal(theta, theta_before) else "look at the sign of the step and at its default length")
        raise Fault(f"after {step} steps on a convex function the value is {objective.value():g}, and was {start:g} "
                    f"before: {advice}")


def check_float32(optimizer: Optimizer) -> None:
    """float32 stays float32, in theta and in the state."""
    objective, tested = ConvexObjective("float32"), copy.deepcopy(optimizer)
    for _ in range(3):
        tested.step(objective)
        values = {"theta": objective.theta}
        for owner in (tested, getattr(tested, "optimizer", tested)):  # `state` refuses arrays of another dtype
            names = {*array_names(owner), *scalars(owner)} & set(vars(owner))
            values |= {name: vars(owner)[name] for name in sorted(names)}
        for name, value in values.items():
            if isinstance(value, (np.ndarray, np.generic)) and value.dtype != np.float32:
                raise Fault(f"{name} is {value.dtype} after steps on a float32 vector: write into arrays in place, and "
                            "use Python numbers, not np.float64 (math.sqrt, not np.sqrt)")


def check_continuation(optimizer: Optimizer) -> None:
    """A new optimizer with the restored state, and copies, continue bit for bit."""
    for count in (0, 3, 20):
        objective, original = ConvexObjective(), copy.deepcopy(optimizer)
        for _ in range(count):
            original.step(objective)
        state = copy.deepcopy(original.state())
        objectives = [ConvexObjective(theta=objective.theta.copy()) for _ in range(3)]
        restored = copy.deepcopy(optimizer)
        restored.restore(state, objectives[0].theta)
        copies = {"state and restore do": restored, "a copy by copy.deepcopy does": copy.deepcopy(original)}
        if _can_be_imported(type(original)) and _can_be_imported(type(getattr(original, "optimizer", original))):
            copies["a copy by pickle does"] = pickle.loads(pickle.dumps(original))
        changed = {how: _changed(original, other) for how, other in copies.items()}
        for _ in range(20):
            original.step(objective)
        for (how, other), continued in zip(copies.items(), objectives):
            try:
                for _ in range(20):
                    other.step(continued)
                if np.array_equal(continued.theta, objective.theta):
                    continue
            except Exception:  # such as an AttributeError: the first step makes an array that is not in the state
                if not changed[how]:
                    raise
            advice = (_declarations(optimizer, original, changed[how]) if other is restored else
                      f"keep {' and '.join(changed[how]) or EVERYTHING} in copies")
            raise Fault(f"after {count} steps, {how} not continue as the optimizer itself does: {advice}")


def _declarations(new: Optimizer, used: Optimizer, names: list[str]) -> str:
    """Return how to declare these attributes, which steps change, as parts of the state."""
    declarations = []
    for name in names:
        value = getattr(used, name, None)
        if isinstance(value, np.ndarray) and value.shape == used.scratch.shape:
            declarations.append(f"{name}: np.ndarray = vector()")
        elif isinstance(value, np.ndarray):
            declarations.append(f"{name}: np.ndarray = array(lambda optimizer, P: {value.shape})")
        elif isinstance(value, (int, float)) and name not in new.description():
            declarations.append(f"{name}: {type(value).__name__} = scalar({getattr(new, name, 0 * value)})")
    listed = " and ".join(names) or EVERYTHING
    if not names or len(declarations) < len(names):
        return f"declare {listed} as a scalar or a vector"
    verb, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return f"{listed} {verb} not part of the state: declare {them}: {'; '.join(declarations)}"


def _can_be_imported(kind: type) -> bool:
    """Return whether pickle can find this class by its name."""
    return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind


def _changed(original: Optimizer, other: Optimizer) -> list[str]:
    """Return the attributes that differ. Those declared with `unset` count only if no other differs."""
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
    for value in (math.nan, math.inf):
        objective, tested = ConvexObjective(), copy.deepcopy(optimizer)
        tested.step(objective)
        before = copy.deepcopy({"theta": objective.theta, **tested.state()})
        returned = tested.step(ConvexObjective(theta=objective.theta, fixed_value=value))
        after = {"theta": objective.theta, **tested.state()}
        changed = [name for name in before if not np.array_equal(before[name], after[name], equal_nan=True)]
        if changed:
            raise Fault(f"a step at a value of {value} changed {' and '.join(changed)}: return the value, and change "
                        "nothing")
        if math.isfinite(returned):
            raise Fault(f"a step at a value of {value} returned {returned:g}: return the value, so that training stops")


def check_foreign_states(optimizer: Optimizer) -> None:
    """A state with other names, shapes or dtypes raises ValueError."""
    objective, tested = ConvexObjective(), copy.deepcopy(optimizer)
    tested.step(objective)
    state = copy.deepcopy(tested.state())
    foreign: dict[str, dict[str, Any]] = {"other names": {"t": 3, "nonsense": objective.theta}}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            foreign[f"{name} of another shape"] = {**state, name: value[:-1]}
            foreign[f"{name} of another dtype"] = {**state, name: value.astype(np.float32)}
    for what, values in foreign.items():
        try:
            copy.deepcopy(optimizer).restore(values, objective.theta)
        except ValueError:
            continue
        raise Fault(f"restore accepts a state with {what}: raise ValueError, as Optimizer.restore does")


def check_compiled(optimizer: Optimizer) -> None:
    """A rule that is marked @elementwise gives the same bits when it is applied in parts, compiled if possible."""
    if not isinstance(optimizer, FirstOrder) or not compiled.is_elementwise(optimizer):
        return
    results = []
    for in_parts in (True, False):
        objective, tested = ConvexObjective("float32", n=100), copy.deepcopy(optimizer)
        tested.start(objective.theta)
        for _ in range(5):
            grad = objective.value_and_gradient()[1]
            tested.t += 1
            if not in_parts:
                tested.clip_and_update(objective.theta, grad)
                continue
            try:
                rule = compiled.rule(tested, objective.theta)
            except TypeError as error:
                raise Fault(str(error)) from None
            for part in (slice(70, 100), slice(0, 70)):
                rule(part, grad[part])
        results.append({"theta": objective.theta, **tested.state()})
    changed = [name for name in results[0] if not np.array_equal(results[0][name], results[1][name], equal_nan=True)]
    if changed:
        raise Fault(f"update is marked @elementwise, but in parts it gives a different {' and '.join(changed)}: it "
                    "must not read what an earlier step left in grad or scratch; otherwise remove the mark")


def check_schedule(optimizer: Optimizer) -> None:
    """An optimizer with lr follows a schedule."""
    if not hasattr(optimizer, "lr") or isinstance(optimizer, Scheduled):
        return
    ends = []
    for factor in (1.0, 0.5):
        scheduled = Scheduled(copy.deepcopy(optimizer), parse_schedule(f"exponential:{factor}", 10))
        objective = ConvexObjective()
        for _ in range(5):
            scheduled.step(objective)
        ends.append(objective.theta)
    if np.array_equal(ends[0], ends[1]):
        raise Fault("inside Scheduled, its steps do not follow the schedule: use self.lr as it is in each step")
    check_continuation(Scheduled(copy.deepcopy(optimizer), parse_schedule("exponential:0.9", 10)))


CHECKS = (check_declarations, check_methods, check_steps, check_float32, check_continuation, check_not_finite,
          check_foreign_states, check_compiled, check_schedule, check_annotations)
