"""Tests of Function and minimize: their results, their counts, and the errors for wrong arguments."""

import numpy as np
import pytest

from optimizers import Function, Objective, get, minimize


def make_function(**functions):
    return Function([1.0, 2.0], **functions)


def test_residuals_and_their_jacobian_are_enough_for_a_sum_of_squares():
    f = make_function(residuals=lambda t: np.array([t[0] - 3, 2 * t[1], t[0] * t[1]]),
                      jacobian=lambda t: np.array([[1, 0], [0, 2], [t[1], t[0]]]))
    value, gradient = f.value_and_gradient()
    assert value == (4 + 16 + 4) / 2
    np.testing.assert_array_equal(gradient, [-2 + 2 * 2, 4 * 2 + 2])
    J = f.jacobian()
    np.testing.assert_allclose(f.gauss_newton_product(np.array([1.0, -1.0])), J.T @ J @ [1, -1])


def test_theta_is_a_copy_and_each_point_is_computed_once():
    calls, theta0 = [], np.array([1, 2])
    f = Function(theta0, value=lambda t: calls.append("v") or t @ t, gradient=lambda t: calls.append("g") or 2 * t)
    assert f.theta.dtype == float
    f.value_and_gradient()
    f.value_and_gradient()
    assert (calls, f.evaluations) == (["v", "g"], 1)
    _, gradient = f.value_and_gradient()
    gradient[:] = 99  # the caller may overwrite it
    np.testing.assert_array_equal(f.value_and_gradient()[1], [2, 4])
    f.theta[0] = 5
    assert f.value() == 29
    assert f.evaluations == 2
    np.testing.assert_array_equal(theta0, [1, 2])


def test_an_object_with_a_method_step_is_an_optimizer():
    class Newton:
        def step(self, objective):
            loss, gradient = objective.value_and_gradient()
            objective.theta -= gradient / 2
            return loss

    result = minimize(make_function(value=lambda t: t @ t, gradient=lambda t: 2 * t), Newton())
    assert (result.converged, result.steps, list(result.theta)) == (True, 1, [0, 0])


def test_a_function_that_changes_its_argument_does_not_change_theta():
    def value(theta):
        theta[:] = 0
        return 1.0

    f = make_function(value=value, gradient=lambda t: t)
    f.value_and_gradient()
    np.testing.assert_array_equal(f.theta, [1, 2])


@pytest.mark.parametrize(("use", "message"), [
    (lambda: Function([1.0]), "Function needs value=... or residuals=..."),
    (lambda: Function([], value=abs), r"theta0 must be a vector \(P,\) of finite numbers"),
    (lambda: Function([np.nan], value=abs), "theta0 must be a vector"),
    (lambda: Function([[1.0]], value=abs), "theta0 must be a vector"),
    (lambda: minimize(make_function(value=np.sum), get("adam")),
     r"needs the gradient, .*: write Function\(..., gradient=...\)"),
    (lambda: make_function(value=np.sum).hessian_product(np.ones(2)),
     r"this optimizer needs the hessian, but Function was made without it: write Function\(..., hessian=...\), or"),
    (lambda: make_function(value=np.sum, gradient=lambda t: t[:1]).value_and_gradient(),
     r"gradient must return an array of shape \(2,\), not an array of shape \(1,\)"),
    (lambda: make_function(value=lambda t: t).value(), r"value must return a number, not an array of shape \(2,\)"),
    (lambda: make_function(residuals=lambda t: t, jacobian=lambda t: np.ones((3, 2))).jacobian(),
     r"jacobian must return an array of shape \(2, 2\), not an array of shape \(3, 2\)"),
])
def test_a_missing_function_or_a_wrong_shape_is_named(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_the_callback_is_called_after_each_step_and_no_step_is_taken_at_a_minimum():
    thetas = []
    f = make_function(value=lambda t: t @ t, gradient=lambda t: 2 * t)
    minimize(f, get("gd", lr=0.1), max_steps=5, callback=lambda f: thetas.append(f.theta.copy()))
    assert len(thetas) == 5
    np.testing.assert_allclose(thetas[-1], np.array([1, 2]) * 0.8**5)
    result = minimize(Function([0.0], value=lambda t: t @ t, gradient=lambda t: 2 * t), get("gd"))
    assert (result.steps, result.converged, result.value) == (0, True, 0.0)


def test_an_optimizer_that_could_not_take_a_step_may_be_used_for_another_function():
    optimizer = get("lbfgs")
    minimize(make_function(value=lambda t: 1.0, gradient=lambda t: np.ones(2)), optimizer)
    assert optimizer.message
    assert minimize(make_function(value=lambda t: t @ t, gradient=lambda t: 2 * t), optimizer).converged


def test_the_objective_of_a_model_is_minimized():
    from nn import CrossEntropy, Dense, Model, Softmax, Tanh

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    model = Model([Dense(4, 6), Tanh(), Dense(6, 3), Softmax()], CrossEntropy(), dtype="float64")
    objective = model.objective(x, y)
    before = objective.value()
    result = minimize(objective, get("lbfgs"), max_steps=30)
    assert result.value < before / 2
    assert result.evaluations >= 30
    np.testing.assert_array_equal(result.theta, model.theta)


@pytest.mark.parametrize("function", [np.sum, lambda theta: theta @ theta, 3.0])
def test_a_plain_function_is_not_an_objective(function):
    with pytest.raises(ValueError, match=r"function must be an Objective, not .*: write Function\(theta0, value=f, "
                                         r"gradient=df\), or model.objective\(x, y\)"):
        minimize(function, get("lbfgs"))


def test_a_class_that_does_not_count_evaluations_is_told_so():
    class Parabola:
        def __init__(self):
            self.theta = np.array([1.0, 2.0])

        def value_and_gradient(self):
            return float(self.theta @ self.theta), 2 * self.theta

    with pytest.raises(ValueError, match="evaluations of the objective, but Parabola does not define it: derive Parab"):
        minimize(Parabola(), get("lbfgs"))


@pytest.mark.parametrize(("options", "message"), [
    ({"max_steps": -1}, "max_steps must be at least 0, not -1"),
    ({"optimizer": "adam"}, r"optimizer must have a method step\(objective\), but 'adam' has none: write get"),
])
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        minimize(make_function(value=np.sum, gradient=np.ones_like), **{"optimizer": get("adam"), **options})


def test_a_second_function_needs_a_new_optimizer():
    def parabola():
        return make_function(value=lambda t: t @ t, gradient=lambda t: 2 * t)

    optimizer, second = get("adam"), parabola()
    minimize(parabola(), optimizer, max_steps=3)
    with pytest.raises(ValueError, match="this Adam has taken 3 steps on another vector: make a new one, or write "):
        minimize(second, optimizer)
    np.testing.assert_array_equal(second.theta, [1, 2])
    optimizer.restore(optimizer.state(), second.theta)
    assert minimize(second, optimizer, max_steps=3).steps == 3
    assert optimizer.t == 6


def test_an_objective_of_a_user_is_minimized():
    class Parabola(Objective):
        def __init__(self):
            self.theta = np.array([1.0, 2.0])

        def value_and_gradient(self):
            return float(self.theta @ self.theta), 2 * self.theta

    result = minimize(Parabola(), get("lbfgs"))
    assert result.converged
    assert result.evaluations == 0  # it does not count them
