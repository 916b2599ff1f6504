"""MNIST is found, verified and fetched, and every mirror that misbehaves leaves nothing but a sentence behind."""

from collections.abc import Callable, Iterator
import dataclasses
import gzip
import hashlib
import logging
import os
from pathlib import Path
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import tracemalloc

from loopback import Loopback, serve
import numpy as np
import pytest

import datasets
from datasets import DataError, load, mnist
from datasets.mnist import NAMES, SOURCES, File, Source

REAL = dict(SOURCES)
Mirrors = Callable[..., tuple[str, ...]]


def packed(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def miniature(seed: int) -> dict[str, bytes]:
    """The four files of a dataset like MNIST with 40 + 20 images of 30 x 20, noise, so that they stay large packed."""
    rng = np.random.default_rng(seed)
    contents = []
    for n in (40, 20):
        contents += [rng.integers(0, 256, (n, 30, 20)), (np.arange(n) + seed) % 10]
    return {name: packed(content) for name, content in zip(NAMES, contents, strict=True)}


def described(files: dict[str, bytes]) -> dict[str, File]:
    return {name: File(len(body), hashlib.sha256(body).hexdigest()) for name, body in files.items()}


MNIST, FASHION = miniature(0), miniature(1)
IMAGES = NAMES[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serve(MNIST) as loopback:
        yield loopback


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch, server: Loopback, tmp_path: Path) -> None:
    """Miniatures for the real sources, no mirror but on loopback, no cache but a temporary one."""
    server.requests.clear()
    for name, files in (("mnist", MNIST), ("fashion-mnist", FASHION)):
        source = dataclasses.replace(REAL[name], mirrors=(server.mirror("good"),), files=described(files))
        monkeypatch.setitem(SOURCES, name, source)
        monkeypatch.delenv(source.variable, raising=False)
    monkeypatch.setattr(mnist, "PATIENCE", 1.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch, server: Loopback) -> Mirrors:
    """Let mnist have these mirrors: Mirrors, each a kind that the server plays or an address."""

    def use(*kinds: str) -> tuple[str, ...]:
        addresses = tuple(kind if "://" in kind else server.mirror(kind) for kind in kinds)
        monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], mirrors=addresses))
        return addresses

    return use


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that has the four files."""
    return fill(tmp_path / "folder", MNIST)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refusal(data_dir: Path, name: str = "mnist") -> str:
    """The one line with which a dataset is refused."""
    with pytest.raises(DataError) as caught:
        load(name, data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files that are there


def test_loads(folder: Path) -> None:
    data = load("mnist", folder)
    assert data.name == "mnist"
    assert data.image_shape == (30, 20)
    assert len(data.classes) == 10
    assert data.x_train.shape == (40, 600)
    assert data.y_train.shape == (40,)
    assert data.x_test.shape == (20, 600)
    assert data.y_test.shape == (20,)
    assert data.x_train.dtype == np.float32
    assert data.x_train.min() == 0
    assert data.x_train.max() == 1
    assert data.y_train.dtype == np.int64
    assert data.y_test.tolist() == [*range(10), *range(10)]
    assert len(repr(data)) < 200


def test_verified_files_are_not_asked_for(folder: Path, server: Loopback) -> None:
    load("mnist", folder)
    assert not server.requests


def test_verified_files_need_nothing_to_download_with(folder: Path) -> None:
    program = CHILD + "print({'pooch', 'requests', 'tqdm', 'platformdirs'} & set(sys.modules))"
    assert child(program, folder).communicate()[0].split() == ["40", "set()"]


def test_read_only_folder(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        before = folder.stat().st_mtime_ns
        load("mnist", folder)
        assert folder.stat().st_mtime_ns == before, "nothing was made in it, even for a moment"
    finally:
        folder.chmod(0o755)


def test_data_dir_goes_before_the_environment(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "environment"))
    load("mnist", folder)
    assert not (tmp_path / "environment").exists()


def test_environment_goes_before_the_cache(folder: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(folder))
    load("mnist")
    assert not server.requests


def test_each_dataset_has_its_own_variable_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "nowhere"))
    fashion = fill(tmp_path / "fashion", FASHION)
    monkeypatch.setenv("FASHION_MNIST_DIR", str(fashion))
    data = load("fashion-mnist")
    assert data.name == "fashion-mnist"
    assert data.classes[9] == "Ankle boot"


@pytest.mark.skipif(sys.platform != "linux", reason="the cache is elsewhere")
def test_cache(tmp_path: Path) -> None:
    load("mnist")
    assert contents(tmp_path / "cache" / "feedforward" / "mnist") == MNIST


def test_labels_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for labels, message in ((np.arange(39) % 10, "expected 40 labels"), (np.arange(40), "expected labels in 0..9")):
        files = MNIST | {NAMES[1]: packed(labels)}
        monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], files=described(files)))
        assert message in refusal(fill(tmp_path / str(len(labels)), files))


def test_images_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = MNIST | {IMAGES: MNIST[NAMES[1]]}
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], files=described(files)))
    assert "expected images of uint8" in refusal(fill(tmp_path / "folder", files))


# Files that are fetched


def test_download(tmp_path: Path, server: Loopback, capfd: pytest.CaptureFixture[str]) -> None:
    load("mnist", tmp_path / "new" / "folder")
    assert contents(tmp_path / "new" / "folder") == MNIST
    assert server.requests == {"good": 4}
    assert capfd.readouterr() == ("", ""), "neither pooch's log nor a progress bar where nobody sees it"
    assert stat.S_IMODE((tmp_path / "new" / "folder" / IMAGES).stat().st_mode) == 0o644


def test_logging_is_left_as_it_was(tmp_path: Path) -> None:
    import pooch

    level, root = pooch.get_logger().level, logging.getLogger().level
    load("mnist", tmp_path)
    assert (pooch.get_logger().level, logging.getLogger().level) == (level, root)


def test_progress_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    load("mnist", tmp_path)
    assert IMAGES in capsys.readouterr().err


def test_only_what_is_missing_is_fetched(folder: Path, server: Loopback) -> None:
    (folder / IMAGES).unlink()
    load("mnist", folder)
    assert server.requests == {"good": 1}
    assert contents(folder) == MNIST


def test_slow_mirror_may_take_its_time(folder: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "PATIENCE", 0.5)
    (folder / IMAGES).unlink()
    mirrors("slow")
    start = time.monotonic()
    load("mnist", folder)
    assert time.monotonic() - start > mnist.PATIENCE


REFUSALS = {
    "html": "it sent another file, by its sha256",
    "half": "IncompleteRead",
    "short": "it sent another file, by its sha256",
    "403": "HTTP 403",
    "404": "HTTP 404",
    "500": "HTTP 500",
    "silence": "silent for",
    "stall": "silent for",
    "http://127.0.0.1:9/": "Connection refused",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_bad_mirror_leaves_nothing_behind(tmp_path: Path, mirrors: Mirrors, kind: str) -> None:
    (address,) = mirrors(kind)
    message = refusal(tmp_path)
    assert contents(tmp_path) == {}
    assert f"{address} ({REFUSALS[kind]}" in message
    assert len(message) < 600
    assert str(tmp_path) in message
    assert "--data-dir or MNIST_DIR" in message


@pytest.mark.parametrize("kind", REFUSALS)
def test_good_mirror_after_a_bad_one(tmp_path: Path, mirrors: Mirrors, server: Loopback, kind: str) -> None:
    mirrors(kind, "good")
    load("mnist", tmp_path)
    assert contents(tmp_path) == MNIST
    assert server.requests[kind] <= 1, "a mirror that failed is asked last from then on"


def test_first_file_that_cannot_be_had_ends_it(tmp_path: Path, mirrors: Mirrors, server: Loopback) -> None:
    first, second = mirrors("403", "500")
    message = refusal(tmp_path)
    assert server.requests == {"403": 1, "500": 1}
    assert f"{first} (HTTP 403), {second} (HTTP 500)" in message


def test_silence_everywhere_ends_in_time(tmp_path: Path, mirrors: Mirrors) -> None:
    """PATIENCE is for all mirrors together; at its real value of 10 s, the whole stays within 12 s."""
    mirrors("silence", "stall", "silence")
    start = time.monotonic()
    refusal(tmp_path)
    assert time.monotonic() - start < mnist.PATIENCE + 1
    assert contents(tmp_path) == {}


def test_search_for_an_address_that_hangs(tmp_path: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    mirrors("http://mirror.invalid/", "http://other.invalid/")
    start = time.monotonic()
    message = refusal(tmp_path)
    took = time.monotonic() - start
    over.set()
    assert took < mnist.PATIENCE + 1
    assert "http://other.invalid/ (silent for 0.5 s)" in message
    assert contents(tmp_path) == {}


def test_name_that_nobody_knows(tmp_path: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    mirrors("http://mirror.invalid/")
    assert "http://mirror.invalid/ (Name or service not known)" in refusal(tmp_path)


# Files that are not what they should be


def test_damaged_file_is_fetched_again(folder: Path, server: Loopback) -> None:
    (folder / IMAGES).write_bytes(b"damaged")
    load("mnist", folder)
    assert contents(folder) == MNIST
    assert server.requests == {"good": 1}


def test_damaged_file_stays_until_there_is_a_better_one(folder: Path, mirrors: Mirrors, server: Loopback) -> None:
    (folder / IMAGES).write_bytes(b"damaged")
    address, _ = mirrors("html", "half")
    message = refusal(folder)
    assert contents(folder) == MNIST | {IMAGES: b"damaged"}
    assert message.startswith(f"{folder / IMAGES}: expected sha256 {SOURCES['mnist'].files[IMAGES].sha256}")
    assert f"found {hashlib.sha256(b'damaged').hexdigest()}" in message
    assert f"Put {address}{IMAGES} into {folder} by hand" in message
    assert server.requests == {"html": 1, "half": 1}


@pytest.mark.parametrize(("wanted", "other"), [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")])
def test_files_of_the_other_dataset_are_left_alone(tmp_path: Path, server: Loopback, wanted: str, other: str) -> None:
    files = {"mnist": MNIST, "fashion-mnist": FASHION}[other]
    some = {name: files[name] for name in NAMES[2:]}
    folder = fill(tmp_path / "folder", some)
    message = refusal(folder, wanted)
    assert f"expected a file of {wanted}, found one of {other}; name another folder" in message
    assert contents(folder) == some
    assert not server.requests


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    message = refusal(tmp_path / "file" / "folder")
    assert "Not a directory" in message
    assert str(tmp_path / "file") in message


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write anywhere")
    for folder in (tmp_path, tmp_path / "new"):
        message = refusal(folder)
        assert message.startswith(f"{folder}: expected a folder to download into, found: Permission denied")
        assert "name another folder with --data-dir or MNIST_DIR" in message


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_folder_that_nobody_can_write(tmp_path: Path) -> None:
    message = refusal(Path("/proc/self/mnist"))
    assert message.startswith("/proc/self/mnist: expected a folder to download into, found: ")


def test_folder_where_a_file_should_be(folder: Path) -> None:
    (folder / IMAGES).unlink()
    (folder / IMAGES).mkdir()
    assert refusal(folder).startswith(f"{folder / IMAGES}: expected a readable file, found: Is a directory")


# Many at once

CHILD = """
import dataclasses, sys
from datasets import load, mnist
folder, mirror, *files = sys.argv[1:]
files = {name: mnist.File(0, sha256) for name, sha256 in (file.split("=") for file in files)}
mnist.SOURCES["mnist"] = dataclasses.replace(mnist.SOURCES["mnist"], mirrors=(mirror,), files=files)
sys.stdin.readline()
print(len(load("mnist", folder).x_train))
"""


def child(program: str, folder: Path, mirror: str = "http://127.0.0.1:9/") -> "subprocess.Popen[str]":
    """Another Python, which loads mnist from the folder once it is sent a line."""
    files = [f"{name}={file.sha256}" for name, file in SOURCES["mnist"].files.items()]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(folder), mirror, *files],
        cwd=Path(datasets.__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_sixteen_processes_at_once(tmp_path: Path, server: Loopback) -> None:
    program = "import pooch, requests, tqdm" + CHILD
    children = [child(program, tmp_path / "folder", server.mirror("good")) for _ in range(16)]
    assert [process.communicate("go\n")[0] for process in children] == ["40\n"] * 16
    assert contents(tmp_path / "folder") == MNIST


# The real thing

MNIST_DIR = os.environ.get("MNIST_DIR", "")


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the real MNIST; what is missing there is not fetched."""
    source: Source = dataclasses.replace(REAL["mnist"], mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setitem(SOURCES, "mnist", source)
    return Path(MNIST_DIR)


needs_mnist = pytest.mark.skipif(not MNIST_DIR, reason="MNIST_DIR names no folder with the real MNIST")


@needs_mnist
def test_real_mnist(real: Path) -> None:
    data = load("mnist", real)
    assert data.x_train.shape == (60000, 784)
    assert data.x_test.shape == (10000, 784)
    assert data.image_shape == (28, 28)
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert x.dtype == np.float32
        assert x.min() == 0
        assert x.max() == 1
        assert y.dtype == np.int64
        assert set(y.tolist()) == set(range(10))
    assert data.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert abs(data.x_train.mean(dtype=np.float64) - 0.1307) < 1e-4


@needs_mnist
def test_real_mnist_takes_little_more_memory_than_its_arrays(real: Path) -> None:
    tracemalloc.start()
    try:
        data = load("mnist", real)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * (data.x_train.nbytes + data.x_test.nbytes)
