"""One user of a fitted recommender → matplotlib plot of the user's interests and history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from .._checks import check_count
from .._interests import InterestRows
from .._recommender import known_codes, titles_by_code
from ..exceptions import InvalidInputError
from ._plotting import GREY, SMALL_FONT, color_of, import_pyplot, place_labels, shorten

MAP_COLUMNS = ("kind", "label", "interest", "weight", "x", "y")
KINDS = "interest", "recommendation", "history"
MAP_MARKERS = {"interest": "*", "recommendation": "D", "history": "o"}
INTEREST_POINTS = 16.0  # diameters of markers
RECOMMENDATION_POINTS = 7.0
HISTORY_POINTS = 4.0, 18.0  # without weight, and with all the weight of an interest
MIN_VARIATION = 1e-6  # of vectors of unit length, in a direction
LABELS_PER_INTEREST = 4  # of history items
AXIS_LABEL_CHARACTERS = 36
ROW_INCHES = 0.21  # height of a row of the heat map


class InterestMapDisplay:
    """Map of one user: history and recommendations around the user's interests.

    Colours are interests: those that recommend an item, and those in which a history item has its
    largest weight. The vectors of the interests, the history items and the recommendations are
    projected onto the plane in which the means of the colours differ most (between-group principal
    components), so that vectors of a high cosine are near each other as far as a plane can show it.
    The size of a history item shows its weight. Recommendations, and the four history items of the
    largest weight in each interest, have labels, unless they would overlap.

    Create it with `from_estimator`.

    Parameters
    ----------
    points : DataFrame
        One row per point, with the columns ``kind`` ("interest", "recommendation" or "history"),
        ``label`` (its text), ``interest`` (its number), ``weight`` (from 0 to 1), ``x`` and ``y``.

    Attributes
    ----------
    points : DataFrame
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    markers_ : dict of str to matplotlib PathCollection
        The points of each kind.
    labels_ : list of matplotlib Annotation
        The labels that have a place.

    Raises
    ------
    InvalidInputError
        If ``points`` is not a DataFrame or lacks a column.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import InterestMapDisplay
    >>> data = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0)
    >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0)
    >>> rec = rec.fit(data.interactions)
    >>> display = InterestMapDisplay.from_estimator(rec, 0, k=5, titles=data.item_table)
    >>> display.points["kind"].value_counts()["recommendation"]
    np.int64(5)
    """

    ax_: Any
    figure_: Any
    markers_: dict[str, Any]
    labels_: list[Any]

    def __init__(self, points: pd.DataFrame) -> None:
        missing = [name for name in MAP_COLUMNS if name not in getattr(points, "columns", ())]
        if missing:
            raise InvalidInputError(
                f"points lacks the columns {missing}; create the display with from_estimator"
            )
        self.points = points

    @classmethod
    def from_estimator(
        cls, estimator: Any, user_id: Any, *, k: int = 10, titles: Any = None, ax: Any = None
    ) -> InterestMapDisplay:
        """Compute and draw the map of a user.

        Parameters
        ----------
        estimator : fitted MINDRecommender
        user_id : known id
        k : int, default=10
            Number of recommendations, at least 1.
        titles : Series or dict keyed by item id, frame, or None, default=None
            Titles of the items, as in `MINDRecommender.recommend`. Items without one have their id.
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        InterestMapDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        UnknownIdError
            If ``fit`` has not seen the user, or no item of ``titles``.
        InvalidInputError
            If the user has no interest, or another argument is invalid.
        """
        import_pyplot(cls)
        return cls(_map_points(estimator, user_id, k, titles)).plot(ax)

    def plot(self, ax: Any = None) -> InterestMapDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into, in their final size. None: a new figure.

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
            figure, ax = plt.subplots()
            figure.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=0.88)
        points = self.points
        positions = points[["x", "y"]].to_numpy(dtype=float)
        sizes = _marker_points(points)
        self._draw_links(ax)
        self.markers_ = {}
        for order, kind in enumerate(reversed(KINDS)):
            rows = np.flatnonzero(points["kind"] == kind)
            self.markers_[kind] = ax.scatter(
                *positions[rows].T,
                s=sizes[rows] ** 2,
                c=[color_of(number) for number in points["interest"].iloc[rows]],
                marker=MAP_MARKERS[kind],
                edgecolors=ax.get_facecolor() if kind != "interest" else plt.rcParams["text.color"],
                linewidths=0.8,
                alpha=0.85 if kind == "history" else 1,
                zorder=3 + order,
            )
        ax.set(xticks=[], yticks=[])
        ax.margins(0.1)
        self._draw_legend(ax)
        ax.autoscale_view()
        self.labels_ = place_labels(ax, positions, sizes, *_labels_of_points(points))
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _draw_links(self, ax: Any) -> None:
        """Draw a faint line from each interest to its points."""
        points = self.points
        centres = points[points["kind"] == "interest"].set_index("interest")[["x", "y"]]
        for point in points[points["kind"] != "interest"].itertuples():
            if point.interest in centres.index:
                x, y = centres.loc[point.interest]
                line = {"color": color_of(point.interest), "linewidth": 0.6, "alpha": 0.35}
                ax.plot([x, point.x], [y, point.y], zorder=1, **line)

    def _draw_legend(self, ax: Any) -> None:
        """Explain colours and markers above the axes."""
        is_interest = self.points["kind"] == "interest"
        handles = [
            ax.plot([], [], "*", color=color_of(n), markersize=11, label=f"interest {n}")[0]
            for n in self.points.loc[is_interest, "interest"]
        ]
        for kind, label in (
            ("recommendation", "recommendation"),
            ("history", "history, sized by weight"),
        ):
            marker = {"marker": MAP_MARKERS[kind], "color": GREY, "markersize": 7, "linestyle": ""}
            handles += ax.plot([], [], label=label, **marker)
        ax.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=min(4, len(handles)),
            fontsize=SMALL_FONT,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.2,
        )


class RoutingDisplay:
    """Heat map of the routing of one user: how much each history item weighs in each interest.

    Create it with `from_estimator`.

    Parameters
    ----------
    weights : DataFrame of shape (n_items, n_interests)
        Weights from 0 to 1; the index has the labels of the items, newest first, the columns are
        the numbers of the interests.

    Attributes
    ----------
    weights : DataFrame
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    mesh_ : matplotlib QuadMesh
    colorbar_ : matplotlib Colorbar

    Raises
    ------
    InvalidInputError
        If ``weights`` is not a DataFrame, or has no row or no column.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import RoutingDisplay
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0).fit(X)
    >>> RoutingDisplay.from_estimator(rec, 0, n_items=6).weights.shape
    (6, 2)
    """

    ax_: Any
    figure_: Any
    mesh_: Any
    colorbar_: Any

    def __init__(self, weights: pd.DataFrame) -> None:
        if not isinstance(weights, pd.DataFrame) or not weights.size:
            raise InvalidInputError(
                "weights must be a DataFrame with a row per history item and a column per "
                "interest; create the display with from_estimator"
            )
        self.weights = weights

    @classmethod
    def from_estimator(
        cls, estimator: Any, user_id: Any, *, titles: Any = None, n_items: int = 20, ax: Any = None
    ) -> RoutingDisplay:
        """Compute and draw the heat map of a user.

        Parameters
        ----------
        estimator : fitted MINDRecommender
        user_id : known id
        titles : Series or dict keyed by item id, frame, or None, default=None
            Titles of the items, as in `MINDRecommender.recommend`. Items without one have their id.
        n_items : int, default=20
            Maximum number of newest history items, at least 1. The weights of an interest add up
            to 1 over the ``max_history`` newest items, of which this may be a part.
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure, as high as the number of items needs.

        Returns
        -------
        RoutingDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        UnknownIdError
            If ``fit`` has not seen the user, or no item of ``titles``.
        InvalidInputError
            If the user has no history, or another argument is invalid.
        """
        import_pyplot(cls)
        return cls(_routing_weights(estimator, user_id, titles, n_items)).plot(ax)

    def plot(self, ax: Any = None) -> RoutingDisplay:
        """Draw the heat map: the newest item at the top.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure, as high as the number of items needs.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(type(self))
        n_items, n_interests = self.weights.shape
        if ax is None:
            height = 1.1 + ROW_INCHES * n_items
            _, ax = plt.subplots(figsize=(6.4, max(height, 2.4)), layout="constrained")
        lines = {"edgecolors": ax.get_facecolor(), "linewidth": 1}
        self.mesh_ = ax.pcolormesh(self.weights.to_numpy(), cmap="cividis", vmin=0, **lines)
        self.colorbar_ = ax.figure.colorbar(self.mesh_, ax=ax, label="Weight in the interest")
        labels = [shorten(str(label), AXIS_LABEL_CHARACTERS) for label in self.weights.index]
        middles = np.arange(n_items) + 0.5
        ax.set_yticks(middles, labels, fontsize=SMALL_FONT, parse_math=False)
        ax.set_xticks(np.arange(n_interests) + 0.5, self.weights.columns)
        ax.invert_yaxis()
        ax.tick_params(length=0)
        ax.set(xlabel="Interest", ylabel="History, newest first")
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


