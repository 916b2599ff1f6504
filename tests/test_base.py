"""What holds for every optimizer in the table: fields, state, restoring, dtype, and one vector changed in place."""

import math
import tracemalloc

import numpy as np
import pytest

import optimizers
from optimizers import OPTIMIZERS, FirstOrder, get, hyperparameters
from optimizers.trust_region import TrustRegion


class Bowl:
    """sum(a (theta - 1)^2) / 2, with a gradient buffer of its own."""

    def __init__(self, n=5, dtype="float64", value=None):
        self.theta = np.linspace(-1, 2, n).astype(dtype)
        self.a = np.linspace(1, 3, n).astype(dtype)
        self.grad, self.difference = np.empty_like(self.theta), np.empty_like(self.theta)
        self.given = value

    def value(self):
        return self.value_and_gradient()[0]

    def value_and_gradient(self):
        """Allocates nothing, so that what an optimizer does is seen."""
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
    """The optimizer, with this lr where it has one."""
    return get(name, **{"lr": lr} if "lr" in hyperparameters(OPTIMIZERS[name]) else {})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_loss_falls_theta_stays_the_same_buffer_and_the_returned_loss_is_that_before_the_step(name):
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


# a trust region's Krylov space is as large as its curvature needs, and no more than `inner` vectors
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if not issubclass(kind, TrustRegion)])
def test_no_more_is_allocated_than_the_declared_state_and_one_scratch(name):
    """To the byte for first-order rules. The others also hold points while they look around: at most ten vectors."""
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
    """An optimizer that takes up another's state goes on as that does, to the bit; returns the objective."""
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
def test_saved_and_restored_it_goes_on_to_the_bit(name, begun):
    check_continuation(Bowl, lambda: get(name), begun, more=20)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_that_is_not_its_own_is_refused(name):
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
def test_a_loss_that_is_not_finite_moves_nothing(name, value):
    bowl, optimizer = Bowl(), get(name)
    optimizer.step(bowl)
    theta, state = bowl.theta.copy(), {key: np.copy(part) for key, part in optimizer.state().items()}
    broken = Bowl(value=value)
    broken.theta[:] = theta
    returned = optimizer.step(broken)
    assert math.isnan(returned) == math.isnan(value)
    np.testing.assert_array_equal(broken.theta, theta)
    for key, part in optimizer.state().items():
        np.testing.assert_array_equal(part, state[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_field_has_bounds_and_is_checked(name):
    optimizer = get(name)
    for field, default in hyperparameters(OPTIMIZERS[name]).items():
        for bad in (math.nan, math.inf, -math.inf, "0.1", [1], 1 if isinstance(default, bool) else True):
            with pytest.raises(ValueError, match=rf"{OPTIMIZERS[name].__name__}: {field} must be .*, not "):
                get(name, **{field: bad})
            with pytest.raises(ValueError, match=rf"{field} must be"):  # as well between steps
                setattr(optimizer, field, bad)
        assert getattr(optimizer, field) == default


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_there_by_its_class_name_and_says_what_it_is(name):
    kind = OPTIMIZERS[name]
    assert getattr(optimizers, kind.__name__) is kind
    assert kind.__name__ in optimizers.__all__
    assert repr(get(name)).startswith(f"{kind.__name__}(")
    assert len(kind.__doc__) > 80


def test_unknown_names_list_the_choices_and_bad_values_what_is_allowed():
    with pytest.raises(ValueError, match="unknown optimizer 'adan': choose from gd, momentum, "):
        get("adan")
    with pytest.raises(ValueError, match="lr must be above 0, not -1"):
        get("gd", lr=-1)
    with pytest.raises(ValueError, match="adam has no field 'learning_rate': its fields are lr, weight_decay, clip_"):
        get("adam", learning_rate=0.1)


def test_fields_may_be_set_between_steps():
    bowl, optimizer = Bowl(), get("gd", lr=0.1)
    optimizer.step(bowl)
    theta, grad = bowl.theta.copy(), bowl.value_and_gradient()[1].copy()
    optimizer.lr = 0.025
    optimizer.step(bowl)
    np.testing.assert_allclose(bowl.theta, theta - 0.025 * grad, rtol=1e-15)
