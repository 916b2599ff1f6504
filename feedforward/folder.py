"""Run folders: where they are, and the files in them that describe a run."""

from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
import json
import os
from pathlib import Path
import platform
from typing import TYPE_CHECKING, Any, BinaryIO

from nn.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def choose_folder(folder: str | os.PathLike[str] | None, name: str) -> Path:
    """Return the folder for a run: `folder`, or by default a new one below runs/, named after the run and the time.

    Raises ValueError if `folder` is not empty. Creates nothing.
    """
    if folder is None:
        stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        suffixes = (f"-{n}" if n > 1 else "" for n in range(1, 1000))
        return next(path for suffix in suffixes if not (path := Path("runs", stem + suffix)).exists())
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: name a folder")
    if path.exists() and any(path.iterdir()):
        raise ValueError(f"{path} is not empty, and a run would overwrite its files: name another folder, or empty it")
    return path


def folder_name(run_name: str) -> str:
    """Return the name of a run as part of a folder's name: adam20-lbfgs for adam:20+lbfgs."""
    return run_name.replace(":", "").replace("+", "-")


def environment() -> dict[str, Any]:
    """Return what results depend on besides the configuration: versions, platform, cores and BLAS."""
    from threadpoolctl import threadpool_info

    pools = [{key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
             for pool in threadpool_info()]
    packages = ("numpy", "scipy", "matplotlib", "safetensors", "feedforward")
    return {"versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
            "platform": platform.platform(), "cores": os.cpu_count(), "blas": pools,
            "started": datetime.now().isoformat(timespec="seconds")}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # used from a folder, without an installation
        return None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to a JSON file, completely or not at all."""
    write_atomically(path, lambda file: file.write((json.dumps(content, indent=2, default=_plain) + "\n").encode()))


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: numbers and arrays of NumPy as those of Python, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure to a PNG file, completely or not at all."""
    def write(file: BinaryIO) -> None:
        figure.savefig(file, format="png", dpi=120)

    write_atomically(path, write)
