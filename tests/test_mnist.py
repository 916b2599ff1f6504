"""MNIST is found, verified and downloaded. Mirrors that fail give a one-line error and leave no files."""

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
from datasets import DataError, load, missing_files, mnist
from datasets.mnist import FILE_NAMES, SOURCES, File, Source

REAL_SOURCES = dict(SOURCES)
UseMirrors = Callable[..., tuple[str, ...]]


def gzipped_idx(array: np.ndarray) -> bytes:
    """Return the array as a gzipped IDX file of uint8."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def small_dataset(seed: int) -> dict[str, bytes]:
    """Make the four files of a dataset like MNIST, with 40 + 20 images of 30 x 20 random pixels."""
    rng = np.random.default_rng(seed)
    contents = []
    for n in (40, 20):
        contents += [rng.integers(0, 256, (n, 30, 20)), (np.arange(n) + seed) % 10]
    return {name: gzipped_idx(content) for name, content in zip(FILE_NAMES, contents, strict=True)}


def describe(files: dict[str, bytes]) -> dict[str, File]:
    """Return the size and the sha256 of each file."""
    return {name: File(len(body), hashlib.sha256(body).hexdigest()) for name, body in files.items()}


MNIST, FASHION = small_dataset(0), small_dataset(1)
IMAGES = FILE_NAMES[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serve(MNIST) as loopback:
        yield loopback


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch, server: Loopback, tmp_path: Path) -> None:
    """Replace the real datasets by small ones, the mirrors by loopback mirrors, and the cache by a temporary folder."""
    server.requests.clear()
    for name, files in (("mnist", MNIST), ("fashion-mnist", FASHION)):
        source = dataclasses.replace(REAL_SOURCES[name], mirrors=(server.mirror("good"),), files=describe(files))
        monkeypatch.setitem(SOURCES, name, source)
        monkeypatch.delenv(source.environment_variable, raising=False)
    monkeypatch.setattr(mnist, "TIMEOUT", 1.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def use_mirrors(monkeypatch: pytest.MonkeyPatch, server: Loopback) -> UseMirrors:
    """Return a function that replaces the mirrors of mnist. Each argument is a kind of Loopback mirror or a URL."""

    def use(*kinds: str) -> tuple[str, ...]:
        addresses = tuple(kind if "://" in kind else server.mirror(kind) for kind in kinds)
        monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], mirrors=addresses))
        return addresses

    return use


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that has the four files."""
    return fill(tmp_path / "folder", MNIST)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    """Create a folder with these files."""
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def load_error(data_dir: Path, name: str = "mnist") -> str:
    """Return the message of the DataError that load raises, after checking that it is one line."""
    with pytest.raises(DataError) as caught:
        load(name, data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files that exist


def test_load(folder: Path) -> None:
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


def test_verified_files_are_not_downloaded(folder: Path, server: Loopback) -> None:
    load("mnist", folder)
    assert not server.requests


def test_verified_files_need_no_download_libraries(folder: Path) -> None:
    program = CHILD + "print({'pooch', 'requests', 'tqdm', 'platformdirs'} & set(sys.modules))"
    assert child(program, folder).communicate()[0].split() == ["40", "set()"]


def test_read_only_folder(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        before = folder.stat().st_mtime_ns
        load("mnist", folder)
        assert folder.stat().st_mtime_ns == before, "no file was created in the folder, not even temporarily"
    finally:
        folder.chmod(0o755)


def test_data_dir_overrides_the_environment(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "environment"))
    load("mnist", folder)
    assert not (tmp_path / "environment").exists()


def test_environment_overrides_the_cache(folder: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.skipif(sys.platform != "linux", reason="the cache has another path")
def test_cache(tmp_path: Path) -> None:
    load("mnist")
    assert contents(tmp_path / "cache" / "feedforward" / "mnist") == MNIST


def test_labels_that_do_not_match_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for labels, message in ((np.arange(39) % 10, "expected 40 labels"), (np.arange(40), "expected labels in 0..9")):
        files = MNIST | {FILE_NAMES[1]: gzipped_idx(labels)}
        monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], files=describe(files)))
        assert message in load_error(fill(tmp_path / str(len(labels)), files))


