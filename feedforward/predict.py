"""Predictions of the network in a run folder for a file of examples, as the columns of a table."""

import csv
import os
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from datasets import DataError
from datasets.columns import Columns, name_list, read_arrays, read_columns
from datasets.table import EXAMPLES, Choices, fill, select_features
from feedforward.folder import CONFIG, MODEL, read_config
from nn import Model, Standardize
from nn.labels import class_indices, from_indices

__all__ = ["predict_table"]


def predict_table(run: str | os.PathLike[str], path: str | os.PathLike[str]) -> Columns:
    r"""Predict the target of every row of a file.

    Parameters
    ----------
    run : str or path-like
        The folder of one run: it holds config.json and model.safetensors.
    path : str or path-like
        A file .csv, .tsv or .parquet with the columns that the run was trained on, in any order, or .npz with an
        array x. Columns that the network does not take are ignored.

    Returns
    -------
    dict
        Arrays of shape (N,): the predictions by the name of the target. For classes, also the probability of each, by
        names such as "kind=setosa".

    Raises
    ------
    ValueError
        If it is not the folder of one run.
    datasets.DataError
        If the file does not fit: for example, a coded column holds a value that is not in the file that the run was
        trained on, or values are missing. Missing ones are replaced if the run was trained with missing="mean".

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import feedforward as ff
    >>> with TemporaryDirectory() as folder:
    ...     file, run = Path(folder) / "irises.csv", Path(folder) / "run"
    ...     _ = file.write_text("length,kind\n" + "5.1,setosa\n6.2,virginica\n" * 10)
    ...     results = ff.Experiment(dataset=file, target="kind", epochs=30).run(run, progress=False, figures=False)
    ...     predictions = ff.predict_table(run, file)
    >>> list(predictions)
    ['kind', 'kind=setosa', 'kind=virginica']
    >>> predictions["kind"][:2].tolist()
    ['setosa', 'virginica']
    """
    config = read_config(run)
    file = Path(run) / MODEL
    if not file.is_file():
        raise ValueError(f"{run} holds no {MODEL}: give the folder of one run"
                         + (", one of those in it" if config.get("runs") else ""))
    choices = _choices(Path(run) / CONFIG, config["experiment"])
    model = Model.load(file)
    return _predictions(model, read_inputs(model, path, choices), list(choices.target) or ["y"])


def _choices(path: Path, experiment: dict[str, Any]) -> Choices:
    """Return what a run was told about its file. Raises ValueError if this is no such description."""
    try:
        target, drop, one_hot = (experiment.get(name, ()) for name in ("target", "drop", "one_hot"))
        return Choices(target, drop, one_hot, experiment.get("missing"))
    except ValueError as error:
        raise ValueError(f"{path} is not the configuration of a run: {error}") from None


def read_inputs(model: Model, path: str | os.PathLike[str], choices: Choices) -> np.ndarray:
    """Return the examples of a file for a model. Raises DataError if they do not fit."""
    if Path(path).suffix.lower() == ".npz":
        arrays = read_arrays(path)
        name = next((name for name in (*EXAMPLES, "x_test") if name in arrays),
                    next(iter(arrays)) if len(arrays) == 1 else None)
        if name is None:
            raise DataError(f"{path} holds the arrays {name_list(list(arrays))}: name the examples x")
        return arrays[name].reshape(len(arrays[name]), -1) if arrays[name].ndim else arrays[name]
    columns = read_columns(path, choices.one_hot)
    names = model.feature_names or tuple(columns)
    if len(names) != model.n_in:
        raise DataError(f"{path} has {len(names)} columns, but the network takes {model.n_in} numbers, which have no "
                        "names: give just these")
    x = select_features(columns, names, choices.one_hot, choices.missing, str(path))
    missing = np.isnan(x)
    if not missing.any():
        return x
    if choices.missing is None:
        lacking = [name for name, gone in zip(names, missing.any(axis=0)) if gone]
        raise DataError(f"{path}: {missing.any(axis=1).sum()} rows lack {name_list(lacking)}: remove them, or train "
                        "with --missing mean, so that they are replaced")
    if not isinstance(model.layers[0], Standardize):
        raise DataError(f"{path}: {missing.any(axis=1).sum()} rows lack values, but the network does not know their "
                        "means: remove them")
    return fill(x, model.layers[0].mean)


def _predictions(model: Model, x: np.ndarray, names: list[str]) -> Columns:
    y = model.predict(x)
    if not model.classifies:
        names = names if len(names) == model.n_out else [f"{names[0]}{k}" for k in range(model.n_out)]
        return {name: y[:, k] for k, name in enumerate(names)}
    labels: Any = range(max(model.n_out, 2)) if model.classes is None else model.classes
    p = y if model.n_out > 1 else np.concatenate([1 - y, y], axis=1)
    probabilities = {f"{names[0]}={label}": p[:, k] for k, label in enumerate(labels)}
    return {names[0]: from_indices(class_indices(y), model.classes), **probabilities}


def write_csv(columns: Columns, file: TextIO) -> None:
    """Write columns as CSV: numbers with the digits that determine them."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() if column.dtype != np.float32 else [str(value) for value in column]
                           for column in columns.values())))
