"""Examples run as scripts; examples of the documentation are doctests."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def test_search_with_optuna_reports_its_best_trial(capsys, recwarn):
    pytest.importorskip("optuna_integration")
    runpy.run_path(str(EXAMPLES / "search_optuna.py"))["main"](1)
    assert not any("item_dropout" in str(warning.message) for warning in recwarn)
    printed = capsys.readouterr().out
    assert "NDCG@10 0." in printed
    assert "rec__n_interests" in printed


def test_search_says_what_to_install_without_optuna(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    runpy.run_path(str(EXAMPLES / "search_optuna.py"))["main"]()
    assert "Skipped: Optuna is not installed; pip install" in capsys.readouterr().out


def test_processes_of_torchrun_save_one_model(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pip install skmind[parquet]")
    X = make_interactions(60, 50, n_topics=6, n_events=10, random_state=0).interactions
    X.to_parquet(tmp_path / "log.parquet")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments = [str(tmp_path / name) for name in ("log.parquet", "model")]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [*torchrun, "--nproc-per-node=2", EXAMPLES / "train_torchrun.py", *arguments, "--epochs=1"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()  # of one process
    assert line.startswith("50 items, loss ")
    digest = line.split()[-1]
    rec = MINDRecommender.load(tmp_path / "model", manifest_sha256=digest)
    assert rec.users_.tolist() == sorted(X["user_id"].unique())
    parts = [MINDRecommender.load(tmp_path / "model", users=part) for part in range(2)]
    assert sum(len(part.users_) for part in parts) == len(rec.users_)
