"""Initializers: each draws the first weights of a layer, an (n_in, n_out) array of float64, from a generator.

| name   | distribution                        | elsewhere                                               |
|--------|-------------------------------------|---------------------------------------------------------|
| zeros  | 0                                   | Keras zeros                                             |
| xavier | N(0, 1/n_in)                        | Keras lecun_normal, which truncates                     |
| he     | N(0, 2/n_in)                        | torch kaiming_normal_; Keras he_normal, which truncates |
| kumar  | N(0, 12.96/n_in)                    |                                                         |
| glorot | U(-a, a), a^2 = 6 / (n_in + n_out) | torch xavier_uniform_; Keras glorot_uniform             |
| lecun  | U(-a, a), a^2 = 3 / n_in            | Keras lecun_uniform                                     |

The article's four are zeros, xavier, he and kumar. Its name xavier is not torch's: xavier_normal_ in torch has the
variance 2 / (n_in + n_out). Biases always start at zero.
"""

from collections.abc import Callable
import math

import numpy as np
from numpy.random import Generator

Initializer = Callable[[Generator, int, int], np.ndarray]


def zeros(rng: Generator, n_in: int, n_out: int) -> np.ndarray:
    """Return zeros (n_in, n_out). All units of a layer then learn the same, so it serves only as an example."""
    return np.zeros((n_in, n_out))


def xavier(rng: Generator, n_in: int, n_out: int) -> np.ndarray:
    """Draw from N(0, 1/n_in), for tanh and sigmoid. The paper, Glorot & Bengio (2010), averages n_in and n_out."""
    return rng.normal(0, math.sqrt(1 / n_in), (n_in, n_out))


def he(rng: Generator, n_in: int, n_out: int) -> np.ndarray:
    """Draw from N(0, 2/n_in), which keeps the variance through ReLU. He et al. (2015)."""
    return rng.normal(0, math.sqrt(2 / n_in), (n_in, n_out))


def kumar(rng: Generator, n_in: int, n_out: int) -> np.ndarray:
    """Draw from N(0, 12.96/n_in), with the standard deviation 3.6 / sqrt(n_in), for sigmoid. Kumar (2017)."""
    return rng.normal(0, math.sqrt(12.96 / n_in), (n_in, n_out))


def glorot(rng: Generator, n_in: int, n_out: int) -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(6 / (n_in + n_out)), for tanh and sigmoid. Glorot & Bengio (2010)."""
    a = math.sqrt(6 / (n_in + n_out))
    return rng.uniform(-a, a, (n_in, n_out))


def lecun(rng: Generator, n_in: int, n_out: int) -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(3 / n_in), whose variance is 1/n_in. LeCun et al. (1998)."""
    a = math.sqrt(3 / n_in)
    return rng.uniform(-a, a, (n_in, n_out))


INITIALIZERS: dict[str, Initializer] = {rule.__name__: rule for rule in (zeros, xavier, he, kumar, glorot, lecun)}
"""The initializers by name: each is called with a generator, n_in and n_out, and returns an array (n_in, n_out)."""
