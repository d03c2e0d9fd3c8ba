"""A process that is lost ends the others, and the fit continues from its checkpoint."""

import pickle
import shutil
import time

import numpy as np
import pytest

from tests.processes import killed, launch

WORKER = "tests.processes.killed"
TWO_AND_A_HALF = 3  # epochs: the kill comes in the middle of the third


def finish(folder, size):
    for code, output in launch.run(size, WORKER, folder, -1, 0):
        assert code == 0, output
    return [pickle.loads((folder / f"{i}.pickle").read_bytes()) for i in range(size)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    result = finish(folder, 2)[0]
    assert not (folder / "epochs").exists() or not any((folder / "epochs").iterdir())
    return result


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_the_fit_resumes(victim, tmp_path, request):
    processes = launch.start(2, WORKER, tmp_path, victim, TWO_AND_A_HALF)
    processes[victim].wait(timeout=100)
    start = time.monotonic()
    output = processes[1 - victim].communicate(timeout=30)[0]
    assert time.monotonic() - start < 30
    assert processes[1 - victim].returncode != 0
    assert f"ProcessLostError: process {victim} of 2 was lost" in output
    assert "continue after the last epoch" in output
    (fit,) = (tmp_path / "epochs").iterdir()
    assert len(list(fit.iterdir())) == 2  # the last two epochs
    if victim == 0:
        return

    uninterrupted = request.getfixturevalue("uninterrupted")
    copies = {size: tmp_path / str(size) for size in (1, 4)}
    for copy in copies.values():
        shutil.copytree(tmp_path / "epochs", copy / "epochs")
    resumed = finish(tmp_path, 2)[0]
    assert resumed["losses"] == uninterrupted["losses"]
    for name, weights in uninterrupted["weights"].items():
        assert np.array_equal(resumed["weights"][name], weights)

    # Another number of processes resumes, too: the first epochs are those of the two.
    for other in (killed.fit(copies[1]), *finish(copies[4], 4)):
        assert other["losses"][:2] == uninterrupted["losses"][:2]
        for name, weights in uninterrupted["weights"].items():
            difference = np.linalg.norm(other["weights"][name] - weights)
            assert difference <= 1e-4 * np.linalg.norm(weights)
