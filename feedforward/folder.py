"""Run folders: where they are, and the files in them that describe a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
import json
import math
import os
from pathlib import Path
import platform
import shlex
from types import NoneType
from typing import TYPE_CHECKING, Any, BinaryIO

from nn.archive import one_line_errors, parse, printable
from nn.files import SUFFIX, remove_all_leftovers, write_atomically
from nn.versions import version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIG, LOCK = "config.json", ".lock"
MODEL, HISTORY = "model.safetensors", "history.csv"
MAX_CONFIG = 10_000_000  # bytes of a configuration that is read


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
    if path.exists() and any(file.name != LOCK and not file.name.endswith(SUFFIX) for file in path.iterdir()):
        advice = f"continue its run with --resume {quoted(path)}" if (path / CONFIG).exists() else "empty it"
        raise ValueError(f"{path} is not empty, and a run would overwrite its files: name another folder, or {advice}")
    return path


def quoted(folder: Path) -> str:
    """Return a folder as it is written in a shell's command."""
    text = str(folder)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder. Within the context, no other process can train into it. Raises ValueError if one does.

    The system removes the lock of a process that was killed.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ValueError(f"{folder} is in use by another process: wait for its end, or name another folder") from None
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror or error}; no run can be written there: name another folder",
                          str(folder)) from None
    try:
        remove_all_leftovers(folder)
        yield
    finally:
        lock.release()


@contextmanager
def collect_errors(problems: list[str]) -> Iterator[None]:
    """Add an error within the context to a list instead of raising it: no disk space, no memory, infinite weights."""
    try:
        yield
    except (OSError, MemoryError, ValueError) as error:
        problems.append(reason(error))


def reason(error: Exception) -> str:
    """Return the message of an error, and what to do if there was not enough memory."""
    if not isinstance(error, MemoryError):
        return str(error)
    return (f"not enough memory{f': {error}' if str(error) else ''}; use a smaller network or batch, fewer jobs, or an "
            "optimizer without a matrix")


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of the config.json of a run folder.

    Raises InvalidFile if it is not one, and ValueError if there is no such file.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} is not a run folder: it holds no {CONFIG}")
    with one_line_errors(path, "the configuration of a run"):
        content = parse(read_limited(path))
        if not isinstance(content, dict) or not isinstance(content.get("experiment"), dict):
            raise ValueError("it has no entry 'experiment'")
    return content


def read_limited(path: Path) -> str:
    """Return the text of a configuration. Raises ValueError if it is too long."""
    if path.stat().st_size > MAX_CONFIG:
        raise ValueError(f"it has more than {MAX_CONFIG:,} bytes")
    return path.read_text("utf-8")


def folder_name(run_name: str) -> str:
    """Return the name of a run as part of a folder's name: adam20-lbfgs-lr0.1 for adam:20+lbfgs lr=0.1."""
    return run_name.replace(":", "").replace("=", "").replace("+", "-").replace(" ", "-")


def environment(ranks: int = 1) -> dict[str, Any]:
    """Return what results depend on besides the configuration: versions, platform, cores, BLAS, the number of ranks."""
    from threadpoolctl import threadpool_info

    pools = [{key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
             for pool in threadpool_info()]
    packages = ("numpy", "scipy", "matplotlib", "safetensors", "feedforward")
    return {"versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "platform": platform.platform(), "cores": os.cpu_count(), "blas": pools, "ranks": ranks,
            "started": datetime.now().isoformat(timespec="seconds")}


def changed_environment(config: Mapping[str, Any], ranks: int = 1) -> str:
    """Return what rounding depends on and has changed since this content of config.json was written; or nothing."""
    then, now = _rounding(config), _rounding(environment(ranks))
    return "; ".join(f"{name} was {printable(str(then[name]), 40)} and is {now[name]}"
                     for name in now if then[name] != now[name])


def _rounding(config: Mapping[str, Any]) -> dict[str, Any]:
    pools, versions = config.get("blas"), config.get("versions")
    kernels = {str(pool["architecture"]) for pool in pools if isinstance(pool, dict) and pool.get("architecture")
               } if isinstance(pools, list) else set()  # those of OpenMP, which other libraries load, have none
    return {"cores": config.get("cores"), "ranks": config.get("ranks", 1),
            "kernels of BLAS": ", ".join(sorted(kernels)) or None,
            "numpy": versions.get("numpy") if isinstance(versions, dict) else None}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to a JSON file, completely or not at all."""
    text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: arrays as lists, infinity and NaN and other objects as texts."""
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, str, NoneType)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure to a PNG file, completely or not at all."""
    def write(file: BinaryIO) -> None:
        figure.savefig(file, format="png", dpi=120)

    write_atomically(path, write)
