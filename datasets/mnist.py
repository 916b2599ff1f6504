"""MNIST and Fashion-MNIST: their files, the mirrors of the files, and the functions that load them."""

from collections.abc import Mapping
from dataclasses import dataclass
import os
from pathlib import Path

from datasets.dataset import Dataset, read_examples
from datasets.download import DownloadError, download, sha256_of
from datasets.idx import DataError

TIMEOUT = 10.0  # seconds without data before a download is stopped, divided equally among the mirrors


@dataclass(frozen=True)
class File:
    """A file that can be downloaded.

    Parameters
    ----------
    size : int
        The size in bytes.
    sha256 : str
        The sha256 in hexadecimal. A file with another sha256 is never used.
    unpacked_sha256 : str
        The sha256 of the unpacked file, which is used if it is in the folder; empty if it is not known.
    """

    size: int
    sha256: str
    unpacked_sha256: str = ""


@dataclass(frozen=True)
class Source:
    """The files of a dataset and the mirrors to download them from.

    Parameters
    ----------
    name : str
        The name of the dataset in `DATASETS`.
    mirrors : tuple of str
        The URLs of the folders with the files, each with a slash at the end. They are tried in this order.
    files : mapping of str to File
        The four files by name, in this order: training images, training labels, test images, test labels.
    classes : tuple of str
        The names of the classes.
    """

    name: str
    mirrors: tuple[str, ...]
    files: Mapping[str, File]
    classes: tuple[str, ...]

    @property
    def environment_variable(self) -> str:
        """The name of the environment variable for the folder of the files, such as MNIST_DIR."""
        return self.name.upper().replace("-", "_") + "_DIR"


FILE_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def _files(*files: File) -> dict[str, File]:
    """Map the four file names, which are the same for both datasets, to their descriptions."""
    return dict(zip(FILE_NAMES, files, strict=True))


