"""Training on several ranks under MPI: the steps of one rank, one message a step, and an end after any failure."""

from itertools import pairwise
import json
import os
from pathlib import Path
import subprocess
import sys

from launcher import launch
import numpy as np
import pytest

from datasets import load
from nn.distributed import RowsGenerator, share
from nn.mpi import world
from optimizers import OPTIMIZERS

WORDS = 20  # of the numbers of each rank in a message
FIRST_ORDER = [name for name in OPTIMIZERS if name not in ("newton", "cg", "bfgs", "lbfgs", "lm")]


def mpiexec(n, *arguments, check=True):
    """Run tests/mpi_programs.py on n ranks and return the results of all ranks, or the finished process."""
    root = Path(__file__).parent.parent
    variables = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}  # the ranks share the processors
    command = [*launch(n), sys.executable, str(root / "tests/mpi_programs.py"), *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    if not check:
        return done
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("steps", ["20", pytest.param("200", marks=pytest.mark.slow)])
def test_one_rank_takes_the_same_steps_bit_for_bit(steps):
    [found] = mpiexec(1, "optimizers", steps)
    assert list(found) == list(OPTIMIZERS)
    assert {name for name, result in found.items() if not result["same"]} == set()


@pytest.mark.parametrize("n", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4))])
def test_several_ranks_take_the_same_steps_except_for_rounding(n):
    found = mpiexec(n, "optimizers", "50")
    assert {name: found[0][name]["difference"] for name in [*FIRST_ORDER, "lm"]
            if not found[0][name]["difference"] < 1e-12} == {}
    assert all(rank == found[0] for rank in found)  # the same weights on all ranks


@pytest.mark.parametrize(("n", "steps"), [(2, 3), *(pytest.param(n, 50, marks=pytest.mark.slow) for n in (2, 3, 4))])
def test_each_step_of_second_order_is_the_same_except_for_rounding(n, steps):
    """Searches amplify rounding errors from step to step, whichever process makes them."""
    for name, result in mpiexec(n, "single_steps", str(steps))[0].items():
        assert result["difference"] < max(1e-12, 10 * result["of a rounding error"]), name


@pytest.mark.slow
def test_the_same_number_of_ranks_gives_the_same_bytes_again():
    assert mpiexec(2, "optimizers", "8") == mpiexec(2, "optimizers", "8")


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5])
def test_every_form_dropout_weights_and_small_batches(n):
    for rank in (found := mpiexec(n, "forms")):
        for case, result in rank.items():
            assert result["difference"] < (1e-5 if "float32" in case else 1e-12), (case, result)
        assert rank == found[0]


@pytest.mark.slow
def test_a_large_network_whose_parameters_change_in_parts():
    for rank in mpiexec(2, "in_parts"):
        for case, result in rank.items():
            assert result["difference"] < 1e-5, (case, result)


