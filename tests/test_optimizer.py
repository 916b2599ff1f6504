"""Tests of all optimizers in the table: hyperparameters, state, restoring, copies, dtypes and memory."""

import copy
import math
import pickle
import re
import tracemalloc

import numpy as np
import pytest

import optimizers
from optimizers import OPTIMIZERS, FirstOrder, Objective, get, hyperparameters
from optimizers.trust_region import TrustRegion


class Bowl(Objective):
    """sum(a (theta - 1)^2) / 2, with a gradient buffer of its own."""

    def __init__(self, n=5, dtype="float64", value=None):
        self.theta = np.linspace(-1, 2, n).astype(dtype)
        self.a = np.linspace(1, 3, n).astype(dtype)
        self.grad, self.difference = np.empty_like(self.theta), np.empty_like(self.theta)
        self.given = value

    def value_and_gradient(self):
        """Allocates nothing, so that only the allocations of the optimizer are measured."""
        np.subtract(self.theta, 1, out=self.difference)
        np.multiply(self.a, self.difference, out=self.grad)
        return float(self.grad @ self.difference) / 2 if self.given is None else self.given, self.grad

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
def test_the_loss_decreases_in_one_buffer_and_step_returns_the_loss_before(name):
    bowl, optimizer = Bowl(), get(name)
    theta, start = bowl.theta, bowl.value()
    assert optimizer.step(bowl) == start
    for _ in range(100):
        optimizer.step(bowl)
    assert bowl.theta is theta
    assert bowl.value() < start


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_stays_float32(name):
    doubles = {field: np.float64(value) for field, value in hyperparameters(OPTIMIZERS[name]).items()
               if isinstance(value, float)}
    bowl, optimizer = Bowl(dtype="float32"), get(name, **doubles)
    for _ in range(3):
        optimizer.step(bowl)
    assert bowl.theta.dtype == np.float32
    assert all(getattr(optimizer, array).dtype == np.float32 for array in optimizer.arrays(5))


# the Krylov space of a trust region has as many vectors as needed, at most `inner`
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if not issubclass(kind, TrustRegion)])
def test_only_the_declared_state_and_one_scratch_vector_are_allocated(name):
    """Exactly for first-order rules. The others also hold points during a search: at most ten vectors."""
    optimizer = get(name)
    n = next(n for n in (100_000, 20_000, 2_000) if sum(map(math.prod, optimizer.arrays(n).values())) < 10_000_000)
    bowl = Bowl(n)
    points = 0 if isinstance(optimizer, FirstOrder) else 10 * bowl.theta.nbytes
    tracemalloc.start()
    try:
        optimizer.step(bowl)
        held, peak = tracemalloc.get_traced_memory()
        allowed = (sum(map(math.prod, optimizer.arrays(n).values())) + n) * bowl.theta.itemsize
        assert held < allowed + 20_000 + points
        assert peak < allowed + 20_000 + points
        tracemalloc.reset_peak()
        optimizer.step(bowl)
        assert tracemalloc.get_traced_memory()[1] - held < 20_000 + points
    finally:
        tracemalloc.stop()


def check_continuation(new_objective, new_optimizer, begun, more):
    """Check that an optimizer with a restored state takes the same steps bit for bit; return the objective."""
    f, optimizer = new_objective(), new_optimizer()
    for _ in range(begun):
        optimizer.step(f)
    kept = {key: np.copy(value) if isinstance(value, np.ndarray) else value for key, value in optimizer.state().items()}
    theta = f.theta.copy()
    for _ in range(more):
        optimizer.step(f)

    g, other = new_objective(), new_optimizer()
    g.theta[:] = theta
    other.restore(kept, g.theta)
    for _ in range(more):
        other.step(g)
    np.testing.assert_array_equal(g.theta, f.theta)
    return f


@pytest.mark.parametrize("begun", [0, 20])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_takes_the_same_steps_bit_for_bit(name, begun):
    check_continuation(Bowl, lambda: get(name), begun, more=20)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_another_optimizer_is_refused(name):
    optimizer, theta = get(name), np.zeros(5)
    with pytest.raises(ValueError, match="its state is"):
        optimizer.restore({"t": 3, "nonsense": theta}, theta)
    bowl = Bowl()
    optimizer.step(bowl)
    for array in optimizer.arrays(5):
        with pytest.raises(ValueError, match=f"its {array} is float64"):
            get(name).restore({**optimizer.state(), array: np.zeros(4)}, theta)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loss_that_is_not_finite_changes_nothing(name, value):
    bowl, optimizer = Bowl(), get(name)
    optimizer.step(bowl)
    theta, state = bowl.theta.copy(), {key: np.copy(part) for key, part in optimizer.state().items()}
    broken = Bowl(value=value)
    broken.theta = bowl.theta
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
            with pytest.raises(ValueError, match=rf"{field} must be"):  # also between steps
                setattr(optimizer, field, bad)
        assert getattr(optimizer, field) == default


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_exported_and_documented(name):
    kind = OPTIMIZERS[name]
    assert getattr(optimizers, kind.__name__) is kind
    assert kind.__name__ in optimizers.__all__
    assert repr(get(name)).startswith(f"{kind.__name__}(")
    for part in ("Parameters", "Notes", "References", "Examples", *hyperparameters(kind)):
        assert re.search(rf"^    {part}\b", kind.__doc__, re.MULTILINE), part


