"""Model files: the description and the parameters of a model in an archive."""

from collections.abc import Mapping, Sequence
import os
from typing import Any, NamedTuple

import numpy as np

from nn import archive
from nn.activations import Sigmoid, Softmax
from nn.arrays import Shapes, size, views
from nn.fields import lookup
from nn.labels import Label
from nn.layers import Layer
from nn.losses import Loss
from nn.registry import build_layer, build_loss, describe, is_registered

FORMAT = 4  # the format of the description
READABLE = (1, 2, 3, 4)  # the formats that can be read; in format 1 the loss is a class name without fields
CHECKED = 3  # the first format with a checksum
MAX_HEADER = 1 << 22  # bytes: about 40,000 layers
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
    constants : ndarray of shape (C,)
        The arrays of the layers that are not trained.
    classes : tuple or None
        The label of each class, if they are not 0 to K - 1.
    feature_names : tuple of str or None
        The names of the columns of x.
    """

    layers: Sequence[Layer]
    loss: Loss
    seed: int
    dtype: str
    theta: np.ndarray
    constants: np.ndarray
    classes: tuple[Label, ...] | None = None
    feature_names: tuple[str, ...] | None = None

    @property
    def classifies(self) -> bool:
        """Whether the outputs stand for classes: the loss is not a regression, or the model ends in probabilities."""
        return not self.loss.is_regression or isinstance(self.layers[-1], (Sigmoid, Softmax))

    def description(self) -> dict[str, Any]:
        """Return everything but the numbers in theta and constants.

        Returns
        -------
        dict
            A dict for JSON: layers, loss, dtype and seed, and the classes and names if there are some.
        """
        names = {"classes": self.classes, "feature_names": self.feature_names}
        return {"layers": [describe(layer) for layer in self.layers], "loss": describe(self.loss),
                "dtype": self.dtype, "seed": self.seed,
                **{name: list(values) for name, values in names.items() if values is not None}}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by its name in the file, such as "0.W" for the W of layer 0, in the order of the layers.

        Returns
        -------
        dict
            Views into theta and constants.
        """
        by_name = {**views(self.theta, _named(self.layers, "shapes")),
                   **views(self.constants, _named(self.layers, "constants"))}
        return {name: by_name[name] for name in named_shapes(self.layers)}


def _named(layers: Sequence[Layer], *methods: str) -> Shapes:
    """Return the shapes that these methods of each layer return, by the index of the layer and the name."""
    return {f"{i}.{name}": shape for i, layer in enumerate(layers) for method in methods
            for name, shape in getattr(layer, method)().items()}


def named_shapes(layers: Sequence[Layer]) -> Shapes:
    """Return the shape of every array of the layers by its name in the file, in the order of the layers."""
    return _named(layers, "shapes", "constants")


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
    check_writable(path, components)
    try:
        archive.write(path, {"format": FORMAT, **components.description()}, components.arrays(), max_header=MAX_HEADER)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a field of a layer or of the loss cannot be written ({error}): {path} was not written; use "
                         "finite numbers, texts, bool and lists of them") from None


def check_writable(path: str | os.PathLike[str], components: Components) -> None:
    """Raise ValueError if the weights are not finite, or a class is not registered."""
    if not (np.isfinite(components.theta).all() and np.isfinite(components.constants).all()):
        raise ValueError(f"the model's weights hold NaN or infinity: {path} was not written")
    for i, layer in enumerate(components.layers):
        _check_registered(f"layer {i}", layer, path)
    _check_registered("the loss", components.loss, path)


def _check_registered(what: str, described: Layer | Loss, path: str | os.PathLike[str]) -> None:
    if not is_registered(described):
        name = type(described).__name__
        raise ValueError(f"{what} ({described}) is of a class that is not registered, so no file may name it: {path} "
                         f"was not written; call nn.register({name}) first")


def read(path: str | os.PathLike[str]) -> Components:
    """Return the components of the model that `write` wrote. Call it within `archive.one_line_errors`.

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
        If it is not such a file. Many other errors are possible, which `one_line_errors` turns into an InvalidFile.
    """
    described, arrays, has_checksum = archive.read(path, MAX_HEADER)
    if "checkpoint" in described:
        raise ValueError("it is the checkpoint of a training: use Checkpoint(path).restore(model, optimizer)")
    archive.check_format(described["format"], READABLE)
    if described["format"] >= CHECKED and not has_checksum:
        raise ValueError("it has no checksum")
    if described["format"] == 1:
        described["loss"] = {"loss": described["loss"]}
    return build(described, arrays)


def build(described: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Components:
    """Return the components of a description and of arrays by name. Call it within `archive.one_line_errors`.

    Parameters
    ----------
    described : mapping
        What `Components.description` returned, from a file.
    arrays : mapping
        The arrays by name.

    Returns
    -------
    Components
        The components.

    Raises
    ------
    ValueError
        If they are not those of a model. Many other errors are possible.
    """
    layers = [build_layer(description) for description in described["layers"]]
    loss = build_loss(described["loss"])
    dtype = np.dtype(lookup("dtype", described["dtype"], DTYPES))
    classes, names = described.get("classes"), described.get("feature_names")
    return Components(layers, loss, described["seed"], dtype.name, *join_arrays(arrays, layers, dtype),
                      None if classes is None else tuple(classes), None if names is None else tuple(names))


def join_arrays(arrays: Mapping[str, np.ndarray], layers: Sequence[Layer],
                dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return theta (P,) and constants (C,). Raises ValueError unless the arrays have exactly these names and shapes."""
    shapes, found = named_shapes(layers), {name: array.shape for name, array in arrays.items()}
    if shapes != found:
        raise ValueError(f"its layers need {_brief(shapes)}, but it holds {_brief(found)}")
    vectors = []
    for part in (_named(layers, "shapes"), _named(layers, "constants")):
        vectors.append(np.empty(size(part), dtype))
        for name, view in views(vectors[-1], part).items():
            if arrays[name].dtype != dtype:
                raise ValueError(f"its {name} is {arrays[name].dtype}, not {dtype} as it says")
            view[...] = arrays[name]
        if not np.isfinite(vectors[-1]).all():
            raise ValueError("its parameters hold NaN or infinity")
    theta, constants = vectors
    return theta, constants


def _brief(shapes: Shapes) -> str:
    text = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:6])
    return f"{text or 'nothing'}{', ...' if len(shapes) > 6 else ''} ({size(shapes):,} numbers)"