@pytest.mark.parametrize("n", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_rows_in_blocks_of_which_each_rank_reads_its_share(n):
    """Besides 32 rows of 8 blocks by which data are recognized, and parts of blocks at the ends of its lanes."""
    for rank in (found := mpiexec(n, "rows")):
        for name, result in rank.items():
            assert max(result["difference"], result["losses"]) < 1e-11, (name, result)
            assert result["digest"] == found[0][name]["digest"]
            epochs = 1 if name in ("lbfgs", "lm") else 3
            if name != "gd":  # whose batches have one row, so that rank 0 has them all
                assert result["read"] - 40 <= epochs * (103 / n + 40 / n + 8), (name, result)
            assert result["validation"] - 40 <= 3 * (103 / n + 8)


def test_an_experiment_on_a_folder_that_is_read_in_blocks(tmp_path):
    data = load("digits")
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.save(tmp_path / f"{name}.npy", getattr(data, name))
    for rank in (found := mpiexec(2, "folder", str(tmp_path))):
        assert max(rank["difference"], rank["scores"]) < 1e-12
        assert rank["accuracy"]
        assert rank["digest"] == found[0]["digest"]


@pytest.mark.parametrize("hidden", [2, 3000])
@pytest.mark.parametrize("name", ["adam", pytest.param("gd", marks=pytest.mark.slow)])
def test_a_first_order_step_is_one_message(name, hidden):
    for rank in mpiexec(2, "messages", name, str(hidden), "not shared"):
        assert rank["sums"] == 4 * [rank["bytes"] + 4 * WORDS * rank["size"]]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system cannot share memory without a name")
def test_a_first_order_step_on_one_machine_needs_no_message():
    shared, sent = mpiexec(2, "messages", "adam", "20"), mpiexec(2, "messages", "adam", "20", "not shared")
    assert [rank["sums"] for rank in shared] == [[], []]
    assert len({rank["digest"] for rank in [*shared, *sent]}) == 1


@pytest.mark.parametrize("n", [2, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", ["", "no memory", "cannot be opened", "another process"])
def test_sums_in_shared_memory_and_without(n, fault):
    found = mpiexec(n, "shared_sums", fault)
    assert all(rank["shared"] == (not fault and hasattr(os, "memfd_create")) for rank in found)
    assert all(rank["right"] and rank["digest"] == found[0]["digest"] for rank in found)


@pytest.mark.parametrize(("n", "rows"), [(2, 103), pytest.param(3, 7, marks=pytest.mark.slow), (3, 2)])
def test_each_derivative_is_that_of_the_whole_batch(n, rows):
    for rank in mpiexec(n, "derivatives", str(rows)):
        assert {name: error for name, error in rank.items() if not error < 1e-13} == {}


@pytest.mark.parametrize("n", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5, 8))])
def test_triangles_are_combined(n):
    found = mpiexec(n, "triangles")
    assert all(rank["error"] < 1e-13 and rank["digest"] == found[0]["digest"] for rank in found)


def test_a_wish_to_stop_on_one_rank_stops_all_after_the_same_step():
    found = mpiexec(2, "stops")
    for case in found[0]:
        for rank in found:
            assert case == "change" or rank[case] == found[0][case]
    ends = {case: (result["epochs"], result.get("steps"), result.get("error")) for case, result in found[0].items()}
    assert ends["stop"] == (1, 3, "")  # the next message tells of it: one step later
    assert ends["stop at first"] == (0, 2, "")
    assert ends["stop at the end of an epoch"] == (2, 0, "")
    assert ends["interrupt"] == (1, 3, "KeyboardInterrupt: ")
    assert ends["change"][:2] == (2, 0)
    assert "rank 1 and rank 0 have parted" in ends["change"][2]
    assert "hash of theta is" in ends["change"][2]
    assert 1 < ends["early"][0] == ends["early alone"][0] < 60


def test_callbacks_that_watch_are_called_on_rank_0_alone():
    first, second = mpiexec(2, "watchers")
    assert (first["calls"], second["calls"]) == (5, 0)
    assert first["history"] == second["history"]
    assert {"gradient_norm", "val_agreement"} <= set(first["history"][0])


@pytest.mark.parametrize(("what", "message"), [
    ("data", "rank 1 and rank 0 cannot train together: data is "),
    ("nan", "rank 1: ValueError: x holds"),
    pytest.param("settings", "rank 1 and rank 0 cannot train together: batch_size is 26 on rank 0 and 25 on rank 1",
                 marks=pytest.mark.slow),
    ("optimizer", "cannot train together: optimizer is Adam(lr=0.001"),
    ("weights", "rank 1 and rank 0 cannot train together: the hash of theta is"),
    ("no history", "history must be the History of an earlier fit, not 5"),
    ("history", "the steps of the next epoch that are complete is 0 on rank 0 and 1 on rank 1"),
    ("version", f"rank 1 and rank 0 cannot train together: NumPy is {np.__version__} on rank 0 and 1.0 on rank 1"),
    ("layer", "Mean()) cannot be trained on several ranks: its outputs for an example may depend")])
def test_ranks_that_differ_are_refused_on_all_ranks(what, message):
    for rank, result in enumerate(mpiexec(2, "refused", what)):
        if what == "nan" and rank == 1:
            assert result["error"].startswith("x holds")
        else:
            assert message in result["error"]


