"""Numbers and curves of a fit → HTML for notebooks, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 180  # pixels of a curve
HEIGHT = 48
MARGIN = 4


def summary_html(rows: Mapping[str, str], curves: Mapping[str, Sequence[float]]) -> str:
    """Return a table of facts and a small plot of each curve.

    Parameters
    ----------
    rows : mapping of str to str
        Values by their names.
    curves : mapping of str to sequence of float
        One value per epoch, at least one, by the name of the value.

    Returns
    -------
    str
        One element without scripts and without references to other files.
    """
    cells = "".join(
        f'<tr><th style="text-align:left;padding:1px 12px 1px 0;font-weight:normal">{escape(name)}'
        f'</th><td style="text-align:right;padding:1px 0">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    plots = "".join(_curve_html(name, values) for name, values in curves.items())
    return (
        '<div class="skmind-summary" style="display:flex;flex-wrap:wrap;gap:24px;'
        'align-items:flex-start;margin:6px 0;font-size:90%">'
        '<table style="border-collapse:collapse;margin:0;font-size:inherit">'
        f"{cells}</table>{plots}</div>"
    )


def _curve_html(name: str, values: Sequence[float]) -> str:
    """Return a plot of a curve in the colour of the text, with its first and last value."""
    low = min(values)
    spread = max(values) - low or 1.0
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    places = [
        (MARGIN + i * step, HEIGHT - MARGIN - (value - low) / spread * (HEIGHT - 2 * MARGIN))
        for i, value in enumerate(values)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    name = escape(name)
    epochs = f"{len(values)} epoch{'' if len(values) == 1 else 's'}"
    text = f"{name} from {values[0]:.4g} to {values[-1]:.4g} in {epochs}"
    return (
        '<figure style="margin:0">'
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{text}" fill="none" stroke="currentColor" stroke-width="1.5">'
        f'<polyline points="{points}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" '
        'fill="currentColor" stroke="none"/></svg>'
        f"<figcaption>{name}: {values[0]:.4g} → {values[-1]:.4g}</figcaption></figure>"
    )