def test_images_that_are_not_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = MNIST | {IMAGES: MNIST[FILE_NAMES[1]]}
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], files=describe(files)))
    assert "expected images of uint8" in load_error(fill(tmp_path / "folder", files))


# Files that are downloaded


def test_download(tmp_path: Path, server: Loopback, capfd: pytest.CaptureFixture[str]) -> None:
    load("mnist", tmp_path / "new" / "folder")
    assert contents(tmp_path / "new" / "folder") == MNIST
    assert server.requests == {"good": 4}
    assert capfd.readouterr() == ("", ""), "no log of pooch, and no progress bar if stderr is not a terminal"
    assert stat.S_IMODE((tmp_path / "new" / "folder" / IMAGES).stat().st_mode) == 0o644


def test_logging_levels_are_restored(tmp_path: Path) -> None:
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


def test_only_missing_files_are_downloaded(folder: Path, server: Loopback) -> None:
    (folder / IMAGES).unlink()
    load("mnist", folder)
    assert server.requests == {"good": 1}
    assert contents(folder) == MNIST


@pytest.mark.slow
def test_slow_mirror_may_take_longer_than_the_timeout(
    folder: Path, use_mirrors: UseMirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "TIMEOUT", 0.5)
    (folder / IMAGES).unlink()
    use_mirrors("slow")
    start = time.monotonic()
    load("mnist", folder)
    assert time.monotonic() - start > mnist.TIMEOUT


FAILURES = {
    "html": "wrong sha256",
    "half": "IncompleteRead",
    "short": "wrong sha256",
    "403": "HTTP 403",
    "404": "HTTP 404",
    "500": "HTTP 500",
    "silence": "no data for",
    "stall": "no data for",
    "http://127.0.0.1:9/": "Connection refused",
}


@pytest.mark.parametrize("kind", FAILURES)
def test_failing_mirror_leaves_no_files(
    tmp_path: Path, use_mirrors: UseMirrors, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind in ("silence", "stall"):
        monkeypatch.setattr(mnist, "TIMEOUT", 0.3)
    (address,) = use_mirrors(kind)
    message = load_error(tmp_path)
    assert contents(tmp_path) == {}
    assert f"{address} ({FAILURES[kind]}" in message
    assert len(message) < 600
    assert str(tmp_path) in message
    assert "--data-dir or MNIST_DIR" in message


@pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=pytest.mark.slow) if kind == "silence" else kind for kind in FAILURES])
def test_next_mirror_is_tried_after_a_failure(
    tmp_path: Path, use_mirrors: UseMirrors, server: Loopback, kind: str
) -> None:
    use_mirrors(kind, "good")
    load("mnist", tmp_path)
    assert contents(tmp_path) == MNIST
    assert server.requests[kind] <= 1, "a mirror that failed is tried last for the next files"


def test_loading_stops_at_the_first_file_that_all_mirrors_fail(
    tmp_path: Path, use_mirrors: UseMirrors, server: Loopback
) -> None:
    first, second = use_mirrors("403", "500")
    message = load_error(tmp_path)
    assert server.requests == {"403": 1, "500": 1}
    assert f"{first} (HTTP 403), {second} (HTTP 500)" in message


