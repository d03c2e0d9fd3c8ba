"""Colours, words and labels that all plots share; the only module that imports matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# Okabe and Ito's colours, which people with any colour vision can tell apart; all have enough
# contrast on white and on black. Black, white and yellow do not.
PALETTE = ("#0082C8", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":")
GREY = "#8C8C8C"
SMALL_FONT = 8  # points
MAX_LABEL_CHARACTERS = 28
LABEL_GAP = 2  # points between a label and its marker
# Directions from a marker to its label, in the order in which they are tried.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_LINE_STEP = 4  # pixels between the points at which labels avoid a line


def import_pyplot(display: Any) -> Any:
    """Return ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed; ``display``, a class, is what needs it.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{display.__name__} needs matplotlib, which can't be imported: "
            "pip install skmind[plot]"
        ) from error
    return plt


def color_of(number: int) -> str:
    """Return the colour of the interest, or of the line, with this number."""
    return PALETTE[number % len(PALETTE)]


def line_style(number: int) -> dict[str, Any]:
    """Return colour, dashes and marker of the line with this number, different for the first 24."""
    return {
        "color": color_of(number),
        "linestyle": LINES[number // len(PALETTE) % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def shorten(text: str, n_characters: int = MAX_LABEL_CHARACTERS) -> str:
    """Return a text on one line with at most ``n_characters``, with an ellipsis if it is cut."""
    text = " ".join(text.split())
    return text if len(text) <= n_characters else text[: n_characters - 1].rstrip() + "…"


def fancy_box(ax: Any, x: float, y: float, width: float, height: float, **options: Any) -> Any:
    """Draw a box with round corners and its centre at ``x``, ``y``; return the patch."""
    from matplotlib.patches import FancyBboxPatch

    corner = (x - width / 2, y - height / 2)
    shape = "round,pad=0,rounding_size=0.12"
    return ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, **options))


def place_labels(
    ax: Any,
    positions: np.ndarray,
    sizes: np.ndarray,
    texts: Sequence[str],
    order: Iterable[int],
    lines: Iterable[Any] = (),
) -> list[Any]:
    """Write labels beside markers, where they overlap neither each other, a marker nor a line.

    Labels without a free place are left out. The limits of the axes must be final.

    Parameters
    ----------
    ax : matplotlib Axes
    positions : ndarray of shape (n, 2)
        Positions of the markers in data coordinates.
    sizes : ndarray of shape (n,)
        Diameters of the markers, in points.
    texts : sequence of str
        One text per marker; markers with "" have no label.
    order : iterable of int
        Markers in the order in which their labels choose a place.
    lines : iterable of matplotlib Line2D

    Returns
    -------
    list of matplotlib Annotation
    """
    pixels_per_point = ax.figure.dpi / 72
    centres = ax.transData.transform(positions)  # (n, 2), pixels
    radii = np.asarray(sizes) * pixels_per_point / 2
    gap = LABEL_GAP * pixels_per_point
    frame = ax.get_window_extent().extents + np.array([gap, gap, -gap, -gap])
    own = np.column_stack([centres - radii[:, None], centres + radii[:, None]])  # (n, 4)
    points = [_points_on(line) for line in lines]
    taken = np.concatenate([own, *(np.tile(pixels, 2) for pixels in points)])
    labels = []
    for i in order:
        if not texts[i]:
            continue
        label = ax.annotate(
            texts[i],
            positions[i],
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=SMALL_FONT,
            parse_math=False,
            annotation_clip=False,
        )
        extent = label.get_window_extent()
        size = np.array([extent.width, extent.height])
        others = np.delete(taken, i, axis=0)
        box = _free_box(centres[i], radii[i], size, others, frame, gap)
        if box is None:
            label.remove()
            continue
        taken = np.vstack([taken, box])
        label.set_position((box[:2] - centres[i]) / pixels_per_point)
        labels.append(label)
    return labels


def _free_box(
    centre: np.ndarray,
    radius: float,
    size: np.ndarray,
    taken: np.ndarray,
    frame: np.ndarray,
    gap: float,
) -> np.ndarray | None:
    """Return the box (left, bottom, right, top) of a label beside a marker; None if none is free.

    All lengths are in pixels; ``taken`` has the boxes of the other markers and labels.
    """
    for direction in np.array(_DIRECTIONS):
        middle = centre + direction * (radius + gap + size / 2)
        box = np.concatenate([middle - size / 2, middle + size / 2])
        is_inside = (box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all()
        overlaps = (box[:2] < taken[:, 2:]) & (taken[:, :2] < box[2:])  # (n, 2)
        if is_inside and not overlaps.all(axis=1).any():
            return box
    return None


def _points_on(line: Any) -> np.ndarray:
    """Return points along a line, near each other, in pixels."""
    corners = line.get_transform().transform(line.get_xydata())  # (n, 2)
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    ends = np.append(0, np.cumsum(lengths))
    steps = np.arange(0, ends[-1], _LINE_STEP)
    return np.column_stack([np.interp(steps, ends, corners[:, axis]) for axis in (0, 1)])
