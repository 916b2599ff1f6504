"""A model on disk: one safetensors file, never pickle, and layers rebuilt from an allow-list of names."""

from collections.abc import Sequence
from dataclasses import fields
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.activations import ACTIVATIONS
from nn.buffers import Array
from nn.files import write_whole
from nn.layers import Dense, Dropout, Layer
from nn.losses import LOSSES, Loss
from nn.names import choose
from nn.parameters import Shapes, size, views

if TYPE_CHECKING:
    from nn.model import Model

FORMAT = 1  # of the description, which is the one entry "feedforward" of the file's metadata
KINDS: tuple[type[Layer], ...] = (Dense, Dropout, *ACTIVATIONS.values())
LAYERS = {kind.__name__: kind for kind in KINDS}


def describe(model: "Model") -> dict[str, Any]:
    """All that rebuilds a model but for its parameters, as JSON holds it."""
    layers = [{"layer": type(layer).__name__, **layer.description()} for layer in model.layers]
    return {"layers": layers, "loss": type(model.loss).__name__, "dtype": model.dtype.name, "seed": model.seed}


def shapes(layers: Sequence[Layer]) -> Shapes:
    """Every parameter of the layers by the name it has in the file, "0.W" for the W of layer 0, in theta's order."""
    return {f"{i}.{name}": shape for i, layer in enumerate(layers) for name, shape in layer.shapes().items()}


def save(model: "Model", path: str | os.PathLike[str]) -> None:
    """Write the model to `path`, whole or not at all. Raises OSError; ValueError for weights that are not finite."""
    if not np.isfinite(model.theta).all():
        raise ValueError(f"the model's weights hold NaN or infinity: {path} was not written")
    for i, layer in enumerate(model.layers):
        if type(layer) not in KINDS:
            raise ValueError(f"layer {i} ({layer}) is none of {', '.join(LAYERS)}, so that nothing could load it: "
                             f"{path} was not written; keep model.theta yourself, with numpy.save")
    from safetensors.numpy import save as serialize

    tensors = views(model.theta, shapes(model.layers))
    data = serialize(tensors, {"feedforward": json.dumps({"format": FORMAT, **describe(model)})})
    write_whole(path, lambda file: file.write(data))


def load(path: str | os.PathLike[str]) -> "Model":
    """The model that `save` wrote to `path`.

    Nothing in the file is run, and nothing is allocated for parameters that the file does not hold. Raises ValueError,
    in one line that names the file, for anything that is not such a model; OSError where it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the .safetensors file in it")
    path.open("rb").close()  # an OSError that names the path, where safetensors' own would not
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if "feedforward" not in metadata:
                raise ValueError("it holds tensors, but no description of a model")
            described = json.loads(metadata["feedforward"])
            if described["format"] != FORMAT:
                raise ValueError(f"its format is {described['format']!r}, and this version reads {FORMAT}")
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            layers = [_layer(fields_) for fields_ in described["layers"]]
            if shapes(layers) != held:
                raise ValueError(f"its layers call for {_brief(shapes(layers))}, but it holds {_brief(held)}")
            model = _model(layers, described)
            for name, view in views(model.theta, shapes(model.layers)).items():
                if file.get_slice(name).get_dtype() != f"F{8 * model.dtype.itemsize}":
                    raise ValueError(f"its {name} is {file.get_slice(name).get_dtype()}, not {model.dtype} as it says")
                view[...] = file.get_tensor(name)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not a model that can be loaded: {reason}") from None
    if not np.isfinite(model.theta).all():
        raise ValueError(f"{path} is not a model that can be loaded: its parameters hold NaN or infinity")
    return model


def _model(layers: Sequence[Layer], described: dict[str, Any]) -> "Model":
    from nn.model import Model

    return Model(layers, choose("loss", described["loss"], LOSSES)(), seed=described["seed"], dtype=described["dtype"])


def rebuild(layers: Sequence[tuple[type[Layer], dict[str, Any]]], loss: type[Loss], seed: int, dtype: str,
            theta: Array) -> "Model":
    """The model with layers of these classes and fields, and these parameters (P,)."""
    from nn.model import Model

    model = Model([kind(**described) for kind, described in layers], loss(), seed, dtype)
    model.theta = theta
    return model


def _layer(described: dict[str, Any]) -> Layer:
    arguments = dict(described)
    kind: type[Layer] = choose("layer", arguments.pop("layer"), LAYERS)
    known = [spec.name for spec in fields(kind) if spec.init]
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}: its fields are {', '.join(known) or 'none'}")
    return kind(**arguments)


def _brief(named: Shapes) -> str:
    text = ", ".join(f"{name} {list(shape)}" for name, shape in list(named.items())[:6])
    return f"{text or 'nothing'}{', ...' if len(named) > 6 else ''} ({size(named):,} numbers)"