@pytest.mark.parametrize(("what", "difference"), [
    ("seed", "seed is 0 on rank 0 and 1 on rank 1"), pytest.param("epochs", "epochs is 2 on rank 0 and 3 on rank 1",
                                                                 marks=pytest.mark.slow), ("data", "data is ")])
def test_experiments_that_differ_are_refused_on_all_ranks(what, difference):
    for result in mpiexec(2, "refused_experiment", what):
        assert result["error"].startswith(f"rank 1 and rank 0 cannot train together: {difference}")
        assert result["error"].endswith("; give all ranks the same data and settings")


def test_only_rank_0_warns():
    first, second = mpiexec(2, "warned")
    assert first["warnings"] > 0 == second["warnings"]


@pytest.mark.parametrize("action", ["fail", "kill", "leave"])
def test_a_rank_that_fails_ends_all(action):
    done = mpiexec(2, "ending", action, check=False)
    assert done.returncode != 0
    assert done.stderr.count("rank 1") == 1
    if action == "fail":
        assert "rank 1: RuntimeError: no more" in done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_a_run_of_a_study_ends_all_at_once(rank):
    done = mpiexec(2, "failing_run", str(rank), check=False)
    assert done.returncode != 0
    assert f"feedforward: rank {rank}: RuntimeError: no more" in done.stderr


@pytest.mark.slow
def test_runs_that_end_before_their_futures_are_known_are_not_lost():
    assert [result["epochs"] for result in mpiexec(2, "early_futures")] == 2 * [[1, 1, 1]]


def test_children_do_not_share_the_gradient():
    assert all(result["same"] for result in mpiexec(2, "forked"))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 60])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 64])
def test_the_shares_cover_a_batch(n, size):
    parts = [share(n, rank, size) for rank in range(size)]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(n))
    assert max(part.stop - part.start for part in parts) - min(part.stop - part.start for part in parts) <= 1
    assert n == 0 or parts[0].stop > 0


@pytest.mark.parametrize("dtypes", [["f4"], ["f8"], ["f4", "f8"]])
@pytest.mark.parametrize("cuts", [[0, 5], [0, 2, 5], [0, 1, 2, 2, 5], [0, 0, 5]])
def test_rows_get_the_random_numbers_of_the_whole_batch(dtypes, cuts):
    for width in (1, 2, 3):
        whole, ends = np.random.default_rng(1), []
        drawn = [whole.random((5, width), dtype) for _ in range(3) for dtype in dtypes]
        parts = []
        for start, stop in pairwise(cuts):
            rng = np.random.default_rng(1)
            rows, shape = RowsGenerator(rng, slice(start, stop), 5), (stop - start, width)
            parts.append([rows.random(shape, dtype) if k % 2 else rows.random(out=np.empty(shape, dtype), dtype=dtype)
                          for k in range(3) for dtype in dtypes])
            ends.append(rng.bit_generator.state)
            if not ends[-1]["has_uint32"]:
                ends[-1]["uinteger"] = whole.bit_generator.state["uinteger"]  # it is not used
        for k, expected in enumerate(drawn):
            np.testing.assert_array_equal(np.concatenate([part[k] for part in parts]), expected)
        assert all(end == whole.bit_generator.state for end in ends)


def test_other_random_numbers_are_refused():
    rows = RowsGenerator(np.random.default_rng(1), slice(0, 2), 4)
    with pytest.raises(ValueError, match=r"asked for the shape \(3,\) for 2 examples"):
        rows.random((3,))
    with pytest.raises(ValueError, match=r"only by rng.random, not by rng.normal"):
        rows.normal(size=(2, 3))


def test_a_process_that_was_started_alone_has_no_communicator(monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert world() is None


def test_the_launcher_of_another_mpi_is_named():
    pytest.importorskip("mpi4py")
    code = "from nn.mpi import world; world()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2"},
                          capture_output=True, text=True, timeout=60)
    assert "2 processes were started together, but the MPI of mpi4py (" in done.stderr
    code = "import sys; sys.modules['mpi4py'] = None; from nn.mpi import world; world()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PMI_SIZE": "2"}, capture_output=True,
                          text=True, timeout=60)
    assert "pip install 'feedforward[mpi]'" in done.stderr