def test_unknown_names_and_bad_values_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown optimizer 'adan': did you mean 'adam'\? choose from gd, mom"):
        get("adan")
    with pytest.raises(ValueError, match="lr must be above 0, not -1"):
        get("gd", lr=-1)
    with pytest.raises(ValueError, match="adam has no field 'learning_rate': write lr; its fields are lr, weight_dec"):
        get("adam", learning_rate=0.1)


def test_hyperparameters_may_be_set_between_steps():
    bowl, optimizer = Bowl(), get("gd", lr=0.1)
    optimizer.step(bowl)
    theta, grad = bowl.theta.copy(), bowl.value_and_gradient()[1].copy()
    optimizer.lr = 0.025
    optimizer.step(bowl)
    np.testing.assert_allclose(bowl.theta, theta - 0.025 * grad, rtol=1e-15)


@pytest.mark.parametrize("wrong", ["learning_rate", "alpha"])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_a_constructor_names_the_field_to_write_for_an_unknown_keyword(name, wrong):
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
    with pytest.raises(ValueError, match=r"Adam: lr must be above 0, not 'cosine': .*Scheduled\(.*parse_schedule\('"):
        get("adam", lr="cosine")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_on_another_vector_are_refused_until_the_state_is_restored_on_it(name):
    bowl, other, optimizer = Bowl(), Bowl(), get(name)
    optimizer.step(bowl)
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
    optimizer.step(Bowl())
    for other in (Bowl(7), Bowl(dtype="float32")):
        with pytest.raises(ValueError, match="has taken steps on a vector of 5 float64, not of "):
            optimizer.step(other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_without_arrays_resets_the_arrays_to_zero(name):
    first, optimizer = get(name).state(), get(name)
    bowl, fresh = Bowl(), Bowl()
    for _ in range(3):
        optimizer.step(bowl)
    optimizer.restore(first, fresh.theta)
    assert optimizer.t == 0
    assert not any(getattr(optimizer, array).any() for array in optimizer.arrays(5))
    expected, new = Bowl(), get(name)
    for _ in range(3):
        assert optimizer.step(fresh) == new.step(expected)
    np.testing.assert_array_equal(fresh.theta, expected.theta)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_copy_may_continue_on_another_vector(name, copied):
    bowl, other, optimizer = Bowl(), Bowl(), get(name)
    for _ in range(3):
        optimizer.step(bowl)
    twin = copied(optimizer)
    other.theta[:] = bowl.theta
    losses = twin.step(other), twin.step(other)
    assert twin.t == optimizer.t + 2
    if copied is not copy.copy:  # a shallow copy shares the arrays
        assert losses == (optimizer.step(bowl), optimizer.step(bowl))
        np.testing.assert_array_equal(other.theta, bowl.theta)


@pytest.mark.parametrize(("changes", "array"), [({"momentum": 0.9}, "velocity"), ({"centered": True}, "mean")])
def test_arrays_that_a_changed_hyperparameter_needs_start_at_zero(changes, array):
    bowl, optimizer = Bowl(), get("rmsprop")
    optimizer.step(bowl)
    assert array not in optimizer.state()
    [(field, value)] = changes.items()
    for _ in range(2):
        setattr(optimizer, field, value)
        np.testing.assert_array_equal(optimizer.state()[array], np.zeros(5))  # also before the next step
        optimizer.step(bowl)
        assert optimizer.state()[array].any()
        setattr(optimizer, field, type(value)(0))
        optimizer.step(bowl)
        assert set(optimizer.state()) == {"t", "v"}


def test_a_step_after_a_changed_hyperparameter_is_that_of_the_rule():
    bowl, same = Bowl(), Bowl()
    late, whole = get("rmsprop"), get("rmsprop", momentum=0.9)
    late.step(bowl)
    whole.restore({**late.state(), "velocity": np.zeros(5)}, same.theta)
    same.theta[:] = bowl.theta
    late.momentum = 0.9
    for _ in range(3):
        assert late.step(bowl) == whole.step(same)
    np.testing.assert_array_equal(bowl.theta, same.theta)
