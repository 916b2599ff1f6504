"""Model files: a description and a vector of parameters in one safetensors file, never pickle."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nn.arrays import Shapes, size, views
from nn.fields import lookup
from nn.files import write_atomically
from nn.layers import Layer
from nn.losses import Loss
from nn.registry import build_layer, build_loss, describe, is_registered

FORMAT = 2  # the format of the description, which is the entry "feedforward" of the file's metadata
READABLE = (1, 2)  # the formats that can be read; in format 1 the loss is a class name without fields
DTYPES = {"float32": np.float32, "float64": np.float64}


class Components(NamedTuple):
    """The components of a model.

    Parameters
    ----------
    layers : sequence of Layer
        The layers in order.
    loss : Loss
        The loss.
    seed : int
        The seed.
    dtype : {"float32", "float64"}
        The dtype of the model.
    theta : ndarray of shape (P,)
        The parameters.
    """

    layers: Sequence[Layer]
    loss: Loss
    seed: int
    dtype: str
    theta: np.ndarray

    def description(self) -> dict[str, Any]:
        """Return everything but theta.

        Returns
        -------
        dict
            A dict for JSON: layers, loss, dtype and seed.
        """
        return {"layers": [describe(layer) for layer in self.layers], "loss": describe(self.loss),
                "dtype": self.dtype, "seed": self.seed}


def named_shapes(layers: Sequence[Layer]) -> Shapes:
    """Return the shape of every parameter by its name in the file, "0.W" for the W of layer 0, in theta's order."""
    return {f"{i}.{name}": shape for i, layer in enumerate(layers) for name, shape in layer.shapes().items()}


def write(path: str | os.PathLike[str], components: Components) -> None:
    """Write the components of a model to a file, completely or not at all.

    Parameters
    ----------
    path : str or path-like
        The file.
    components : Components
        The components to write.

    Raises
    ------
    ValueError
        If the weights are not finite, or a class is not registered. Then nothing is written.
    OSError
        If the file cannot be written.
    """
    if not np.isfinite(components.theta).all():
        raise ValueError(f"the model's weights hold NaN or infinity: {path} was not written")
    for i, layer in enumerate(components.layers):
        _check_registered(f"layer {i}", layer, path)
    _check_registered("the loss", components.loss, path)
    from safetensors.numpy import save

    try:
        description = json.dumps({"format": FORMAT, **components.description()})
    except TypeError as error:
        raise ValueError(f"a field of a layer or of the loss cannot be written ({error}): {path} was not written; use "
                         "numbers, texts, bool and lists of them") from None
    data = save(views(components.theta, named_shapes(components.layers)), {"feedforward": description})
    write_atomically(path, lambda file: file.write(data))


def _check_registered(what: str, described: Layer | Loss, path: str | os.PathLike[str]) -> None:
    if not is_registered(described):
        name = type(described).__name__
        raise ValueError(f"{what} ({described}) is of a class that is not registered, so no file may name it: {path} "
                         f"was not written; call nn.register({name}) first")


@contextmanager
def one_line_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the errors that an invalid file causes into a ValueError of one line.

    Parameters
    ----------
    path : str or path-like
        The file, which the message names.

    Raises
    ------
    ValueError
        Instead of the errors within the context, except OSError.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not a model that can be loaded: {reason}") from None


def read(path: str | os.PathLike[str]) -> Components:
    """Return the components of the model that `write` wrote. Call it within `one_line_errors`.

    Nothing in the file is executed, and no memory is allocated for parameters that the file does not hold.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Components
        The content of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file. Many other errors are possible, which `one_line_errors` turns into a ValueError.
    """
    from safetensors import safe_open

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the .safetensors file in it")
    path.open("rb").close()  # raises an OSError that names the path; safetensors' own does not
    with safe_open(path, "numpy") as file:
        metadata = file.metadata() or {}
        if "feedforward" not in metadata:
            raise ValueError("it holds tensors, but no description of a model")
        described = json.loads(metadata["feedforward"])
        if described["format"] not in READABLE:
            raise ValueError(f"its format is {described['format']!r}, and this version reads "
                             f"{' and '.join(map(str, READABLE))}")
        layers = [build_layer(description) for description in described["layers"]]
        loss = build_loss({"loss": described["loss"]} if described["format"] == 1 else described["loss"])
        dtype = np.dtype(lookup("dtype", described["dtype"], DTYPES))
        theta = _read_parameters(file, named_shapes(layers), dtype)
    return Components(layers, loss, described["seed"], dtype.name, theta)


def _read_parameters(file: Any, shapes: Shapes, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the parameters (P,) of an open file, which must hold arrays of exactly these names and shapes."""
    found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    if shapes != found:
        raise ValueError(f"its layers need {_brief(shapes)}, but it holds {_brief(found)}")
    theta = np.empty(size(shapes), dtype)
    for name, view in views(theta, shapes).items():
        if file.get_slice(name).get_dtype() != f"F{8 * dtype.itemsize}":
            raise ValueError(f"its {name} is {file.get_slice(name).get_dtype()}, not {dtype} as it says")
        view[...] = file.get_tensor(name)
    if not np.isfinite(theta).all():
        raise ValueError("its parameters hold NaN or infinity")
    return theta


def _brief(shapes: Shapes) -> str:
    text = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:6])
    return f"{text or 'nothing'}{', ...' if len(shapes) > 6 else ''} ({size(shapes):,} numbers)"
