"""Recommender, fitted or not → the layers of its network, and a matplotlib plot of them.

Shapes: B users, L history length, K interests, D embedding dimension, n items.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pandas as pd

from ..exceptions import InvalidInputError
from ..nn.network import MINDNet, NetConfig
from ._plotting import GREY, SMALL_FONT, color_of, fancy_box, import_pyplot

LAYER_COLUMNS = ("layer", "detail", "weights", "output", "n_weights", "shares_weights_with")
FIGURE_INCHES = 8.0, 7.0
BOX_WIDTH = 3.1  # in the units of the axes; boxes of a row are 3.5 apart
COLUMN_STEP = 3.5
BOX_HEIGHT = 1.24
ROW_STEP = 1.66
LINE_STEP = 0.21  # between lines of text
LINE_CHARACTERS = 36  # that fit into a box
# Column and row of each layer in the plot; the main path is in column 1.
PLACES = {
    "History": (1, 0),
    "User features": (2, 1),
    "Item vectors": (1, 1),
    "User profile": (2, 2),
    "Sequence encoder": (0, 2),
    "Capsule routing": (1, 2),
    "Interests": (1, 3),
    "Catalogue": (2, 3),
    "Scores": (1, 4),
    "Loss": (0, 4),
    "Top k": (2, 4),
}
ARROWS = (
    ("History", "Item vectors"),
    ("Item vectors", "Sequence encoder"),
    ("Item vectors", "Capsule routing"),
    ("Sequence encoder", "Interests"),
    ("Capsule routing", "Interests"),
    ("User features", "User profile"),
    ("User profile", "Interests"),
    ("Interests", "Scores"),
    ("Catalogue", "Scores"),
    ("Scores", "Loss"),
    ("Scores", "Top k"),
)
SHARED_COLOR = 1
WEIGHTS_COLOR = 0


class ArchitectureDisplay:
    """Drawing of the network of a recommender: layers, shapes, and numbers of weights.

    Layers with weights are blue, layers without weights grey. Two layers that share their weights
    are orange, with a dashed line between them. Shapes are those of arrays for B users.

    Create it with `from_estimator`. ``display.figure_.savefig("model.svg")`` writes a file.

    Parameters
    ----------
    layers : DataFrame
        One row per layer, with the columns ``layer`` (its name), ``detail``, ``weights`` and
        ``output`` (texts), ``n_weights`` (number of weights that are learned; <NA> if it depends on
        data that are not known before `fit`) and ``shares_weights_with`` ("", or another layer).

    Attributes
    ----------
    layers : DataFrame
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    boxes_ : dict of str to matplotlib FancyBboxPatch
        The box of each layer.

    Raises
    ------
    InvalidInputError
        If ``layers`` is not a DataFrame or lacks a column.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.inspection import ArchitectureDisplay
    >>> rec = MINDRecommender(embedding_dim=32, n_encoder_layers=0)
    >>> display = ArchitectureDisplay.from_estimator(rec)
    >>> display.layers.set_index("layer").loc["Capsule routing", "n_weights"] == 32 * 32 + 4 * 50
    np.True_
    """

    ax_: Any
    figure_: Any
    boxes_: dict[str, Any]

    def __init__(self, layers: pd.DataFrame) -> None:
        missing = [name for name in LAYER_COLUMNS if name not in getattr(layers, "columns", ())]
        if missing:
            raise InvalidInputError(
                f"layers lacks the columns {missing}; create the display with from_estimator"
            )
        self.layers = layers

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> ArchitectureDisplay:
        """Draw the network of a recommender.

        Parameters
        ----------
        estimator : MINDRecommender, fitted or not
            Before `fit`, the numbers of items and of values of features are not known.
        ax : matplotlib Axes or None, default=None
            Axes to draw into, of 8 × 7 inches or more. None: a new figure.

        Returns
        -------
        ArchitectureDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.utils._param_validation.InvalidParameterError
            If a parameter is invalid.
        """
        import_pyplot(cls)
        return cls(_layers(estimator)).plot(ax)

    def plot(self, ax: Any = None) -> ArchitectureDisplay:
        """Draw the layers.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into, of 8 × 7 inches or more. None: a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(type(self))
        if ax is None:
            figure, ax = plt.subplots(figsize=FIGURE_INCHES)
            figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.94)
        layers = self.layers.set_index("layer")
        self.boxes_ = {name: _draw_layer(ax, name, layers.loc[name]) for name in layers.index}
        for start, end in ARROWS:
            if start in layers.index and end in layers.index:
                _draw_arrow(ax, start, end)
        for name, other in layers["shares_weights_with"].items():
            if other and PLACES[name] < PLACES[other]:
                _draw_sharing(ax, name, other)
        columns = [PLACES[name][0] for name in layers.index]
        ax.set_xlim(_center((min(columns), 0))[0] - 1.65, _center((max(columns), 0))[0] + 1.65)
        ax.set_ylim(_center((0, 4))[1] - 0.75, _center((0, 0))[1] + 0.75)
        ax.set_axis_off()
        ax.set_title(_title(self.layers), fontsize=11)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


