"""Function: what it is made of, what it counts, and what it says where something is missing."""

import numpy as np
import pytest

from optimizers import Function, get, minimize


def line(**given):
    return Function([1.0, 2.0], **given)


def test_a_sum_of_squares_needs_nothing_but_residuals_and_their_jacobian():
    f = line(residuals=lambda t: np.array([t[0] - 3, 2 * t[1], t[0] * t[1]]),
             jacobian=lambda t: np.array([[1, 0], [0, 2], [t[1], t[0]]]))
    value, gradient = f.value_and_gradient()
    assert value == (4 + 16 + 4) / 2
    np.testing.assert_array_equal(gradient, [-2 + 2 * 2, 4 * 2 + 2])
    J = f.jacobian()
    np.testing.assert_allclose(f.gauss_newton_product(np.array([1.0, -1.0])), J.T @ J @ [1, -1])


def test_theta_is_a_live_copy_and_each_point_is_computed_once():
    calls, theta0 = [], np.array([1, 2])
    f = Function(theta0, value=lambda t: calls.append("v") or t @ t, gradient=lambda t: calls.append("g") or 2 * t)
    assert f.theta.dtype == float
    f.value_and_gradient()
    f.value_and_gradient()
    assert (calls, f.evaluations) == (["v", "g"], 1)
    _, gradient = f.value_and_gradient()
    gradient[:] = 99  # the caller's to overwrite
    np.testing.assert_array_equal(f.value_and_gradient()[1], [2, 4])
    f.theta[0] = 5
    assert f.value() == 29
    assert f.evaluations == 2
    np.testing.assert_array_equal(theta0, [1, 2])


def test_an_object_with_step_and_nothing_else_is_an_optimizer():
    class Newton:
        def step(self, objective):
            loss, gradient = objective.value_and_gradient()
            objective.theta -= gradient / 2
            return loss

    result = minimize(line(value=lambda t: t @ t, gradient=lambda t: 2 * t), Newton())
    assert (result.converged, result.steps, list(result.theta)) == (True, 1, [0, 0])


def test_a_function_that_meddles_with_its_argument_harms_nobody():
    def value(theta):
        theta[:] = 0
        return 1.0

    f = line(value=value, gradient=lambda t: t)
    f.value_and_gradient()
    np.testing.assert_array_equal(f.theta, [1, 2])


@pytest.mark.parametrize(("use", "message"), [
    (lambda: Function([1.0]), "Function needs value=... or residuals=..."),
    (lambda: Function([], value=abs), r"theta0 must be a vector \(P,\) of finite numbers"),
    (lambda: Function([np.nan], value=abs), "theta0 must be a vector"),
    (lambda: Function([[1.0]], value=abs), "theta0 must be a vector"),
    (lambda: minimize(line(value=np.sum), get("adam")), r"needs the gradient, .*: write Function\(..., gradient=...\)"),
    (lambda: line(value=np.sum).hessian_product(np.ones(2)), "needs the hessian, which the Function was not given"),
    (lambda: line(value=np.sum, gradient=lambda t: t[:1]).value_and_gradient(),
     r"gradient gives an array of shape \(1,\), where one of shape \(2,\) is expected"),
    (lambda: line(value=lambda t: t).value(), r"value gives an array of shape \(2,\), where one of shape \(\) is"),
    (lambda: line(residuals=lambda t: t, jacobian=lambda t: np.ones((3, 2))).jacobian(),
     r"jacobian gives an array of shape \(3, 2\), where one of shape \(2, 2\) is expected"),
])
def test_what_is_missing_or_misshapen_is_named(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_minimize_calls_back_after_each_step_and_ends_where_it_began_if_there_is_nothing_to_do():
    seen = []
    f = line(value=lambda t: t @ t, gradient=lambda t: 2 * t)
    minimize(f, get("gd", lr=0.1), max_steps=5, callback=lambda f: seen.append(f.theta.copy()))
    assert len(seen) == 5
    np.testing.assert_allclose(seen[-1], np.array([1, 2]) * 0.8**5)
    done = minimize(Function([0.0], value=lambda t: t @ t, gradient=lambda t: 2 * t), get("gd"))
    assert (done.steps, done.converged, done.value) == (0, True, 0.0)


def test_an_optimizer_that_was_stuck_elsewhere_begins_anew():
    stuck = get("lbfgs")
    minimize(line(value=lambda t: 1.0, gradient=lambda t: np.ones(2)), stuck)
    assert stuck.message
    assert minimize(line(value=lambda t: t @ t, gradient=lambda t: 2 * t), stuck).converged


def test_a_models_objective_is_minimized_too():
    from test_model import small, small_data

    model, (x, y) = small(dtype="float64"), small_data()
    objective = model.objective(x, y)
    before = objective.value()
    result = minimize(objective, get("lbfgs"), max_steps=30)
    assert result.value < before / 2
    assert result.evaluations >= 30
    np.testing.assert_array_equal(result.theta, model.theta)


@pytest.mark.parametrize(("options", "message"), [
    ({"max_steps": -1}, "max_steps must be at least 0, not -1"),
    ({"optimizer": "adam"}, r"optimizer must have a step\(objective\), which 'adam' has not"),
])
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        minimize(line(value=np.sum, gradient=np.ones_like), **{"optimizer": get("adam"), **options})