# ------------------------------------------------------------------ numbers


def _labels(model: Any, codes: np.ndarray, texts: np.ndarray | None) -> list[str]:
    """Return the title of each item code, or else its id as text."""
    ids = model.items.ids[codes].tolist()
    titles = [""] * len(ids) if texts is None else texts[codes].tolist()
    return [title or str(id_) for title, id_ in zip(titles, ids, strict=True)]


def _map_points(rec: Any, user_id: Any, k: int, titles: Any) -> pd.DataFrame:
    """Return the points of the map of a user; see `InterestMapDisplay`."""
    check_is_fitted(rec, "items_")
    rec = rec._frozen()
    check_count(k, "k")
    snapshot = rec._fitted()
    model = snapshot.model
    texts = titles_by_code(model, titles)
    code = known_codes(model.users, [user_id])
    found = InterestRows.of_users(model, snapshot.network(rec.device), code)
    if not len(found.users):
        raise InvalidInputError(
            f"the user {user_id!r} has no interest, because the user has neither a history nor "
            "features; choose another user of users_"
        )
    weights = found.weights.toarray()  # (K, n_items)
    history = np.flatnonzero(weights.any(axis=0))
    top = rec.recommend([user_id], k)
    recommended = model.items.encode(top.iloc[:, 1])
    won = {"interest": found.interests, "recommendation": top["interest"].to_numpy()}
    won["history"] = found.interests[weights[:, history].argmax(axis=0)]
    parts = {
        "interest": ([f"interest {n}" for n in found.interests], np.ones(len(found.interests))),
        "recommendation": (_labels(model, recommended, texts), top["score"].to_numpy()),
        "history": (_labels(model, history, texts), weights[:, history].max(axis=0)),
    }
    points = pd.concat(
        pd.DataFrame({"kind": kind, "label": labels, "interest": won[kind], "weight": values})
        for kind, (labels, values) in parts.items()
    )
    vectors = snapshot.item_embeddings[np.concatenate([recommended, history])]
    interests = points["interest"].to_numpy()
    plane = _plane_of_groups(np.concatenate([found.vectors, vectors]), interests)
    return points.assign(x=plane[:, 0], y=plane[:, 1]).reset_index(drop=True)