# ------------------------------------------------------------------ drawing


def _center(place: tuple[int, int]) -> tuple[float, float]:
    column, row = place
    return column * COLUMN_STEP, -row * ROW_STEP


def _draw_layer(ax: Any, name: str, layer: pd.Series) -> Any:
    """Draw the box of a layer with its texts; return the box."""
    x, y = _center(PLACES[name])
    has_weights = pd.isna(layer["n_weights"]) or layer["n_weights"] > 0
    color = color_of(WEIGHTS_COLOR) if has_weights else GREY
    if layer["shares_weights_with"]:
        color = color_of(SHARED_COLOR)
    box = fancy_box(ax, x, y, BOX_WIDTH, BOX_HEIGHT, edgecolor=color, linewidth=1.4, fill=False)
    fancy_box(ax, x, y, BOX_WIDTH, BOX_HEIGHT, facecolor=color, edgecolor="none", alpha=0.16)
    options = {"ha": "center", "parse_math": False}
    texts = [text for text in (layer["detail"], layer["weights"], layer["output"]) if text]
    lines = "\n".join(texts).split("\n")
    top = y + LINE_STEP * len(lines) / 2
    ax.text(x, top, name, va="center", fontsize=10, fontweight="bold", **options)
    for i, line in enumerate(lines):
        below = top - LINE_STEP * (i + 1) - 0.04
        size = SMALL_FONT * min(1, LINE_CHARACTERS / len(line))  # very large sizes are long
        ax.text(x, below, line, va="center", fontsize=size, **options)
    return box


def _draw_arrow(ax: Any, start: str, end: str) -> None:
    """Draw an arrow from the edge of one box to the edge of another."""
    (x0, y0), (x1, y1) = _center(PLACES[start]), _center(PLACES[end])
    if y0 == y1:
        side = np.sign(x1 - x0) * BOX_WIDTH / 2
        ends = (x0 + side, y0), (x1 - side, y1)
    else:
        shift = np.clip(x0 - x1, -0.8, 0.8) * BOX_WIDTH / 2  # arrows of several boxes keep apart
        ends = (x0 - shift, y0 - BOX_HEIGHT / 2), (x1 + shift, y1 + BOX_HEIGHT / 2)
    arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2, "shrinkA": 1, "shrinkB": 1}
    ax.annotate("", xytext=ends[0], xy=ends[1], arrowprops=arrow)


def _draw_sharing(ax: Any, start: str, end: str) -> None:
    """Draw a dashed line between two boxes, right of the boxes between them."""
    (x0, y0), (x1, y1) = _center(PLACES[start]), _center(PLACES[end])
    x = (x0 + x1) / 2
    corners = [
        (x0 + BOX_WIDTH / 2, y0 - 0.3),
        (x, y0 - 0.3),
        (x, y1 + 0.3),
        (x1 - BOX_WIDTH / 2, y1 + 0.3),
    ]
    ax.plot(*zip(*corners, strict=True), "--", color=color_of(SHARED_COLOR), linewidth=1.2)


def _title(layers: pd.DataFrame) -> str:
    n_known = int(layers["n_weights"].sum())
    unknown = layers.loc[layers["n_weights"].isna(), "layer"].str.lower()
    title = f"{n_known:,} learned weights"
    return f"{title}, and those of {' and '.join(unknown)}" if len(unknown) else title


# ------------------------------------------------------------------ layers


def _layers(estimator: Any) -> pd.DataFrame:
    """Return the layers of a recommender, in the order of the data; see `ArchitectureDisplay`."""
    model = vars(estimator).get("_snapshot") and estimator._model
    if model:
        config = model.config
        widths = [
            getattr(model.prepared, f"{side}_features").encoder.width for side in ("item", "user")
        ]
        has_features = [width > 0 for width in widths]
        n_items: int | None = config.n_items
    else:
        estimator._validate_params()
        config, widths, n_items = _unfitted_config(estimator), [1, 1], None
        has_features = [bool(estimator.item_features), bool(estimator.user_features)]
    sizes = _weight_sizes(config, *(w * has for w, has in zip(widths, has_features, strict=True)))
    K, D, L = config.n_interests, config.embedding_dim, config.max_history
    n = "n" if n_items is None else f"{n_items:,}"
    layers = [
        _layer("History", "codes of the newest items", f"B × L,  L ≤ {L}"),
        _item_vectors(n_items, widths[0] if has_features[0] else 0, D, is_fitted=bool(model)),
    ]
    if has_features[1]:
        n_values = f"{widths[1]:,}" if model else "n_values"
        layers += [
            _layer("User features", "categories, numbers, vectors", f"B × {n_values}"),
            _layer(
                "User profile",
                "sum of embeddings, linear map",
                f"B × {D}",
                sizes["user_values"] + sizes["profile"] if model else None,
                f"{n_values} × {D} + {D} × {D} weights",
            ),
        ]
    if config.n_encoder_layers:
        encoder = sizes["layers"] + sizes["layers_norm"] + sizes["state"] + sizes["state_others"]
        is_open = not model and estimator.n_encoder_layers == "auto"
        number = "0 or 1 layer (auto)" if is_open else _plural(config.n_encoder_layers, "layer")
        layers.append(
            _layer(
                "Sequence encoder",
                f"{number} of self-attention,\na linear map per interest",
                f"B × {K} × {D}",
                encoder,
                f"{encoder:,} weights",
            )
        )
    in_use = f"{K} per user"
    if config.adaptive_interests and K > 1:
        in_use = f"1 to {K} in use, by length of history"
    has_sum = len(layers) > 2  # profile or encoder
    loss, draws = _loss(estimator)
    layers += [
        _layer(
            "Capsule routing",
            f"{_plural(config.n_routing_iter, 'iteration')}; one map for all",
            f"B × {K} × {D}",
            sizes["bilinear"] + sizes["recency"],
            f"{D} × {D} + {K} × {L} (recency) weights",
        ),
        _layer(
            "Interests",
            f"{'sum of the above' if has_sum else 'capsules'}, of unit length,\n{in_use}",
            f"B × {K} × {D}",
        ),
        _layer(
            "Catalogue",
            "item vectors, of unit length",
            f"{n} × {D}",
            0,
            "the weights of “Item vectors”",
            "Item vectors",
        ),
        _scores(sizes["repeats"], n),
        _layer("Loss", f"training: {loss}\n{draws}", ""),
        _layer("Top k", f"answers: {_index(estimator, bool(model))}", "B × k"),
    ]
    return pd.DataFrame(layers).astype({"n_weights": "Int64"})


