"""Labels find free places, and texts have a length."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from skmind.inspection._plotting import PALETTE, line_style, place_labels, shorten
from tests.inspection.pictures import overlapping, plt


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def test_texts_are_shortened_to_one_line():
    assert shorten("a\n b\t c") == "a b c"
    assert shorten("x" * 28) == "x" * 28
    assert shorten("word " * 9, 11) == "word word…"


def test_lines_differ():
    styles = [line_style(number) for number in range(4 * len(PALETTE))]
    assert len({tuple(style.items()) for style in styles}) == len(styles)


def test_labels_overlap_neither_each_other_nor_markers(ax):
    positions = np.random.default_rng(0).random((80, 2))
    sizes = np.full(80, 6.0)
    labels = place_labels(ax, positions, sizes, [f"label {i}" for i in range(80)], range(80))
    assert 15 < len(labels) < 80
    assert overlapping(labels) == []
    frame = ax.get_window_extent()
    boxes = [label.get_window_extent() for label in labels]
    assert all(frame.x0 < box.x0 and box.x1 < frame.x1 for box in boxes)
    centres = ax.transData.transform(positions)
    assert not any(box.contains(*centre) for box in boxes for centre in centres)


def test_the_first_in_order_has_the_first_choice(ax):
    positions = np.full((30, 2), 0.5)
    texts = [f"label {i}" for i in range(30)]
    labels = place_labels(ax, positions, np.zeros(30), texts, [7, *range(7)])
    assert labels[0].get_text() == "label 7"
    assert len(labels) < 8  # no place for all of them
    assert place_labels(ax, positions, np.zeros(30), [""] * 30, range(30)) == []


def test_labels_avoid_lines(ax):
    (line,) = ax.plot([0, 1], [0.5, 0.5])
    (label,) = place_labels(ax, np.array([[0.5, 0.5]]), [4.0], ["a label"], [0], [line])
    y = ax.transData.transform((0.5, 0.5))[1]
    box = label.get_window_extent()
    assert box.y0 > y or box.y1 < y


def test_dollars_are_no_formula(ax):
    (label,) = place_labels(ax, np.array([[0.5, 0.5]]), [4.0], ["$_broken"], [0])
    assert label.get_text() == "$_broken"
    ax.figure.canvas.draw()
