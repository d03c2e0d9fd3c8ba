"""The examples that `make demo` does not run."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_search_with_optuna(capsys):
    pytest.importorskip("optuna_integration")
    runpy.run_path(str(EXAMPLES / "search_optuna.py"))["main"](1)
    printed = capsys.readouterr().out
    assert "NDCG@10 0." in printed
    assert "rec__n_interests" in printed


def test_without_optuna_the_search_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    runpy.run_path(str(EXAMPLES / "search_optuna.py"))["main"]()
    assert "Skipped: Optuna is not installed; pip install" in capsys.readouterr().out
