"""A bar where lines can be redrawn, one line per epoch elsewhere."""

import re
import subprocess
import sys
from types import ModuleType

import pytest

from skmind.training import progress
from skmind.training.progress import Progress


def run(n_epochs_done=0, verbose=1):
    """Show two epochs of 200 samples, or what is left of them, in steps of 100."""
    redrawn = []
    with Progress(200, 2, n_epochs_done, verbose) as bar:
        for epoch in range(n_epochs_done + 1, 3):
            bar.start_epoch(epoch)
            for _ in range(2):
                redrawn.append(bar.advance(100))
                bar.show({"loss": 1 / epoch})
            bar.show({"NDCG@10": epoch / 8})
            bar.end_epoch(12_345.6)
    return redrawn


@pytest.mark.parametrize("n_epochs_done", [0, 1])
def test_a_terminal_gets_one_bar(use_terminal, n_epochs_done):
    terminal = use_terminal()
    run(n_epochs_done)
    text = terminal.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    frames = text.split("\r")
    assert f"{50 * n_epochs_done}%" in frames[1]
    assert frames[-1].startswith("epoch 2/2: 100%")
    assert "400/400" in frames[-1]
    assert "samples/s, loss=0.5000, NDCG@10=0.2500]" in frames[-1]


def test_the_bar_tells_when_it_is_redrawn(monkeypatch, use_terminal):
    """It is redrawn ten times per second."""
    now = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    use_terminal()
    with Progress(10, 1, 0, 1) as bar:
        now = 0.05
        assert not bar.advance(1)
        now = 0.11
        assert bar.advance(1)
        now = 0.2
        assert not bar.advance(1)


@pytest.mark.parametrize("n_epochs_done", [0, 1])
def test_a_file_gets_one_line_per_epoch(capsys, n_epochs_done):
    assert not any(run(n_epochs_done))  # nothing is redrawn
    lines = [
        "epoch 1/2: 12,346 samples/s, loss=1.0000, NDCG@10=0.1250\n",
        "epoch 2/2: 12,346 samples/s, loss=0.5000, NDCG@10=0.2500\n",
    ]
    assert capsys.readouterr() == ("", "".join(lines[n_epochs_done:]))


@pytest.mark.parametrize("module", ["ipykernel.zmqshell", "IPython.utils._process_emscripten"])
def test_a_notebook_gets_a_bar(monkeypatch, capsys, module):
    """Its stderr is no terminal, but can redraw lines."""
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    run()
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.split("\r")[-1].startswith("epoch 2/2: 100%")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_is_shown_unless_verbose(use_terminal, capsys, is_terminal):
    terminal = use_terminal() if is_terminal else None
    assert not any(run(verbose=0))
    assert capsys.readouterr() == ("", "")
    assert terminal is None or terminal.getvalue() == ""


# ------------------------------------------------------------------ other processes


FIT = """
from skmind import MINDRecommender
from skmind.datasets import make_interactions

data = make_interactions(20, 24, n_topics=6, n_interests=2, n_events=(3, 6), random_state=0)
rec = MINDRecommender(embedding_dim=4, max_epochs=2, early_stopping=True, random_state=0, verbose=1)
rec.fit(data.interactions)
"""

# The module on its own, as importing skmind and torch takes seconds.
ONE_EPOCH = f"""
import runpy

with runpy.run_path({progress.__file__!r})["Progress"](100, 1, 0, 1) as progress:
    progress.start_epoch(1)
    progress.advance(100)
    progress.end_epoch(10.0)
"""

# What tqdm.auto looks at to tell whether it runs in a notebook.
NOTEBOOK = """
import sys
import warnings
from types import ModuleType, SimpleNamespace

warnings.simplefilter("always")
shell = SimpleNamespace(config={"IPKernelApp": {}})
ipython = ModuleType("IPython")
ipython.get_ipython = lambda: shell
display = ModuleType("IPython.display")
display.display = lambda widget: print("displayed", file=sys.stderr)
sys.modules |= {
    "ipykernel.zmqshell": ModuleType("ipykernel.zmqshell"),
    "IPython": ipython,
    "IPython.display": display,
    "ipywidgets": None,  # importing it fails
}
"""

WIDGETS = """
class Widget(SimpleNamespace):
    def __init__(self, *args, **values):
        parts = {"layout": SimpleNamespace(), "style": SimpleNamespace()}
        super().__init__(**{"value": 0, "bar_style": ""} | parts | values)

    def close(self):
        pass

widgets = ModuleType("ipywidgets")
widgets.HTML = widgets.FloatProgress = widgets.HBox = Widget
sys.modules["ipywidgets"] = widgets
"""


def stderr_of(code, tmp_path):
    """Run the code in a new process whose stderr is a file, and return what it holds then."""
    path = tmp_path / "log"
    with open(path, "wb") as file:
        process = subprocess.run([sys.executable, "-c", code], stderr=file, check=False)
    text = path.read_bytes().decode()
    assert process.returncode == 0, text
    return text


def test_a_log_file_gets_one_line_per_epoch(tmp_path):
    pattern = r"epoch {}/2: [\d,]+ samples/s, loss=\d\.\d{{4}}, NDCG@10=\d\.\d{{4}}\n"
    assert re.fullmatch(pattern.format(1) + pattern.format(2), stderr_of(FIT, tmp_path))


def test_a_notebook_without_widgets_gets_the_bar_as_text_and_no_warning(tmp_path):
    text = stderr_of(NOTEBOOK + ONE_EPOCH, tmp_path)
    assert "IProgress" not in text
    assert "Warning" not in text
    assert text.count("\n") == 1
    assert text.split("\r")[-1].startswith("epoch 1/1: 100%")


def test_a_notebook_with_widgets_gets_the_bar_of_notebooks(tmp_path):
    assert stderr_of(NOTEBOOK + WIDGETS + ONE_EPOCH, tmp_path) == "displayed\n"
