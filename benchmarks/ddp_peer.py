"""An epoch of training with Adam by torch's DistributedDataParallel on gloo: several processes of one thread.

    python -m benchmarks.ddp_peer

Each process holds all examples and takes its share of each batch by indices, so that no loader takes time.
"""

import argparse
import atexit
from contextlib import suppress
from itertools import pairwise
import os
from pathlib import Path
import shutil
import socket
import statistics
import subprocess
import sys
from tempfile import mkdtemp
from typing import Any

from benchmarks.peers import LR, Epoch
from benchmarks.report import ROOT
from benchmarks.speed import COLD, WORKLOADS
from benchmarks.turns import Program, take_turns
from datasets import load
from nn.division import cut


def train(rank: int, processes: int, store: str, widths: tuple[int, ...], batch: int, dataset: str,
          data_dir: str | None) -> Epoch:
    """Join the group of processes, whose store is a file that does not exist yet, and return the epoch of one."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    if any(name == "lo" for _, name in socket.if_nameindex()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=processes)
    data = load(dataset, data_dir)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    layers: list[Any] = []
    for pair in pairwise(widths):
        layers += [torch.nn.Linear(*pair), torch.nn.ReLU()]
    # other sizes of buckets, from 1 to 100 MB, are as fast
    net = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers[:-1]), gradient_as_bucket_view=True,
                                                    static_graph=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=True)
    generator = torch.Generator().manual_seed(0)  # all processes draw the same orders

    def epoch() -> list[float]:
        sums = torch.zeros(2, dtype=torch.float64)
        for batch_rows in torch.randperm(len(x), generator=generator).split(batch):
            rows = batch_rows[cut(len(batch_rows), processes)[rank]]
            z, target = net(x[rows]), y[rows]
            loss = torch.nn.functional.cross_entropy(z, target, reduction="sum")
            optimizer.zero_grad()
            # the processes' gradients are averaged: this makes their mean that of the mean loss, for any shares
            (loss * (processes / len(batch_rows))).backward()
            optimizer.step()
            sums += torch.stack([loss.detach(), (z.detach().argmax(1) == target).sum()])
        dist.all_reduce(sums)
        totals: list[float] = sums.tolist()
        return totals

    return epoch


def turn(processes: int, widths: list[int], batch: int, dataset: str, data_dir: str | None) -> Epoch:
    """Return the epoch of all processes. This one is the first; the others sleep until it writes them a line."""
    folder = mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = str(Path(folder) / "store")
    common = [str(processes), store, ",".join(map(str, widths)), str(batch), dataset, data_dir or ""]
    others = [subprocess.Popen([sys.executable, "-m", "benchmarks.ddp_peer", "--rank", str(rank), *common], cwd=ROOT,
                               stdin=subprocess.PIPE, text=True) for rank in range(1, processes)]
    epoch = train(0, processes, store, tuple(widths), batch, dataset, data_dir)

    def run() -> object:
        for other in others:
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        return epoch()

    return run


def serve(rank: str, processes: str, store: str, widths: str, batch: str, dataset: str, data_dir: str) -> None:
    """Train an epoch for each line of the standard input, as a process other than the first."""
    epoch = train(int(rank), int(processes), store, tuple(map(int, widths.split(","))), int(batch), dataset,
                  data_dir or None)
    with suppress(RuntimeError):  # the first process has been ended
        for _ in sys.stdin:
            epoch()


def main() -> None:
    """Measure two processes, and print the seconds of an epoch."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ddp_peer", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rank", nargs=7, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank:
        serve(*args.rank)
        return
    for name in args.workload:
        widths, batch = WORKLOADS[name]
        program = Program("benchmarks.ddp_peer:turn", {"processes": 2, "widths": widths, "batch": batch,
                                                       "dataset": "mnist", "data_dir": args.data_dir})
        seconds = take_turns({"torch DDP": program}, COLD + args.rounds, name)["torch DDP"][COLD:]
        print(f"{name}: {statistics.median(seconds):.3f} s")


if __name__ == "__main__":
    main()
