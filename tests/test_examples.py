"""The examples that `make demo` does not run, and those of the user guide, which are doctests."""

import doctest
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize(
    "page", ["splits", "searching", "pipelines", "new_users", "features", "growing"]
)
def test_the_user_guide_has_pages_with_examples(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_examples(text)
    assert any("MINDRecommender(" in example.source for example in examples)
    assert f"\n{page}\n" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


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