def _plane_of_groups(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Project vectors (n, D) onto the plane in which the means of groups differ most: (n, 2).

    If the means differ in one direction only, the second one is that in which the rest varies most.
    """
    means = np.stack([vectors[groups == group].mean(axis=0) for group in np.unique(groups)])
    centred = vectors - means.mean(axis=0)
    basis = _principal_directions(means - means.mean(axis=0), 2)
    rest = centred - centred @ basis.T @ basis
    basis = np.concatenate([basis, _principal_directions(rest, 2 - len(basis))])
    plane = centred @ basis.T
    plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))  # one dimension has no second
    # The sign of a direction is arbitrary: the point farthest from the centre is on the right.
    farthest = plane[np.abs(plane).argmax(axis=0), [0, 1]]
    return plane * np.where(farthest < 0, -1, 1)


def _principal_directions(centred: np.ndarray, n: int) -> np.ndarray:
    """Return up to ``n`` orthogonal directions in which centred vectors vary most."""
    _, values, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    return directions[:n][values[:n] > MIN_VARIATION]


def _marker_points(points: pd.DataFrame) -> np.ndarray:
    """Return the diameters of the markers, in points."""
    smallest, largest = HISTORY_POINTS
    by_weight = smallest + (largest - smallest) * np.sqrt(points["weight"].clip(0, 1))
    sizes = {"interest": INTEREST_POINTS, "recommendation": RECOMMENDATION_POINTS}
    return points["kind"].map(sizes).fillna(by_weight).to_numpy(dtype=float)


def _labels_of_points(points: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Return the label of each point, "" for none, and the order in which they choose a place.

    Recommendations come first, then the heaviest history items of each interest.
    """
    kinds = points["kind"]
    ranks = points.groupby(["kind", "interest"])["weight"].rank(ascending=False, method="first")
    is_heavy = (kinds == "history") & (ranks <= LABELS_PER_INTEREST)
    has_label = (kinds == "recommendation") | is_heavy
    texts = [
        shorten(text) if has else "" for text, has in zip(points["label"], has_label, strict=True)
    ]
    order = np.lexsort((-points["weight"], kinds.map(KINDS.index)))
    return texts, order.tolist()


def _routing_weights(rec: Any, user_id: Any, titles: Any, n_items: int) -> pd.DataFrame:
    """Return the weights of the newest history items; see `RoutingDisplay`."""
    check_is_fitted(rec, "items_")
    rec = rec._frozen()
    check_count(n_items, "n_items")
    snapshot = rec._fitted()
    model = snapshot.model
    texts = titles_by_code(model, titles)
    code = known_codes(model.users, [user_id])
    histories = model.interactions.take(code)
    if not len(histories.items):
        raise InvalidInputError(
            f"the user {user_id!r} has no history, so that nothing is routed; choose another user "
            "of users_"
        )
    net = snapshot.network(rec.device)
    ((_, window, encoded),) = model.encode_blocks(net, histories, model.profile_rows(code))
    items = window[0]
    interests = np.flatnonzero(encoded.mask[0])
    weights = encoded.weights[0, interests, : len(items)]  # (K, L)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    shown = slice(n_items)
    labels = _labels(model, items[shown], texts)
    return pd.DataFrame(weights.T[shown], index=labels, columns=interests)