def test_mirrors_that_send_no_data_share_the_timeout(
    tmp_path: Path, use_mirrors: UseMirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TIMEOUT is the total for all mirrors. With its real value of 10 s, the error is raised within 12 s."""
    monkeypatch.setattr(mnist, "TIMEOUT", 0.5)
    use_mirrors("silence", "stall", "silence")
    start = time.monotonic()
    load_error(tmp_path)
    assert time.monotonic() - start < mnist.TIMEOUT + 1
    assert contents(tmp_path) == {}


def test_dns_lookup_that_blocks(tmp_path: Path, use_mirrors: UseMirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    end_of_test = threading.Event()

    def block(*_: object, **__: object) -> None:
        end_of_test.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", block)
    monkeypatch.setattr(mnist, "TIMEOUT", 0.4)
    use_mirrors("http://mirror.invalid/", "http://other.invalid/")
    start = time.monotonic()
    message = load_error(tmp_path)
    seconds = time.monotonic() - start
    end_of_test.set()
    assert seconds < mnist.TIMEOUT + 1
    assert "http://other.invalid/ (no data for 0.2 s)" in message
    assert contents(tmp_path) == {}


def test_unknown_host(tmp_path: Path, use_mirrors: UseMirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    use_mirrors("http://mirror.invalid/")
    assert "http://mirror.invalid/ (Name or service not known)" in load_error(tmp_path)


# Files and folders that cannot be used


def test_damaged_file_is_downloaded_again(folder: Path, server: Loopback) -> None:
    (folder / IMAGES).write_bytes(b"damaged")
    load("mnist", folder)
    assert contents(folder) == MNIST
    assert server.requests == {"good": 1}


def test_damaged_file_is_kept_if_the_download_fails(folder: Path, use_mirrors: UseMirrors, server: Loopback) -> None:
    (folder / IMAGES).write_bytes(b"damaged")
    address, _ = use_mirrors("html", "half")
    message = load_error(folder)
    assert contents(folder) == MNIST | {IMAGES: b"damaged"}
    assert message.startswith(f"{folder / IMAGES}: expected sha256 {SOURCES['mnist'].files[IMAGES].sha256}")
    assert f"found {hashlib.sha256(b'damaged').hexdigest()}" in message
    assert f"Download {address}{IMAGES} into {folder} manually" in message
    assert server.requests == {"html": 1, "half": 1}


@pytest.mark.parametrize(("name", "other"), [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")])
def test_files_of_the_other_dataset_are_kept(tmp_path: Path, server: Loopback, name: str, other: str) -> None:
    files = {"mnist": MNIST, "fashion-mnist": FASHION}[other]
    some = {file_name: files[file_name] for file_name in FILE_NAMES[2:]}
    folder = fill(tmp_path / "folder", some)
    message = load_error(folder, name)
    assert f"expected a file of {name}, found one of {other}; name another folder" in message
    assert contents(folder) == some
    assert not server.requests


def test_folder_inside_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    message = load_error(tmp_path / "file" / "folder")
    assert "Not a directory" in message
    assert str(tmp_path / "file") in message


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write anywhere")
    for folder in (tmp_path, tmp_path / "new"):
        message = load_error(folder)
        assert message.startswith(f"{folder}: expected a folder to download into, found: Permission denied")
        assert "name another folder with --data-dir or MNIST_DIR" in message


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    message = load_error(Path("/proc/self/mnist"))
    assert message.startswith("/proc/self/mnist: expected a folder to download into, found: ")


def test_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / IMAGES).unlink()
    (folder / IMAGES).mkdir()
    assert load_error(folder).startswith(f"{folder / IMAGES}: expected a readable file, found: Is a directory")


# Missing files


@pytest.mark.parametrize("name", SOURCES)
def test_missing_files_only_reads(name: str, tmp_path: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("missing_files opened a connection")

    monkeypatch.setattr(socket, "socket", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    folder = tmp_path / "new" / "folder"
    assert missing_files(name, folder) == [folder / file_name for file_name in FILE_NAMES]
    assert [path.name for path in missing_files(name)] == list(FILE_NAMES)  # in the cache
    assert list(tmp_path.iterdir()) == []
    assert not server.requests


def test_missing_files_are_those_that_load_downloads(folder: Path, server: Loopback) -> None:
    assert missing_files("mnist", folder) == []
    (folder / FILE_NAMES[0]).write_bytes(b"damaged")
    (folder / FILE_NAMES[2]).write_bytes(bytes(len(MNIST[FILE_NAMES[2]])))  # the right size, the wrong sha256
    (folder / FILE_NAMES[3]).unlink()
    before = contents(folder)
    assert missing_files("mnist", str(folder)) == [folder / FILE_NAMES[i] for i in (0, 2, 3)]
    assert contents(folder) == before
    load("mnist", folder)
    assert server.requests == {"good": 3}
    assert missing_files("mnist", folder) == []


def test_missing_files_in_the_folder_of_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / IMAGES).unlink()
    monkeypatch.setenv("MNIST_DIR", str(folder))
    assert missing_files("mnist") == [folder / IMAGES]


def test_missing_files_in_a_read_only_folder(folder: Path) -> None:
    (folder / IMAGES).unlink()
    folder.chmod(0o555)
    try:
        before = folder.stat().st_mtime_ns
        assert missing_files("mnist", folder) == [folder / IMAGES]
        assert folder.stat().st_mtime_ns == before
    finally:
        folder.chmod(0o755)


def make_file(path: Path) -> None:
    path.write_bytes(b"")


def make_folder_of_fashion_mnist(path: Path) -> None:
    fill(path, FASHION)


def make_folder_in_place_of_a_file(path: Path) -> None:
    (path / IMAGES).mkdir(parents=True)


@pytest.mark.parametrize("make", [make_file, make_folder_of_fashion_mnist, make_folder_in_place_of_a_file])
def test_missing_files_raises_the_errors_of_load(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "folder")
    with pytest.raises(DataError) as caught:
        missing_files("mnist", tmp_path / "folder")
    assert str(caught.value) == load_error(tmp_path / "folder")


# Several processes

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
    """Start a Python process that loads mnist from the folder after it reads a line."""
    files = [f"{name}={file.sha256}" for name, file in SOURCES["mnist"].files.items()]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(folder), mirror, *files],
        cwd=Path(datasets.__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_several_processes_at_once(tmp_path: Path, server: Loopback, number: int) -> None:
    program = "import pooch, requests, tqdm" + CHILD
    children = [child(program, tmp_path / "folder", server.mirror("good")) for _ in range(number)]
    assert [process.communicate("go\n")[0] for process in children] == ["40\n"] * number
    assert contents(tmp_path / "folder") == MNIST


# The real MNIST

MNIST_DIR = os.environ.get("MNIST_DIR", "")


@pytest.fixture
def real_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the real MNIST. Missing files are not downloaded."""
    source: Source = dataclasses.replace(REAL_SOURCES["mnist"], mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setitem(SOURCES, "mnist", source)
    return Path(MNIST_DIR)


needs_mnist = pytest.mark.skipif(not MNIST_DIR, reason="MNIST_DIR names no folder with the real MNIST")


@needs_mnist
def test_real_mnist(real_folder: Path) -> None:
    data = load("mnist", real_folder)
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
def test_peak_memory_of_real_mnist_is_little_more_than_its_arrays(real_folder: Path) -> None:
    tracemalloc.start()
    try:
        data = load("mnist", real_folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * (data.x_train.nbytes + data.x_test.nbytes)


@pytest.mark.parametrize("form", ["{}-idx{}-ubyte", "{}.idx{}-ubyte"])
def test_files_that_were_unpacked_by_hand_are_used(form, tmp_path, monkeypatch):
    """Files of a small dataset, unpacked, under both names that programs give them."""
    source, packed = mnist.SOURCES["mnist"], tmp_path / "packed"
    packed.mkdir()
    rng, files = np.random.default_rng(0), {}
    for name in source.files:
        part, rank = name.split("-idx")[0], int(name.split("-idx")[1][0])
        n = 20 if part.startswith("train") else 10
        header = bytes([0, 0, 8, rank]) + b"".join(size.to_bytes(4, "big") for size in (n, 4, 4)[:rank])
        content = header + (rng.bytes(n * 16) if rank == 3 else bytes(range(10)) * (n // 10))
        data = gzip.compress(content)
        files[name] = mnist.File(len(data), hashlib.sha256(data).hexdigest(), hashlib.sha256(content).hexdigest())
        (packed / name).write_bytes(data)
        (tmp_path / form.format(part, rank)).write_bytes(content)
    monkeypatch.setitem(mnist.SOURCES, "mnist", dataclasses.replace(source, files=files))
    expected, data = mnist.load_mnist(packed), mnist.load_mnist(tmp_path)
    np.testing.assert_array_equal(data.x_train, expected.x_train)
    np.testing.assert_array_equal(data.y_test, expected.y_test)
    assert mnist.list_missing("mnist", tmp_path) == []


@pytest.mark.parametrize("folder", ["~nosuchuser/x", "a\0b", "a\ud800b", 3, ["a"]])
def test_what_is_no_path_is_an_error_of_one_line(folder: object) -> None:
    with pytest.raises(DataError, match="is not a folder: ") as caught:
        load("mnist", data_dir=folder)
    assert "\n" not in str(caught.value)
