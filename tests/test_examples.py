"""Examples run as scripts; examples of the documentation are doctests."""

import runpy
import sys
from pathlib import Path

import pytest

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
