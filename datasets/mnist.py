"""MNIST and Fashion-MNIST: what their files are, where they come from, and how they become a Dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
import os
from pathlib import Path

from datasets.dataset import Dataset, read_examples
from datasets.download import DownloadError, download, sha256_of
from datasets.idx import DataError

PATIENCE = 10.0  # seconds of silence, shared equally by the mirrors, after which a file is given up


@dataclass(frozen=True)
class File:
    """How long a file is, in bytes, and its sha256 in hexadecimal: by this alone it is trusted."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A dataset's four files by name (images and labels to train, then to test) and the mirrors that have them."""

    name: str
    mirrors: tuple[str, ...]
    files: Mapping[str, File]
    classes: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The environment variable that names the folder of the files."""
        return self.name.upper().replace("-", "_") + "_DIR"


NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def _files(*files: File) -> dict[str, File]:
    """Name four files as both datasets name them."""
    return dict(zip(NAMES, files, strict=True))


SOURCES = {
    "mnist": Source(
        name="mnist",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files=_files(
            File(9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            File(28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            File(1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            File(4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
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
    """
    MNIST, handwritten digits: x_train (60000, 784), x_test (10000, 784), float32, pixels divided by 255.

    The files are looked for in `data_dir`, else in the folder that the environment variable MNIST_DIR names, else in
    the user's cache, and downloaded to that folder if they are not there. Raises DataError if they cannot be had.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits, 1998.
    """
    return _load(SOURCES["mnist"], data_dir)


def load_fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """
    Fashion-MNIST, pictures of clothes: of the shapes and the format of MNIST, and harder to tell apart.

    Like `load_mnist`, with the environment variable FASHION_MNIST_DIR.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017.
    """
    return _load(SOURCES["fashion-mnist"], data_dir)


def _load(source: Source, data_dir: str | os.PathLike[str] | None) -> Dataset:
    folder = _folder(source, data_dir)
    _complete(source, folder)
    train_images, train_labels, test_images, test_labels = (folder / name for name in source.files)
    # The larger part first: its bytes are freed again before the smaller part takes any.
    x_train, y_train, shape = read_examples(train_images, train_labels, white=255)
    x_test, y_test, _ = read_examples(test_images, test_labels, white=255)
    return Dataset(source.name, x_train, y_train, x_test, y_test, shape, source.classes)


def _folder(source: Source, data_dir: str | os.PathLike[str] | None) -> Path:
    """Say where the files of a source are, or shall be."""
    named = data_dir or os.environ.get(source.variable)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("feedforward"), source.name)


def _complete(source: Source, folder: Path) -> None:
    """Make sure that the folder holds every file of the source as it should be; what is missing or bad is fetched."""
    elsewhere = f"name another folder with --data-dir or {source.variable}"
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is not a folder: {elsewhere}, the one that has the four files")
    owners = {file.sha256: owner.name for owner in SOURCES.values() for file in owner.files.values()}
    found = {name: sha256_of(folder / name) for name in source.files}
    wanting = [name for name, file in source.files.items() if found[name] != file.sha256]
    for name in wanting:
        owner = owners.get(found[name] or "", source.name)
        if owner != source.name:
            raise DataError(f"{folder / name}: expected a file of {source.name}, found one of {owner}; {elsewhere}")

    mirrors = list(source.mirrors)
    for name in wanting:
        file, refusals = source.files[name], []
        for mirror in tuple(mirrors):
            try:
                download(mirror + name, folder / name, file.sha256, file.size, PATIENCE / len(mirrors))
                break
            except DownloadError as error:
                refusals.append(f"{mirror} ({error})")
                mirrors.append(mirrors.pop(0))  # the next file tries this one last
            except DataError as error:
                raise DataError(f"{error}; {elsewhere}") from None
        else:
            raise DataError(_by_hand(source, folder, name, found[name], refusals))


def _by_hand(source: Source, folder: Path, name: str, found: str | None, refusals: list[str]) -> str:
    """Say, when no mirror gives a file, what is wrong, what was tried, and how to get the data anyhow."""
    tried = ", ".join(refusals)
    elsewhere = f"or name a folder that has them with --data-dir or {source.variable}"
    if found is None:
        return (
            f"{source.name}: cannot download {name} from {tried}. Put the four files ({name} and so on) "
            f"into {folder}, {elsewhere}; the dataset digits needs no download"
        )
    return (
        f"{folder / name}: expected sha256 {source.files[name].sha256}, found {found}, and cannot download it again "
        f"from {tried}. Put {source.mirrors[0]}{name} into {folder} by hand, {elsewhere}"
    )
