"""A check that the command line trains the same weights, bit for bit, as at an earlier revision.

    python -m benchmarks.same_weights REVISION

Both revisions train with every optimizer on the digits for 10 epochs, seed 0, float32. The parameters are compared.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
import subprocess
import sys
import tempfile

from safetensors.numpy import load_file
from tqdm import tqdm

from benchmarks.report import ROOT
from optimizers import OPTIMIZERS


def train(checkout: Path, name: str, folder: Path, options: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the parameters, as bytes, that train.py of a checkout trains with the optimizer `name`."""
    subprocess.run([sys.executable, str(checkout / "train.py"), "--dataset", "digits", "--epochs", "10", "--optimizer",
                    name, "--no-plots", "--out", str(folder), *options], cwd=checkout, check=True, capture_output=True)
    return {key: array.tobytes() for key, array in load_file(folder / "model.safetensors").items()}


def compare(revision: str) -> list[str]:
    """Return the names of the optimizers whose weights differ from those at the revision."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "then")], check=True)
        subprocess.run(["git", "-C", str(folder / "then"), "checkout", "--quiet", revision], check=True)
        return [name for name in tqdm(OPTIMIZERS, unit=" optimizers")
                if train(ROOT, name, folder / f"{name}-now") != train(folder / "then", name, folder / f"{name}-then")]


def main() -> int:
    """Print which optimizers differ; the exit status is 1 if any does."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_weights", description=__doc__)
    parser.add_argument("revision")
    args = parser.parse_args()
    different = compare(args.revision)
    print(f"{len(OPTIMIZERS) - len(different)} of {len(OPTIMIZERS)} optimizers train the same weights as at "
          f"{args.revision}" + (f"; not {', '.join(different)}" if different else ""))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
