"""The features, by the name of the function that tries them in each library, and what these functions use."""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
import pickle
import re
from typing import Any

import numpy as np

GROUPS: dict[str, dict[str, str]] = {
    "Data": {
        "pandas_frame": "x is a frame of pandas",
        "polars_frame": "x is a frame of polars",
        "column_order": "a frame with its columns in another order: refused, or put in order",
        "text_column": "a column of texts: the error names it",
        "missing_value": "a missing value (NaN): the error names its column",
        "one_example": "one example of shape (4,): predicted, or the error says what to write",
        "string_labels": "labels are texts, also the predicted ones",
        "labels_from_one": "labels are 1, 2, 3, also the predicted ones",
        "bool_labels": "labels are bools, also the predicted ones",
        "images": "images of uint8, (N, 28, 28)",
        "pixel_warning": "a warning that pixels from 0 to 255 are not scaled",
        "batches": "batches from a generator or loader",
        "validation_split": "a share of the data for validation",
        "command": "train on a CSV file and predict from one by two commands",
    },
    "Weights": {
        "sample_weight": "weights of examples",
        "class_weight": "weights of classes",
        "balanced": "balanced weights of classes",
        "second_order_weights": "weights of examples in a second-order method",
    },
    "Training": {
        "frozen_layer": "a layer that is not trained",
        "standardize": "the standardization of x in the model's file",
        "early_stopping": "early stopping with the best weights",
        "lbfgs": "L-BFGS",
        "newton": "Newton's method",
        "levenberg_marquardt": "Levenberg-Marquardt",
        "lr_finder": "a learning rate finder",
        "several_optimizers": "a comparison of optimizers by one call",
        "search": "a search of hyperparameters with Optuna by one call",
        "configuration": "settings from a TOML file",
    },
    "Watching": {
        "metric": "scikit-learn's f1_score after each epoch",
        "gradient_norms": "norms of gradients in the history",
        "tensorboard": "TensorBoard",
    },
    "Reproducibility and files": {
        "same_bytes": "one seed trains the same bytes",
        "resume": "an exact resume in the middle of an epoch",
        "repeat": "repeat a run from its folder and compare the bytes",
        "safe_file": "model files that run no code",
        "damaged_file": "a damaged byte of a model file is noticed",
    },
    "Other libraries": {
        "pipeline": "in a Pipeline of scikit-learn",
        "grid_search": "in GridSearchCV",
        "estimator_checks": "passes scikit-learn's checks of estimators",
        "onnx_export": "write ONNX",
        "onnx_classes": "standardization and names of classes in the ONNX graph",
        "onnx_import": "read ONNX",
    },
    "Outside our scope": {
        "convolution": "convolutions",
        "autodiff": "a user's own activation without its derivative",
        "sparse": "x is a sparse matrix",
    },
}
FEATURES = {name: label for group in GROUPS.values() for name, label in group.items()}
LIBRARIES = {"feedforward": "in_feedforward", "Keras": "in_keras", "scikit-learn": "in_sklearn", "skorch": "in_skorch",
             "PyTorch": "in_torch"}

COLUMNS = ["length", "width", "height", "weight"]
ORDER = [*COLUMNS[1:], COLUMNS[0]]  # another one
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
TEXTS = np.array(["daisy", "rose", "tulip"])[Y]
IMAGES = RNG.integers(0, 256, (120, 28, 28), dtype=np.uint8)
HALF = np.arange(120) < 60
NOISY = np.where(HALF, Y, (Y + 1) % 3)  # the labels of the second half are wrong
WEIGHTS = HALF.astype(np.float32)


def frame() -> Any:
    """Return the examples as a frame of pandas."""
    import pandas  # type: ignore[import-untyped]

    return pandas.DataFrame(X, columns=COLUMNS)


class Absent(Exception):
    """The library has no function for the feature."""


class Wrong(Exception):
    """The library does something else, without an error."""


def check(condition: Any, otherwise: str) -> None:
    """Raise Wrong with this message unless the condition holds."""
    if not condition:
        raise Wrong(otherwise)


def check_learned(predicted: Any, target: Any = Y, least: float = 0.8) -> None:
    """Raise Wrong unless most predictions are right."""
    accuracy = np.mean(np.asarray(predicted) == np.asarray(target))
    check(accuracy >= least, f"trains without an error, but the accuracy is {accuracy:.2f}")


def check_refused(call: Callable[[], object], words: str, otherwise: str) -> None:
    """Raise Wrong unless the call raises an error whose message has these words, a regular expression."""
    try:
        call()
    except Exception as error:
        if not re.search(words, str(error)):
            raise
    else:
        raise Wrong(otherwise)


def without(call: Callable[[], object]) -> str:
    """Return the error that this call raises."""
    try:
        call()
    except Exception as error:
        return f"without this code, `{type(error).__name__}: {str(error).splitlines()[0][:120]}`"
    raise TypeError("it works without the user's own code")


def nothing_named(words: str, *places: object) -> None:
    """Raise Absent, or TypeError if one of these modules or objects now has such a name: a regular expression."""
    for place in places:
        found = [name for name in dir(place) if name[0] != "_" and re.search(words, name, re.IGNORECASE)]
        if found:
            raise TypeError(f"{place} has {', '.join(found)}: try it")
    names = ", ".join(getattr(place, "__name__", type(place).__name__) for place in places)
    raise Absent(f"no such function in {names}")


def no_command(distribution: str, remark: str = "") -> None:
    """Raise Absent with the commands that a library installs, and a remark."""
    commands = [entry.name for entry in metadata.distribution(distribution).entry_points
                if entry.group == "console_scripts"]
    raise Absent(f"its commands: {', '.join(commands) or 'none'}{remark}")


def check_safe(load: Callable[[str], object], path: str) -> None:
    """Raise Wrong if `load` executes a pickle that is given to it in place of a model's file."""
    Path(path).write_bytes(pickle.dumps(Executed()))
    try:
        load(path)
    except Exception as error:
        refusal = str(error)
    else:
        refusal = ""
    check(not Path("executed").exists(), f"executes code in the file {refusal}".strip())


class Executed:
    """Its pickle makes a folder when it is loaded."""

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, ("executed",)


def check_damage(path: str, load: Callable[[], np.ndarray]) -> None:
    """Raise Wrong if a file with one changed byte loads with other predictions."""
    right, content = load(), Path(path).read_bytes()
    for i in np.linspace(0, len(content) - 1, 200).astype(int):
        changed = bytearray(content)
        changed[i] ^= 64
        Path(path).write_bytes(changed)
        try:
            loaded = load()
        except Exception:
            continue
        check(np.array_equal(loaded, right), f"byte {i} of {len(content)} changed: loads, and predicts something else")
