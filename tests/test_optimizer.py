"""Tests of all optimizers in the table: hyperparameters, state, restoring, copies, dtypes and memory."""

import copy
import inspect
import math
import pickle
import re
import tracemalloc

import numpy as np
import pytest

import optimizers
from optimizers import OPTIMIZERS, FirstOrder, Objective, get, hyperparameters
from optimizers.trust_region import TrustRegion


class Quadratic(Objective):
    """sum(a (theta - 1)^2) / 2, with its own gradient buffer."""

    def __init__(self, n=5, dtype="float64", value=None):
        self.theta = np.linspace(-1, 2, n).astype(dtype)
        self.a = np.linspace(1, 3, n).astype(dtype)
        self.grad, self.difference = np.empty_like(self.theta), np.empty_like(self.theta)
        self.fixed_value = value

    def value_and_gradient(self):
        """Allocate nothing, so that only the allocations of the optimizer are measured."""
        np.subtract(self.theta, 1, out=self.difference)
        np.multiply(self.a, self.difference, out=self.grad)
        value = float(self.grad @ self.difference) / 2 if self.fixed_value is None else self.fixed_value
        return value, self.grad

    def hessian_product(self, v):
        return self.a * v

    gauss_newton_product = hessian_product

    def residuals(self):
        return np.sqrt(self.a) * (self.theta - 1)

    def jacobian(self):
        return np.diag(np.sqrt(self.a))


def with_lr(name, lr):
    """Return the optimizer, with this lr if it has one."""
    return get(name, **{"lr": lr} if "lr" in hyperparameters(OPTIMIZERS[name]) else {})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_reduce_the_loss_in_place_and_return_the_loss_before_the_step(name):
    quadratic, optimizer = Quadratic(), get(name)
    theta, start = quadratic.theta, quadratic.value()
    assert optimizer.step(quadratic) == start
    for _ in range(100):
        optimizer.step(quadratic)
    assert quadratic.theta is theta
    assert quadratic.value() < start


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_stays_float32(name):
    doubles = {field: np.float64(value) for field, value in hyperparameters(OPTIMIZERS[name]).items()
               if isinstance(value, float)}
    quadratic, optimizer = Quadratic(dtype="float32"), get(name, **doubles)
    for _ in range(3):
        optimizer.step(quadratic)
    assert quadratic.theta.dtype == np.float32
    assert all(getattr(optimizer, array).dtype == np.float32 for array in optimizer.arrays(5))


# the Krylov space of a trust region has as many vectors as needed, at most `inner`
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if not issubclass(kind, TrustRegion)])
def test_only_the_declared_state_and_one_scratch_vector_are_allocated(name):
    """This is exact for first-order rules. The others also hold points during a search, at most ten vectors."""
    optimizer = get(name)
    n = next(n for n in (100_000, 20_000, 2_000) if sum(map(math.prod, optimizer.arrays(n).values())) < 10_000_000)
    quadratic = Quadratic(n)
    points = 0 if isinstance(optimizer, FirstOrder) else 10 * quadratic.theta.nbytes
    tracemalloc.start()
    try:
        optimizer.step(quadratic)
        allocated, peak = tracemalloc.get_traced_memory()
        allowed = (sum(map(math.prod, optimizer.arrays(n).values())) + n) * quadratic.theta.itemsize
        assert allocated < allowed + 20_000 + points
        assert peak < allowed + 20_000 + points
        tracemalloc.reset_peak()
        optimizer.step(quadratic)
        assert tracemalloc.get_traced_memory()[1] - allocated < 20_000 + points
    finally:
        tracemalloc.stop()


def check_continuation(new_objective, new_optimizer, before, after):
    """Check that an optimizer with a restored state takes the same steps bit for bit; return the objective."""
    f, optimizer = new_objective(), new_optimizer()
    for _ in range(before):
        optimizer.step(f)
    state = {key: np.copy(value) if isinstance(value, np.ndarray) else value
             for key, value in optimizer.state().items()}
    theta = f.theta.copy()
    for _ in range(after):
        optimizer.step(f)

    g, other = new_objective(), new_optimizer()
    g.theta[:] = theta
    other.restore(state, g.theta)
    for _ in range(after):
        other.step(g)
    np.testing.assert_array_equal(g.theta, f.theta)
    return f


