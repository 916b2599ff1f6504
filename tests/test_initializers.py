"""The variance of each initializer is the one in its docstring."""

import math

import numpy as np
import pytest

from nn import INITIALIZERS

VARIANCES = {"zeros": 0, "xavier": 1 / 300, "he": 2 / 300, "kumar": 12.96 / 300, "glorot": 2 / 500, "lecun": 1 / 300}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_shape_mean_and_variance(name):
    W = INITIALIZERS[name](np.random.default_rng(0), 300, 200)
    assert W.shape == (300, 200)
    assert abs(W.mean()) < 4 * math.sqrt(VARIANCES[name] / W.size) + 1e-12
    assert W.var() == pytest.approx(VARIANCES[name], rel=0.03)