SOURCES = {
    "mnist": Source(
        name="mnist",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files=_files(
            File(9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                 "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            File(28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                 "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            File(1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                 "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            File(4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                 "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
        classes=tuple("0123456789"),
    ),
    "fashion-mnist": Source(
        name="fashion-mnist",
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        files=_files(
            File(26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            File(29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            File(4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            File(5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        classes=CLOTHES,
    ),
}


def load_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load MNIST, images of handwritten digits, and download it if necessary.

    Parameters
    ----------
    data_dir : str or path-like, optional
        The folder of the four files. If it is not given, the environment variable MNIST_DIR names the folder. If that
        is not set either, the folder is in the user's cache.

    Returns
    -------
    Dataset
        60,000 training and 10,000 test images of 28 x 28 pixels: `x_train` (60000, 784) and `x_test` (10000, 784)
        are float32. The pixel values 0..255 are divided by 255. There are 10 classes.

    Raises
    ------
    DataError
        If the files are not in the folder and cannot be downloaded, or if the folder cannot be used.

    Notes
    -----
    Every file is verified by its sha256. Files that were unpacked by hand are used as well. Files that are missing or
    damaged are downloaded into the folder, 11 MB in total. If the folder has all files, nothing is written to it.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*, 1998.

    Examples
    --------
    Load MNIST if no file is missing, and the digits otherwise:

    >>> from datasets import load_digits, load_mnist, missing_files
    >>> data = load_digits() if missing_files("mnist") else load_mnist()
    >>> data.x_train.dtype, len(data.classes)
    (dtype('float32'), 10)
    """
    return _load("mnist", data_dir)


def load_fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load Fashion-MNIST, images of clothes, and download it if necessary.

    Parameters
    ----------
    data_dir : str or path-like, optional
        The folder of the four files. If it is not given, the environment variable FASHION_MNIST_DIR names the folder.
        If that is not set either, the folder is in the user's cache.

    Returns
    -------
    Dataset
        Images and labels with the same shapes and types as those of `load_mnist`. The classes are harder to
        distinguish.

    Raises
    ------
    DataError
        If the files are not in the folder and cannot be downloaded, or if the folder cannot be used.

    Notes
    -----
    Files are verified and downloaded as by `load_mnist`, 31 MB in total.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms*, 2017, arXiv 1708.07747.

    Examples
    --------
    Load Fashion-MNIST if no file is missing, and the digits otherwise:

    >>> from datasets import load_digits, load_fashion_mnist, missing_files
    >>> data = load_digits() if missing_files("fashion-mnist") else load_fashion_mnist()
    >>> data.x_train.dtype, len(data.classes)
    (dtype('float32'), 10)
    """
    return _load("fashion-mnist", data_dir)


def list_missing(name: str, data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """List the files that loading a dataset of SOURCES would download.

    Parameters
    ----------
    name : str
        The name of the dataset in SOURCES.
    data_dir : str or path-like, optional
        The folder of the files, as for `load_mnist`.

    Returns
    -------
    list of Path
        The files that do not exist or have the wrong sha256.

    Raises
    ------
    DataError
        If the folder cannot be used. Loading the dataset raises the same error.
    """
    source = SOURCES[name]
    folder = _folder(source, data_dir)
    return [folder / file_name for file_name in _search(source, folder)[1]]


def _load(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Load a dataset of SOURCES, and download the files that are missing."""
    source = SOURCES[name]
    folder = _folder(source, data_dir)
    mirrors = list(source.mirrors)
    unpacked, missing = _search(source, folder)
    for file_name, found in missing.items():
        _download_from_mirrors(source, folder, file_name, found, mirrors)
    train_images, train_labels, test_images, test_labels = (unpacked.get(name, folder / name) for name in source.files)
    # The larger part is read first: the memory for its bytes is free again before the smaller part is read.
    x_train, y_train, image_shape = read_examples(train_images, train_labels, max_value=255)
    x_test, y_test, _ = read_examples(test_images, test_labels, max_value=255)
    return Dataset(source.name, x_train, y_train, x_test, y_test, image_shape, source.classes)


def _folder(source: Source, data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the folder of a dataset's files, which need not exist. Raises DataError if it is no path."""
    folder = data_dir or os.environ.get(source.environment_variable)
    if folder:
        try:
            if b"\0" in os.fsencode(folder):
                raise ValueError("it holds a zero byte")
            return Path(os.fspath(folder)).expanduser()
        except (TypeError, ValueError, RuntimeError) as error:  # a RuntimeError: there is no such user
            raise DataError(f"{folder!r} is not a folder: {error}") from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("feedforward"), source.name)


def _unpacked(source: Source, folder: Path, name: str) -> Path | None:
    """Return the verified file that was unpacked from the one of that name; None if there is none."""
    stem, sha256 = name.removesuffix(".gz"), source.files[name].unpacked_sha256
    forms = [folder / form for form in (stem, stem.replace("-idx", ".idx"))]
    return next((path for path in forms if sha256 and sha256_of(path) == sha256), None)


def _search(source: Source, folder: Path) -> tuple[dict[str, Path], dict[str, str | None]]:
    """Return the unpacked files, used where the packed ones are not, and the sha256 found in place of missing files.

    Both are by the name of the packed file. Raises DataError if the folder cannot be used.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the folder that has the four files with {_options(source)}")
    found = {name: sha256_of(folder / name) for name in source.files}
    other = {name: sha256 for name, sha256 in found.items() if sha256 != source.files[name].sha256}
    unpacked = {name: path for name in other if (path := _unpacked(source, folder, name)) is not None}
    missing = {name: sha256 for name, sha256 in other.items() if name not in unpacked}
    known = {file.sha256: other.name for other in SOURCES.values() for file in other.files.values()}
    for name, sha256 in missing.items():
        dataset = known.get(sha256 or "", source.name)
        if dataset != source.name:
            raise DataError(
                f"{folder / name}: expected a file of {source.name}, found one of {dataset}; "
                f"name another folder with {_options(source)}"
            )
    return unpacked, missing


def _download_from_mirrors(source: Source, folder: Path, name: str, found: str | None, mirrors: list[str]) -> None:
    """Download a file from the first mirror that works, and move each mirror that fails to the end of the list."""
    file, failures = source.files[name], []
    for mirror in tuple(mirrors):
        try:
            download(mirror + name, folder / name, file.sha256, file.size, TIMEOUT / len(mirrors))
            return
        except DownloadError as error:
            failures.append(f"{mirror} ({error})")
            mirrors.append(mirrors.pop(0))
        except DataError as error:
            raise DataError(f"{error}; name another folder with {_options(source)}") from None
    tried = ", ".join(failures)
    advice = f"or name a folder that has the four files with {_options(source)}"
    if found is None:
        raise DataError(
            f"{source.name}: cannot download {name} from {tried}. Put {name} and the other files "
            f"into {folder}, {advice}; the dataset digits needs no download"
        )
    raise DataError(
        f"{folder / name}: expected sha256 {file.sha256}, found {found}, and cannot download the file again "
        f"from {tried}. Download {source.mirrors[0]}{name} into {folder} manually, {advice}"
    )


def _options(source: Source) -> str:
    """Name the two ways to choose a folder."""
    return f"--data-dir or {source.environment_variable}"
