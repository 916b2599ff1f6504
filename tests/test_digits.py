"""The digits are the published ones, split as documented. Datasets load by name, and unknown names are errors."""

from collections.abc import Callable
import hashlib
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

import datasets
from datasets import DATASETS, DataError, load, missing_files
from datasets.digits import DATA_FOLDER

SHA256 = {
    "digits-images-idx3-ubyte.gz": "c41c947a1014aa9bb82e371b01f16724f9ef929893351173edcc47aa0fc03930",
    "digits-labels-idx1-ubyte.gz": "147c9192405199869317e6d9c62ea444f9770c3f8c6dd65035ba3a3690cc5460",
}


@pytest.mark.parametrize("name", SHA256)
def test_sha256_of_files(name: str) -> None:
    assert hashlib.sha256((DATA_FOLDER / name).read_bytes()).hexdigest() == SHA256[name]


def test_shapes_types_and_ranges() -> None:
    data = load("digits")
    assert data.name == "digits"
    assert data.image_shape == (8, 8)
    assert data.classes == tuple("0123456789")
    assert data.x_train.shape == (1437, 64)
    assert data.y_train.shape == (1437,)
    assert data.x_test.shape == (360, 64)
    assert data.y_test.shape == (360,)
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert x.dtype == np.float32
        assert x.min() == 0
        assert x.max() == 1
        assert x.flags.c_contiguous
        assert y.dtype == np.int64
        assert set(y.tolist()) == set(range(10))
    assert np.array_equal(data.x_train * 16, np.rint(data.x_train * 16))
    assert data.y_train[:10].tolist() == list(range(10))


@pytest.mark.parametrize("function", [load, missing_files])
def test_data_dir_is_an_error(function: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits ship with the package and need no data_dir"):
        function("digits", data_dir=tmp_path)


def test_digits_have_no_missing_files() -> None:
    assert missing_files("digits") == []


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_has_one_line_texts_and_a_docstring(name: str) -> None:
    entry = DATASETS[name]
    for text in (entry.examples, entry.source):
        assert text
        assert "\n" not in text
    assert entry.load.__doc__


@pytest.mark.parametrize("function", [load, missing_files])
@pytest.mark.parametrize(
    ("name", "hint"), [("minst", "'mnist'"), ("Digits", "'digits'"), ("fashion_mnist", "'fashion-mnist'")]
)
def test_unknown_name_suggests_a_similar_one(function: Callable[[str], object], name: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        function(name)
    assert f"did you mean {hint}?" in str(caught.value)
    assert all(choice in str(caught.value) for choice in DATASETS)


@pytest.mark.parametrize("function", [load, missing_files])
def test_unknown_name_lists_the_choices(function: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match="no dataset is called 'imagenet': choose from mnist, fashion-mnist, digits; "):
        function("imagenet")


def test_import_loads_only_numpy() -> None:
    """Importing datasets loads neither the libraries for downloads nor the project's other packages."""
    program = (
        "import sys, datasets; datasets.load('digits'); datasets.missing_files('digits')\n"
        "heavy = {'pooch', 'requests', 'tqdm', 'platformdirs', 'nn', 'optimizers', 'feedforward', 'train'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    root = Path(datasets.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
