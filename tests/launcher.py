"""The mpiexec of this environment, for tests of several ranks."""

from pathlib import Path
import shutil
import sys

import pytest

MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent))


def launch(n):
    """Return the command that starts n ranks of what follows it; skip the test if there is no MPI."""
    if MPIEXEC is None:
        pytest.skip("needs an MPI for this machine: pip install 'feedforward[mpi]' has brought no mpiexec")
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install 'feedforward[mpi]'")
    return [MPIEXEC, "-n", str(n)]
