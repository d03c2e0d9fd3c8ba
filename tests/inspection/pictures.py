"""Comparison of figures with stored pictures, without any text, whose rendering may differ.

A missing picture is written, and its test fails: look at the picture before you commit it.
"""

from contextlib import contextmanager
from pathlib import Path

import matplotlib
import pytest
from matplotlib.testing.compare import compare_images
from matplotlib.text import Annotation, Text

matplotlib.use("Agg")  # needs no screen
import matplotlib.pyplot as plt

BASELINE = Path(__file__).parent / "baseline"
STYLES = {"light": "default", "dark": "dark_background"}
TOLERANCE = 4  # root of the mean squared difference of pixels, of 255


@contextmanager
def style(name):
    """A style of figures, whatever the settings of the user are."""
    with plt.style.context(["default", STYLES[name]]):
        yield


def assert_looks_the_same(figure, name, folder):
    """Compare with ``baseline/name.png``."""
    for text in figure.findobj(Text):
        is_arrow = isinstance(text, Annotation) and not text.get_text()
        text.set_visible(is_arrow)
    for ax in figure.axes:
        if ax.get_legend():
            ax.get_legend().remove()  # its size depends on the font
    actual = folder / f"{name}.png"
    figure.savefig(actual, dpi=50)
    expected = BASELINE / actual.name
    if not expected.exists():
        expected.write_bytes(actual.read_bytes())
        pytest.fail(f"{expected} was written; look at it, and run the test again")
    difference = compare_images(str(expected), str(actual), TOLERANCE)
    assert difference is None, difference


def overlapping(artists):
    """Pairs of artists whose boxes overlap by more than a pixel."""
    boxes = [artist.get_window_extent() for artist in artists]
    return [
        (artists[i], artists[j])
        for j in range(len(boxes))
        for i in range(j)
        if min(boxes[i].x1, boxes[j].x1) - max(boxes[i].x0, boxes[j].x0) > 1
        and min(boxes[i].y1, boxes[j].y1) - max(boxes[i].y0, boxes[j].y0) > 1
    ]