@pytest.mark.parametrize("steps", [0, 20])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_takes_the_same_steps_bit_for_bit(name, steps):
    check_continuation(Quadratic, lambda: get(name), before=steps, after=20)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_another_optimizer_is_refused(name):
    optimizer, theta = get(name), np.zeros(5)
    with pytest.raises(ValueError, match="its state is"):
        optimizer.restore({"t": 3, "nonsense": theta}, theta)
    quadratic = Quadratic()
    optimizer.step(quadratic)
    for array in optimizer.arrays(5):
        with pytest.raises(ValueError, match=f"its {array} is float64"):
            get(name).restore({**optimizer.state(), array: np.zeros(4)}, theta)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loss_that_is_not_finite_changes_nothing(name, value):
    quadratic, optimizer = Quadratic(), get(name)
    optimizer.step(quadratic)
    theta, state = quadratic.theta.copy(), {key: np.copy(part) for key, part in optimizer.state().items()}
    broken = Quadratic(value=value)
    broken.theta = quadratic.theta
    returned = optimizer.step(broken)
    assert math.isnan(returned) == math.isnan(value)
    np.testing.assert_array_equal(broken.theta, theta)
    for key, part in optimizer.state().items():
        np.testing.assert_array_equal(part, state[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_hyperparameter_is_checked(name):
    optimizer = get(name)
    for field, default in hyperparameters(OPTIMIZERS[name]).items():
        for bad in (math.nan, math.inf, -math.inf, "0.1", [1], 1 if isinstance(default, bool) else True):
            with pytest.raises(ValueError, match=rf"{OPTIMIZERS[name].__name__}: {field} must be .*, not "):
                get(name, **{field: bad})
            with pytest.raises(ValueError, match=rf"{field} must be"):  # the same between steps
                setattr(optimizer, field, bad)
        assert getattr(optimizer, field) == default


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_exported_and_documented(name):
    kind = OPTIMIZERS[name]
    assert getattr(optimizers, kind.__name__) is kind
    assert kind.__name__ in optimizers.__all__
    assert repr(get(name)).startswith(f"{kind.__name__}(")
    for part in ("Parameters", "Notes", "References", "Examples", *hyperparameters(kind)):
        assert re.search(rf"^{part}\b", inspect.cleandoc(kind.__doc__), re.MULTILINE), part


def test_unknown_names_and_bad_values_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown optimizer 'adan': did you mean 'adam'\? choose from gd, mom"):
        get("adan")
    with pytest.raises(ValueError, match="lr must be above 0, not -1"):
        get("gd", lr=-1)
    with pytest.raises(ValueError, match="adam has no field 'learning_rate': write lr; its fields are lr, weight_dec"):
        get("adam", learning_rate=0.1)


def test_hyperparameters_may_be_set_between_steps():
    quadratic, optimizer = Quadratic(), get("gd", lr=0.1)
    optimizer.step(quadratic)
    theta, grad = quadratic.theta.copy(), quadratic.value_and_gradient()[1].copy()
    optimizer.lr = 0.025
    optimizer.step(quadratic)
    np.testing.assert_allclose(quadratic.theta, theta - 0.025 * grad, rtol=1e-15)


@pytest.mark.parametrize("wrong", ["learning_rate", "alpha"])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_a_constructor_suggests_the_field_for_an_unknown_keyword(name, wrong):
    kind = OPTIMIZERS[name]
    with pytest.raises(TypeError, match=f"{kind.__name__} has no field '{wrong}': write lr; its fields are .*lr, "):
        kind(**{wrong: 1})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_constructor_lists_its_fields_for_an_unknown_keyword(name):
    kind = OPTIMIZERS[name]
    with pytest.raises(TypeError, match=f"{kind.__name__} has no field 'xyz': its fields are "
                                        f"{', '.join(hyperparameters(kind))}$"):
        kind(xyz=1)


def test_a_constructor_suggests_the_closest_field():
    with pytest.raises(TypeError, match=r"Adam has no field 'beta_1': did you mean 'beta1'\? its fields are"):
        OPTIMIZERS["adam"](beta_1=0.9)


def test_get_suggests_the_closest_name_and_points_to_schedules():
    with pytest.raises(ValueError, match=r"unknown optimizer 'adm': did you mean 'adam'\? choose from gd, "):
        get("adm")
    message = r"Adam: lr must be a number, above 0, not 'cosine': .*Scheduled\(.*parse_schedule\('"
    with pytest.raises(ValueError, match=message):
        get("adam", lr="cosine")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_on_another_vector_are_refused_until_the_state_is_restored_on_it(name):
    quadratic, other, optimizer = Quadratic(), Quadratic(), get(name)
    optimizer.step(quadratic)
    theta, state = other.theta.copy(), copy.deepcopy(optimizer.state())
    message = (f"this {OPTIMIZERS[name].__name__} has taken 1 step on another vector: make a new one, or write "
               r"optimizer.restore\(optimizer.state\(\), model.theta\) to continue from its state")
    with pytest.raises(ValueError, match=message):
        optimizer.step(other)
    np.testing.assert_array_equal(other.theta, theta)
    np.testing.assert_equal(optimizer.state(), state)
    optimizer.restore(optimizer.state(), other.theta)
    np.testing.assert_equal(optimizer.state(), state)
    assert optimizer.step(other) > other.value()
    assert optimizer.t == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_vector_of_another_length_or_dtype_is_refused(name):
    optimizer = get(name)
    optimizer.step(Quadratic())
    for other in (Quadratic(7), Quadratic(dtype="float32")):
        with pytest.raises(ValueError, match="has taken steps on a vector of 5 float64, not of "):
            optimizer.step(other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_without_arrays_resets_the_arrays_to_zero(name):
    initial_state, optimizer = get(name).state(), get(name)
    quadratic, fresh = Quadratic(), Quadratic()
    for _ in range(3):
        optimizer.step(quadratic)
    optimizer.restore(initial_state, fresh.theta)
    assert optimizer.t == 0
    assert not any(getattr(optimizer, array).any() for array in optimizer.arrays(5))
    expected, new = Quadratic(), get(name)
    for _ in range(3):
        assert optimizer.step(fresh) == new.step(expected)
    np.testing.assert_array_equal(fresh.theta, expected.theta)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, copy.copy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_copy_may_continue_on_another_vector(name, make_copy):
    quadratic, other, optimizer = Quadratic(), Quadratic(), get(name)
    for _ in range(3):
        optimizer.step(quadratic)
    twin = make_copy(optimizer)
    other.theta[:] = quadratic.theta
    losses = twin.step(other), twin.step(other)
    assert twin.t == optimizer.t + 2
    if make_copy is not copy.copy:  # a shallow copy shares the arrays
        assert losses == (optimizer.step(quadratic), optimizer.step(quadratic))
        np.testing.assert_array_equal(other.theta, quadratic.theta)


@pytest.mark.parametrize(("changes", "array"), [({"momentum": 0.9}, "velocity"), ({"centered": True}, "mean")])
def test_arrays_that_a_changed_hyperparameter_needs_start_at_zero(changes, array):
    quadratic, optimizer = Quadratic(), get("rmsprop")
    optimizer.step(quadratic)
    assert array not in optimizer.state()
    [(field, value)] = changes.items()
    for _ in range(2):
        setattr(optimizer, field, value)
        np.testing.assert_array_equal(optimizer.state()[array], np.zeros(5))  # even before the next step
        optimizer.step(quadratic)
        assert optimizer.state()[array].any()
        setattr(optimizer, field, type(value)(0))
        optimizer.step(quadratic)
        assert set(optimizer.state()) == {"t", "v"}


def test_a_step_after_a_changed_hyperparameter_is_that_of_the_rule():
    quadratic, same = Quadratic(), Quadratic()
    changed, new = get("rmsprop"), get("rmsprop", momentum=0.9)
    changed.step(quadratic)
    new.restore({**changed.state(), "velocity": np.zeros(5)}, same.theta)
    same.theta[:] = quadratic.theta
    changed.momentum = 0.9
    for _ in range(3):
        assert changed.step(quadratic) == new.step(same)
    np.testing.assert_array_equal(quadratic.theta, same.theta)


def attributes(optimizer):
    """Return copies of all attributes of an optimizer."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in vars(optimizer).items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restore_that_fails_changes_nothing(name):
    quadratic, other, optimizer = Quadratic(), Quadratic(), get(name)
    optimizer.step(quadratic)
    before, state = attributes(optimizer), optimizer.state()
    wrong = [({**state, "nonsense": 1}, other.theta), ({}, other.theta), ({**state, "t": "three"}, other.theta),
             ({**state, "t": None}, other.theta)]
    if optimizer.arrays(5):
        wrong += [(state, np.zeros(7)), (state, np.zeros(5, "float32"))]
        wrong += [({**state, array: None}, other.theta) for array in optimizer.arrays(5)]
    for values, theta in wrong:
        with pytest.raises(ValueError, match=f"^{type(optimizer).__name__}: its "):
            optimizer.restore(values, theta)
        np.testing.assert_equal(attributes(optimizer), before)
    with pytest.raises(ValueError, match="has taken 1 step on another vector"):
        optimizer.step(other)
    optimizer.step(quadratic)


def test_a_restore_for_which_there_is_no_memory_changes_nothing():
    quadratic, optimizer = Quadratic(), get("bfgs", max_gigabytes=1e-6)
    initial_state = optimizer.state()
    optimizer.step(quadratic)
    before = attributes(optimizer)
    with pytest.raises(ValueError, match="its matrix for 50 parameters would take"):
        optimizer.restore(initial_state, np.zeros(50))
    np.testing.assert_equal(attributes(optimizer), before)
    optimizer.step(quadratic)


@pytest.mark.parametrize("other", [Quadratic(7), Quadratic(5, "float32")], ids=["size", "dtype"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_used_optimizer_is_restored_on_a_vector_of_another_size_or_dtype(name, other):
    other, optimizer, fitting = copy.deepcopy(other), get(name), get(name)
    optimizer.step(Quadratic())
    donor = copy.deepcopy(other)
    for _ in range(3):
        fitting.step(donor)
    other.theta[:] = donor.theta
    optimizer.restore(fitting.state(), other.theta)
    np.testing.assert_equal(optimizer.state(), fitting.state())
    assert not any(np.shares_memory(value, optimizer.state()[array]) for array, value in fitting.state().items()
                   if isinstance(value, np.ndarray))
    for _ in range(3):
        assert optimizer.step(other) == fitting.step(donor)
    np.testing.assert_array_equal(other.theta, donor.theta)
    with pytest.raises(ValueError, match=r"has taken steps on a vector of|on another vector"):
        optimizer.step(Quadratic())


def test_a_changed_memory_is_that_of_the_restored_state():
    quadratic, optimizer = Quadratic(), get("lbfgs")
    optimizer.step(quadratic)
    optimizer.memory = 3
    with pytest.raises(ValueError, match=r"has taken steps with S of shape \(50, 5\), not \(3, 5\)"):
        optimizer.state()
    optimizer.restore(get("lbfgs", memory=3).state(), quadratic.theta)
    assert optimizer.state()["S"].shape == (3, 5)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize(("changes", "array"), [({"momentum": 0.9}, "velocity"), ({"centered": True}, "mean")])
def test_the_state_of_a_copy_has_the_arrays_that_a_changed_hyperparameter_needs(make_copy, changes, array):
    quadratic, optimizer = Quadratic(), get("rmsprop")
    optimizer.step(quadratic)
    twin = make_copy(optimizer)
    for field, value in changes.items():
        setattr(twin, field, value)
    np.testing.assert_array_equal(twin.state()[array], np.zeros(5))
    np.testing.assert_array_equal(twin.state()["v"], optimizer.v)
    restored = get("rmsprop", **changes)
    restored.restore(twin.state(), Quadratic().theta)


@pytest.mark.parametrize("other", [Quadratic(7), Quadratic(5, "float32")], ids=["size", "dtype"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_has_taken_no_step_accepts_any_vector(name, other):
    other, expected = copy.deepcopy(other), copy.deepcopy(other)
    optimizer, new = get(name), get(name)
    optimizer.step(Quadratic(value=math.nan))
    assert optimizer.t == 0
    for _ in range(3):
        assert optimizer.step(other) == new.step(expected)
    np.testing.assert_array_equal(other.theta, expected.theta)
    np.testing.assert_equal(optimizer.state(), new.state())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_restore_takes_a_vector_and_not_an_objective(name):
    quadratic, optimizer = Quadratic(), get(name)
    message = r"restore takes the vector that steps will change, not .*Quadratic.*: write restore\(state, objective.th"
    with pytest.raises(ValueError, match=message):
        optimizer.restore(optimizer.state(), quadratic)
    with pytest.raises(ValueError, match=r"restore takes the vector that steps will change, not \[1, 2\]"):
        optimizer.restore(optimizer.state(), [1, 2])


def test_a_schedule_is_not_a_field_and_a_rate_is_a_number():
    for wrong in ("schedule", "scheduler", "lr_schedule"):
        with pytest.raises(ValueError, match=rf"adam has no field '{wrong}': write Scheduled\(get\(name\), parse_"):
            get("adam", **{wrong: "cosine"})
    with pytest.raises(ValueError, match=r"Adam: lr must be .*, not '0.1': write a number, or, for a rate that changes"
                                         r", Scheduled\(get"):
        get("adam", lr="0.1")
    with pytest.raises(TypeError, match=r"write Adam\(lr=0.01\)"):
        OPTIMIZERS["adam"](0.01)
