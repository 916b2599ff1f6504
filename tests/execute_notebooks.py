"""Run every notebook from its first cell to its last and write it back with its outputs: `make notebooks`."""

import os
from pathlib import Path
import sys
import tempfile

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
import matplotlib.font_manager  # noqa: F401 (writes the cache of fonts; otherwise a kernel would report this on stderr)
from nbclient import NotebookClient
import nbformat

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SIZE_LIMIT = 700_000  # bytes of a notebook with its figures


def execute(path, timeout=120):
    """Return the notebook at `path`, run in a new kernel in its folder, with its outputs and no other metadata.

    The kernel is the Python that runs this function, without the user's kernels and configuration. Raises
    CellExecutionError for the first cell that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict({"kernelspec": {"display_name": "Python 3", "language": "python",
                                                           "name": "python3"}})
    with tempfile.TemporaryDirectory() as empty:
        kernel = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            transport="ipc" if os.name == "posix" else "tcp", connection_file=os.path.join(empty, "kernel.json"))
        client = NotebookClient(notebook, km=kernel, timeout=timeout, record_timing=False, coalesce_streams=True,
                                resources={"metadata": {"path": str(path.parent)}})
        client.execute(env={**os.environ, "IPYTHONDIR": empty, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}, cleanup_kc=True)
    notebook.metadata.pop("language_info", None)  # the version of Python, which differs between users
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    nbformat.validate(notebook)
    return notebook


def errors(notebook):
    """Return the errors of the cells and their output on stderr: a notebook must have neither."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("text") or output.get("evalue") for output in outputs
            if output.output_type == "error" or output.get("name") == "stderr"]


def main():
    """Execute all notebooks and write them back; end with an error if a cell writes to stderr."""
    for path in NOTEBOOKS:
        notebook = execute(path)
        if messages := errors(notebook):
            sys.exit(f"{path.name}: a cell wrote to stderr:\n{''.join(messages)}")
        nbformat.write(notebook, path)
        print(f"{path.relative_to(FOLDER.parent)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
