"""The digits inside the package are the ones we know, split as we say; and the table of datasets loads by name."""

import hashlib
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

import datasets
from datasets import DATASETS, DataError, load
from datasets.digits import DATA

SHA256 = {
    "digits-images-idx3-ubyte.gz": "c41c947a1014aa9bb82e371b01f16724f9ef929893351173edcc47aa0fc03930",
    "digits-labels-idx1-ubyte.gz": "147c9192405199869317e6d9c62ea444f9770c3f8c6dd65035ba3a3690cc5460",
}


@pytest.mark.parametrize("name", SHA256)
def test_files(name: str) -> None:
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == SHA256[name]


def test_shapes_types_and_range() -> None:
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


def test_needs_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits ship with the package and need no data_dir"):
        load("digits", data_dir=tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_table_says_a_line_of_each(name: str) -> None:
    entry = DATASETS[name]
    for text in (entry.examples, entry.source):
        assert text
        assert "\n" not in text
    assert entry.load.__doc__


@pytest.mark.parametrize(
    ("name", "hint"), [("minst", "'mnist'"), ("Digits", "'digits'"), ("fashion_mnist", "'fashion-mnist'")]
)
def test_unknown_name_suggests_a_close_one(name: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        load(name)
    assert f"did you mean {hint}?" in str(caught.value)
    assert all(choice in str(caught.value) for choice in DATASETS)


def test_unknown_name_far_from_all() -> None:
    with pytest.raises(DataError, match="no dataset is called 'imagenet': choose from mnist, fashion-mnist, digits"):
        load("imagenet")


def test_import_is_light_and_alone() -> None:
    """Neither what only a download needs, nor the other packages of this project."""
    program = (
        "import sys, datasets; datasets.load('digits')\n"
        "heavy = {'pooch', 'requests', 'tqdm', 'platformdirs', 'nn', 'optimizers', 'train'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    root = Path(datasets.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
