"""Run as a script: one process of a fit that a kill may interrupt.

Arguments: a folder, the rank that kills itself (-1: none), and the epoch in which it does.
"""

import os
import pickle
import signal
import sys
from pathlib import Path

from skmind.training.trainer import Trainer
from tests.processes import cases

PARAMETERS = {"max_epochs": 4, "early_stopping": True, "n_encoder_layers": 1}


def fit(folder):
    arguments = {"X": cases.table(), "users": cases.user_table(), "items": cases.item_table()}
    return cases.fit("killed", PARAMETERS | {"checkpoint_dir": folder / "epochs"}, arguments)


if __name__ == "__main__":
    folder, victim, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rank = int(os.environ["RANK"])
    run_batch = Trainer._run_batch

    def run_or_die(self, batch, sampler, n_epochs_done):
        if rank == victim and n_epochs_done > last - 0.5:
            os.kill(os.getpid(), signal.SIGKILL)
        return run_batch(self, batch, sampler, n_epochs_done)

    Trainer._run_batch = run_or_die
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(fit(folder)))
