"""Tests of Newton: convergence, both forms, the trust-region subproblem, and steps that are impossible."""

import copy
import math

from least_squares import PROBLEMS
import numpy as np
import pytest
from test_optimizer import check_continuation

from optimizers import Function, Newton, Objective, get, minimize
from optimizers.subproblem import lanczos, solve_subproblem

FORMS = ("dense", "cg")


def quadratic(n, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    H, b = A @ A.T + np.eye(n), rng.normal(size=n)
    return Function(rng.normal(size=n), value=lambda x: x @ H @ x / 2 - b @ x, gradient=lambda x: H @ x - b,
                    hessian=lambda x: H)


def without_hessian(f):
    """Return the same function with Hessian products only."""
    class Products(Objective):
        theta = f.theta
        value, value_and_gradient, hessian_product = f.value, f.value_and_gradient, f.hessian_product

    return Products()


def test_one_step_reaches_the_minimum_of_a_convex_quadratic():
    for f in (quadratic(20), without_hessian(quadratic(20))):
        newton = Newton()
        newton.step(f)
        assert np.abs(f.value_and_gradient()[1]).max() < 1e-10
        assert newton.form_used == "dense"


def test_conjugate_gradients_need_few_more_products_than_dimensions():
    f, products = quadratic(20), 0
    objective, newton = without_hessian(f), Newton(form="cg")

    def counted(v):
        nonlocal products
        products += 1
        return f.hessian_product(v)

    objective.hessian_product = counted
    for _ in range(30):
        newton.step(objective)
        if np.abs(f.value_and_gradient()[1]).max() < 1e-8:
            break
    assert newton.form_used == "cg"
    assert np.abs(f.value_and_gradient()[1]).max() < 1e-8
    assert products < 6 * 20


@pytest.mark.parametrize("curvature", ["hessian", "gauss-newton"])
@pytest.mark.parametrize(("form", "order", "steps"), [("dense", 2, 1), ("cg", 1.5, 2)])
def test_the_last_steps_on_rosenbrock_have_the_theoretical_order_of_convergence(form, order, steps, curvature):
    """With inexact steps, the errors along and across the valley decrease alternately, so two steps count as one."""
    f, errors = PROBLEMS["rosenbrock"].function(), []
    result = minimize(f, Newton(form=form, curvature=curvature), max_steps=60, tolerance=1e-12,
                      callback=lambda f: errors.append(np.abs(f.theta - 1).max()))
    assert result.converged
    last = [(a, b) for a, b in zip(errors, errors[steps:]) if a < 0.2]
    assert len(last) >= 1
    assert all(b <= 20 * a**order + 1e-12 for a, b in last)


@pytest.mark.parametrize("form", FORMS)
def test_negative_curvature_leads_away_from_a_saddle_point(form):
    f = Function([1e-3, 1], value=lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2,
                 gradient=lambda x: np.array([x[0] ** 3 - x[0], x[1]]),
                 hessian=lambda x: np.diag([3 * x[0] ** 2 - 1, 1.0]))
    result = minimize(f, Newton(form=form), max_steps=40)
    assert result.converged
    np.testing.assert_allclose(result.theta, [1, 0], atol=1e-8)


def test_the_dense_form_leaves_a_saddle_point_with_a_zero_gradient():
    f = Function([0, 0], value=lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2 / 2,
                 gradient=lambda x: np.array([x[0] ** 3 - x[0], x[1]]),
                 hessian=lambda x: np.diag([3 * x[0] ** 2 - 1, 1.0]))
    newton = Newton()
    for _ in range(20):
        newton.step(f)
    np.testing.assert_allclose(np.abs(f.theta), [1, 0], atol=1e-8)
    newton = Newton(form="cg")
    f.theta[:] = 0
    newton.step(f)
    assert newton.message.startswith("the value cannot be reduced further")


def check_optimal(H, g, p, multiplier, radius):
    """Check the necessary and sufficient conditions of More & Sorensen (1983)."""
    scale = np.linalg.norm(H, 2) + np.linalg.norm(g) / radius
    np.testing.assert_allclose(H @ p + multiplier * p, -g, atol=1e-9 * scale * radius)
    assert np.linalg.eigvalsh(H)[0] + multiplier >= -1e-12 * scale
    assert multiplier >= 0
    assert np.linalg.norm(p) <= radius * (1 + 1e-9)
    assert multiplier <= 1e-12 * scale or np.linalg.norm(p) == pytest.approx(radius, rel=1e-9)


@pytest.mark.parametrize("case", ["convex", "indefinite", "hard", "nearly hard", "singular", "no gradient"])
@pytest.mark.parametrize("radius", [1e-3, 1, 1e3])
def test_the_subproblem_is_solved(case, radius):
    rng = np.random.default_rng(5)
    for n in (2, 3, 10):
        Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
        w, b = np.sort(rng.normal(size=n)), rng.normal(size=n)
        if case == "convex":
            w = np.abs(w)
        elif case == "singular":
            w, b = np.abs(w), np.where(np.arange(n) == 1, 0, b)
            w[1] = 0
        else:
            w[0] = -1 - abs(w[0])
            b[0] = {"hard": 0, "nearly hard": 1e-17}.get(case, b[0])
            b *= case != "no gradient"
        y, multiplier = solve_subproblem(w, b, radius)
        check_optimal(Q * w @ Q.T, Q @ b, Q @ y, multiplier, radius)


def test_lanczos_stays_inside_the_radius_and_reaches_the_solution():
    rng = np.random.default_rng(6)
    for n, radius in ((5, 1e-2), (20, 1.0), (40, 1e3)):
        A = rng.normal(size=(n, n))
        H, g = A + A.T, rng.normal(size=n)
        product = H.__matmul__
        for limit in (1, 3, n):
            w, b, basis = lanczos(product, g, radius, 0.0, limit)
            y, multiplier = solve_subproblem(w, b, radius)
            assert np.linalg.norm(y @ basis) <= radius * (1 + 1e-9)
            np.testing.assert_allclose(basis @ H @ basis.T, np.diag(w), atol=1e-9)
        check_optimal(H, g, y @ basis, multiplier, radius)
        w, b, basis = lanczos(product, g, radius, 0.1 * np.linalg.norm(g), n)
        y, multiplier = solve_subproblem(w, b, radius)
        p = y @ basis
        assert np.linalg.norm(H @ p + multiplier * p + g) <= 0.1 * np.linalg.norm(g) + 1e-9


@pytest.mark.parametrize("name", ["helical valley", "gaussian", "box", "kowalik-osborne", "brown-dennis", "osborne 2",
                                  "beale", "wood", "biggs", "watson 6", "chebyquad 8", "jennrich-sampson"])
@pytest.mark.parametrize("form", FORMS)
def test_the_published_minima(name, form):
    problem = PROBLEMS[name]
    result = minimize(problem.function(), Newton(form=form), max_steps=500, tolerance=1e-9)
    assert any(2 * result.value == pytest.approx(best, rel=1e-5, abs=1e-10) for best in problem.minima)


def test_a_trial_point_with_an_error_is_refused_and_a_nearer_one_is_tried():
    f = Function([5], value=lambda x: x[0] - math.log(x[0]), gradient=lambda x: 1 - 1 / x,
                 hessian=lambda x: x[:, None] ** -2.0)
    # the full step would lead to -15, for which math.log raises ValueError
    result = minimize(f, Newton(), max_steps=30)
    assert result.converged
    assert result.theta == pytest.approx(1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_curvature_that_is_not_finite_changes_nothing(form, bad):
    f = quadratic(3)
    f.hessian = lambda: np.full((3, 3), bad)
    f.hessian_product = lambda v: np.full(3, bad)
    newton, theta = Newton(form=form), f.theta.copy()
    newton.step(f)
    assert newton.message == "the curvature is not finite"
    np.testing.assert_array_equal(f.theta, theta)


@pytest.mark.parametrize("form", FORMS)
def test_a_restored_optimizer_takes_the_same_steps_bit_for_bit(form):
    check_continuation(PROBLEMS["wood"].function, lambda: Newton(form=form), before=4, after=3)


def test_in_float32_it_stops_at_the_rounding_errors_with_a_message():
    f = quadratic(10)

    class Single(Objective):
        theta = f.theta.astype("float32")

        def value_and_gradient(self):
            f.theta[:] = self.theta
            value, gradient = f.value_and_gradient()
            return float(np.float32(value)), gradient.astype("float32")

        def hessian_product(self, v):
            return f.hessian_product(v).astype("float32")

    for form in FORMS:
        objective, newton = Single(), Newton(form=form)
        for _ in range(40):
            newton.step(objective)
            if newton.message:
                break
        assert newton.message.startswith("the value cannot be reduced further")
        assert objective.theta.dtype == np.float32
        np.testing.assert_allclose(f.value_and_gradient()[1], 0, atol=1e-3)


def test_an_unknown_choice_and_a_matrix_that_is_too_large_are_refused():
    with pytest.raises(ValueError, match="Newton: curvature must be one of hessian, gauss-newton, not 'fisher'"):
        Newton(curvature="fisher")

    class Large:
        theta = np.zeros(12_000)
        value_and_gradient = staticmethod(lambda: (1.0, np.ones(12_000)))
        hessian_product = staticmethod(lambda v: v)

    message = r"Newton: form='dense' would take 3\.5 GB, more than max_gigabytes, 1: use form='cg' instead"
    with pytest.raises(ValueError, match=message):
        Newton(form="dense").step(Large())


@pytest.mark.parametrize(("name", "options"), [
    ("newton", {"form": "dense"}), ("newton", {"form": "dense", "curvature": "gauss-newton"}),
    ("newton", {"form": "dense", "sample": 0.5}), ("lm", {"form": "qr"}), ("lm", {"form": "dual"}),
])
def test_the_limit_of_the_optimizer_is_the_only_limit(name, options, monkeypatch):
    from nn import Dense, MeanSquaredError, Model, Tanh
    from nn.objective import BatchObjective

    monkeypatch.setattr(BatchObjective, "max_gigabytes", 1e-9)
    rng = np.random.default_rng(0)
    model = Model([Dense(2, 4), Tanh(), Dense(4, 1)], MeanSquaredError(), dtype="float64")  # 17 parameters
    objective = model.objective(rng.normal(size=(20, 2)), rng.normal(size=(20, 1)))
    for matrix in (objective.hessian, objective.gauss_newton, objective.jacobian, objective.residual_triangle):
        with pytest.raises(ValueError, match=r"more than 1e-09 GB: use .*, or raise max_gigabytes"):
            matrix()
    before = objective.value()
    with pytest.raises(ValueError, match=r"would take .* GB, more than max_gigabytes, 2e-09: use form="):
        get(name, max_gigabytes=2e-9, **options).step(objective)
    get(name, max_gigabytes=1e-5, **options).step(objective)
    assert objective.value() < before


@pytest.mark.parametrize("name", ["newton", "lm"])
def test_curvature_may_be_computed_from_a_sample_of_the_examples(name):
    from nn import CrossEntropy, Dense, Model, Softmax, Tanh

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 6)), rng.integers(0, 3, 400)
    model = Model([Dense(6, 8), Tanh(), Dense(8, 3), Softmax()], CrossEntropy(), dtype="float64")
    losses, passes = [], []
    for share in (1.0, 0.25):
        twin = copy.copy(model)
        history = twin.fit(x, y, get(name, sample=share, **({"form": "cg"} if name == "newton" else {})), epochs=8,
                           progress=False)
        losses.append(history.column("loss"))
        passes.append(history.epochs[-1]["passes"])
        repeated = copy.copy(model).fit(x, y, get(name, sample=share, **({"form": "cg"} if name == "newton" else {})),
                                        epochs=8, progress=False)
        assert repeated.column("loss") == losses[-1]
    assert losses[0] != losses[1]
    assert all(history[-1] < 0.9 * history[0] for history in losses)
    assert passes[1] < passes[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_errors_cause_no_step_along_flat_directions(seed, dtype):
    """The value does not depend on half of the directions: their computed eigenvalues are small, of either sign."""
    rng = np.random.default_rng(seed)
    n = 20
    Q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    H = (Q[:, : n // 2] * np.linspace(1, 10, n // 2)) @ Q[:, : n // 2].T
    H = ((H + H.T) / 2).astype(dtype)
    theta0 = rng.normal(size=n).astype(dtype)

    class Flat(Objective):
        theta = theta0.copy()

        def value(self):
            return float(self.theta @ H @ self.theta) / 2

        def value_and_gradient(self):
            return self.value(), H @ self.theta

        def hessian(self):
            return H

        def hessian_product(self, v):
            return H @ v

    f = Flat()
    get("newton", form="dense").step(f)
    flat = Q[:, n // 2 :].T @ (f.theta - theta0)
    assert np.abs(Q[:, : n // 2].T @ f.theta).max() < 1e3 * np.finfo(dtype).eps
    assert np.abs(flat).max() < 1e3 * np.finfo(dtype).eps
