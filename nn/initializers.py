"""Where the weights of a layer begin: every initializer draws an (n_in, n_out) array of float64 from a generator.

The article's four are `zeros`, `xavier`, `he` and `kumar`. Biases always begin at zero.
"""

from collections.abc import Callable
import math

import numpy as np
from numpy.random import Generator

from nn.buffers import Array

Initializer = Callable[[Generator, int, int], Array]


def zeros(rng: Generator, n_in: int, n_out: int) -> Array:
    """All zero. Every unit of a layer then learns the same thing: here to show why one does not do this."""
    return np.zeros((n_in, n_out))


def xavier(rng: Generator, n_in: int, n_out: int) -> Array:
    """N(0, 1/n_in), as the article has it: for tanh and sigmoid. Glorot & Bengio (2010) average n_in and n_out."""
    return rng.normal(0, math.sqrt(1 / n_in), (n_in, n_out))


def he(rng: Generator, n_in: int, n_out: int) -> Array:
    """N(0, 2/n_in): keeps the variance through ReLU. He et al. (2015)."""
    return rng.normal(0, math.sqrt(2 / n_in), (n_in, n_out))


def kumar(rng: Generator, n_in: int, n_out: int) -> Array:
    """N(0, 12.96/n_in), that is (3.6 / sqrt(n_in))^2: for sigmoid. Kumar (2017)."""
    return rng.normal(0, math.sqrt(12.96 / n_in), (n_in, n_out))


def glorot(rng: Generator, n_in: int, n_out: int) -> Array:
    """U(-a, a) with a = sqrt(6 / (n_in + n_out)): keeps the variance both ways. Glorot & Bengio (2010)."""
    a = math.sqrt(6 / (n_in + n_out))
    return rng.uniform(-a, a, (n_in, n_out))


def lecun(rng: Generator, n_in: int, n_out: int) -> Array:
    """U(-a, a) with a = sqrt(3 / n_in), whose variance is 1/n_in. LeCun et al. (1998)."""
    a = math.sqrt(3 / n_in)
    return rng.uniform(-a, a, (n_in, n_out))


INITIALIZERS: dict[str, Initializer] = {rule.__name__: rule for rule in (zeros, xavier, he, kumar, glorot, lecun)}