def _layer(
    name: str,
    detail: str,
    output: str,
    n_weights: int | None = 0,
    weights: str = "",
    shares_weights_with: str = "",
) -> dict[str, Any]:
    values = (name, detail, weights, output and f"→ {output}", n_weights, shares_weights_with)
    return dict(zip(LAYER_COLUMNS, values, strict=True))


def _item_vectors(n_items: int | None, n_values: int, D: int, *, is_fitted: bool) -> dict[str, Any]:
    """Return the layer of the item vectors; ``n_values`` is 0 without item features."""
    n = "n" if n_items is None else f"{n_items:,}"
    detail = "embedding per item"
    weights = f"{n} × {D}"
    if n_values:
        detail += ",\nmean with those of its features"
        weights += f" + {f'{n_values:,}' if is_fitted else 'n_values'} × {D}"
    n_weights = None if n_items is None else (n_items + n_values) * D
    output = f"B × L × {D}"
    return _layer("Item vectors", detail, output, n_weights, f"{weights} weights", "Catalogue")


def _scores(n_repeat_weights: int, n: str) -> dict[str, Any]:
    """Return the layer of the scores of ``n`` items."""
    detail = "soft maximum of the cosines of\nan item with the interests"
    if not n_repeat_weights:
        return _layer("Scores", detail, f"B × {n}")
    weights = f"{n_repeat_weights:,} weights of repeats"
    return _layer("Scores", f"{detail}, plus repeats", f"B × {n}", n_repeat_weights, weights)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _unfitted_config(estimator: Any) -> NetConfig:
    """Return the sizes of a network for one item; the encoder has a layer if `fit` chooses."""
    n_layers = estimator.n_encoder_layers
    return NetConfig(
        n_items=1,
        n_interests=estimator.n_interests,
        embedding_dim=estimator.embedding_dim,
        max_history=estimator.max_history,
        n_routing_iter=estimator.n_routing_iter,
        adaptive_interests=bool(estimator.adaptive_interests),
        n_encoder_layers=1 if n_layers == "auto" else n_layers,
        repeats=not estimator.exclude_seen and _loss(estimator)[0].startswith("mixture"),
    )


def _weight_sizes(config: NetConfig, n_item_values: int, n_user_values: int) -> dict[str, int]:
    """Return the number of weights by the first part of their name; 0 for names without any."""
    sizes = dict.fromkeys(("layers", "layers_norm", "state", "state_others", "repeats"), 0)
    for name, shape in MINDNet.weight_shapes(config, n_item_values, n_user_values).items():
        part = name.partition(".")[0]
        sizes[part] = sizes.get(part, 0) + prod(shape)
    return sizes


def _loss(estimator: Any) -> tuple[str, str]:
    """Return the loss of a recommender and its negatives, in words."""
    loss = estimator.loss
    if loss == "auto":
        is_mixture = estimator.label_attention in (None, "mixture")
        loss = "mixture" if is_mixture else "label_aware"
    if estimator.n_negatives == "all":
        draws = "all items as negatives"
    elif estimator.negative_sampling == "in_batch":
        draws = "negatives of the batch"
    else:
        draws = f"{estimator.n_negatives:,} {estimator.negative_sampling} negatives"
    return f"{loss} loss,".replace("_", "-"), draws


def _index(estimator: Any, is_fitted: bool) -> str:
    index = estimator.index_ if is_fitted else estimator.index
    if index == "auto":
        return "search chosen in fit"
    return f"{'Annoy' if index == 'annoy' else index} search"
