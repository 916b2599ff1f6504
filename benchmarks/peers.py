"""An epoch of training with Adam in each of the other frameworks, which are imported only when they are used."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from datasets import Dataset

LR = 0.001
Epoch = Callable[[], object]  # trains an epoch; returns its seconds, or any other object to have the whole call timed


def torch_epoch(data: Dataset, widths: tuple[int, ...], batch: int, fused: bool) -> Epoch:
    """Return torch's epoch."""
    import torch

    layers: list[Any] = []
    for pair in pairwise(widths):
        layers += [torch.nn.Linear(*pair), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=fused or None)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)

    def epoch() -> tuple[float, float]:
        order = torch.randperm(len(x))
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for rows in order.split(batch):
            z, target = net(x[rows]), y[rows]
            loss = torch.nn.functional.cross_entropy(z, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            correct += (z.detach().argmax(1) == target).sum()
        return float(total), float(correct)

    return epoch


def jax_step(data: Dataset, widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Return a step of JAX, (carry, rows) to (carry, (loss, correct)), and the first carry."""
    import jax
    import jax.numpy as jnp
    import optax

    keys = jax.random.split(jax.random.key(0), len(widths))
    params = [(jax.random.normal(key, pair) * (2 / pair[0]) ** 0.5, jnp.zeros(pair[1]))
              for key, pair in zip(keys, pairwise(widths))]
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    optimizer = optax.adam(LR)

    def loss(params: Any, xb: Any, yb: Any) -> Any:
        for W, b in params[:-1]:
            xb = jax.nn.relu(xb @ W + b)
        z = xb @ params[-1][0] + params[-1][1]
        value = optax.softmax_cross_entropy_with_integer_labels(z, yb).mean()
        return value, (z.argmax(1) == yb).sum()

    def step(carry: Any, rows: Any) -> Any:
        params, state = carry
        (value, correct), gradient = jax.value_and_grad(loss, has_aux=True)(params, x[rows], y[rows])
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), (value * len(rows), correct)

    return step, (params, optimizer.init(params))


def jax_epoch(data: Dataset, widths: tuple[int, ...], batch: int, scan: bool) -> Epoch:
    """Return JAX's epoch: step by step, or all full batches in one program."""
    import jax

    step, carry = jax_step(data, widths)
    one_step = jax.jit(step, donate_argnums=0)
    all_steps = jax.jit(lambda carry, rows: jax.lax.scan(step, carry, rows), donate_argnums=0)
    rng = np.random.default_rng(0)

    def epoch() -> tuple[float, float]:
        nonlocal carry
        order = rng.permutation(len(data.x_train))
        full = len(order) // batch * batch
        sums = []
        if scan:
            carry, outputs = all_steps(carry, order[:full].reshape(-1, batch))
            sums.append([part.sum() for part in outputs])
        else:
            for rows in order[:full].reshape(-1, batch):
                carry, outputs = one_step(carry, rows)
                sums.append(outputs)
        if full < len(order):
            carry, outputs = one_step(carry, order[full:])
            sums.append(outputs)
        return float(sum(value for value, _ in sums)), float(sum(correct for _, correct in sums))

    return epoch


def sklearn_epoch(data: Dataset, widths: tuple[int, ...], batch: int) -> Epoch:
    """Return scikit-learn's epoch."""
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(widths[1:-1], batch_size=batch, learning_rate_init=LR, alpha=0.0)
    classes = np.unique(data.y_train)
    return lambda: net.partial_fit(data.x_train, data.y_train, classes=classes)


def keras_epoch(data: Dataset, widths: tuple[int, ...], batch: int) -> Epoch:
    """Return Keras's epoch."""
    import keras

    layers = [keras.layers.Dense(n, "relu") for n in widths[1:-1]]
    net = keras.Sequential([keras.Input((widths[0],)), *layers, keras.layers.Dense(widths[-1], "softmax")])
    net.compile(keras.optimizers.Adam(LR), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: net.fit(data.x_train, data.y_train, batch_size=batch, epochs=1, verbose=0)
