"""Fitted recommender → similarity of its interests, and which of them win recommendations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special
from sklearn.utils.validation import check_is_fitted

from .._checks import check_count, warn
from ..data.formats import as_table
from ..data.ids import IdEncoder
from ..data.prepare import Schema, check_roles, read_column, warn_of_unknown_items
from ..data.ragged import isin_pairs
from ..data.tables import id_array, is_frame
from ..exceptions import InterestCollapseWarning, InvalidInputError

# Two vectors with a cosine of .982, or four with a mean cosine of .991, have this effective number.
COLLAPSED_EFFECTIVE_NUMBER = 1.05
USERS_PER_BLOCK = 10_000


@dataclass(frozen=True, eq=False, repr=False)
class InterestDiagnostics:
    """Result of `interest_diagnostics`.

    Attributes
    ----------
    n_users : int
        Number of users with at least one interest; the other attributes describe these users.
    n_interests : float
        Mean number of interests in use per user, from 1 to K.
    effective_number : float
        Mean over users of the effective number of different interests, from 1 to K.
    mean_cosine : float
        Mean cosine between two interests of the same user, from -1 to 1, over the users with at
        least two interests in use; nan if there are no such users.
    usage : DataFrame of K rows
        Indexed by ``interest``: ``in_use``, the share of users who use this interest;
        ``share_of_recommended``, the share of all top-k recommendations that it won; and
        ``wins_any``, the share of users for whom it won at least one recommendation.
    """

    n_users: int
    n_interests: float
    effective_number: float
    mean_cosine: float
    usage: pd.DataFrame

    def __repr__(self) -> str:
        names = "n_interests", "effective_number", "mean_cosine"
        means = ", ".join(f"{name}={getattr(self, name):.4g}" for name in names)
        return f"InterestDiagnostics(n_users={self.n_users}, {means})\n{self.usage.round(3)}"


def interest_diagnostics(rec: Any, user_ids: Any = None, *, k: int = 10) -> InterestDiagnostics:
    r"""Measure how many interests users have, how different they are, and which of them win.

    An interest wins a recommendation if it is the user's interest nearest to the item.

    The effective number of a user's interests is the Vendi score [1]_, the exponential of the
    entropy of the eigenvalues of a similarity matrix. With the n unit vectors in use as the rows
    of V,

    .. math:: \exp\Big(-\sum_i \lambda_i \log \lambda_i\Big), \qquad
              \lambda = \mathrm{eigenvalues}(V V^\top / n)

    which is 1 if all vectors are the same and n if they are orthogonal.

    Parameters
    ----------
    rec : fitted MINDRecommender
    user_ids : list or array of ids, or None, default=None
        Users to measure; an id that occurs more than once counts once. Users without an interest,
        such as users unknown to ``fit``, are left out. None: all users of ``fit``.
    k : int, default=10
        Number of recommendations per user that ``usage`` counts, at least 1. A larger ``k`` lets
        more interests win a recommendation.

    Returns
    -------
    InterestDiagnostics

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If ``rec`` is not fitted.
    InvalidInputError
        If no user has an interest, or ``k`` or ``user_ids`` is invalid.
    IdTypeError
        If the ids are of another kind than the ids of ``fit``.

    Warns
    -----
    InterestCollapseWarning
        If the interests of the users with several interests are practically one vector: their mean
        effective number is below 1.05, which corresponds to a mean cosine of about .99.

    References
    ----------
    .. [1] D. Friedman and A. B. Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine
       Learning", TMLR 2023, arXiv 2210.02410, definition 3.1.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import interest_diagnostics
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0).fit(X)
    >>> diagnostics = interest_diagnostics(rec)
    >>> diagnostics.n_users, diagnostics.n_interests
    (50, 2.0)
    >>> diagnostics.usage.columns.tolist()
    ['in_use', 'share_of_recommended', 'wins_any']
    """
    check_is_fitted(rec, "users_")
    rec = rec._frozen()
    k = check_count(k, "k")
    users = rec.users_ if user_ids is None else pd.unique(id_array(user_ids, "user_ids"))
    geometry = InterestGeometry.of_users(rec, users)
    n_users, n_interests = geometry.in_use.shape
    n_recommended = np.zeros(n_interests, dtype=np.int64)
    n_winning_users = np.zeros(n_interests, dtype=np.int64)
    for frame in _won_recommendations(rec, users, k):
        n_recommended += np.bincount(frame["interest"], minlength=n_interests)
        pairs = frame[["user_id", "interest"]].drop_duplicates()
        n_winning_users += np.bincount(pairs["interest"], minlength=n_interests)
    geometry.warn_if_collapsed()
    usage = {
        "in_use": geometry.in_use.mean(axis=0),
        "share_of_recommended": _ratio(n_recommended, n_recommended.sum()),
        "wins_any": n_winning_users / n_users,
    }
    return InterestDiagnostics(
        n_users=n_users,
        n_interests=float(geometry.in_use.sum(axis=1).mean()),
        effective_number=float(geometry.effective_number.mean()),
        mean_cosine=geometry.mean_cosine,
        usage=pd.DataFrame(usage, index=pd.RangeIndex(n_interests, name="interest")),
    )


def hits_by_interest(
    rec: Any, X: Any, *, k: int = 10, exclude_seen: bool | None = None
) -> pd.DataFrame:
    """Count the recommendations that each interest wins, and how many of them are hits.

    Parameters
    ----------
    rec : fitted MINDRecommender
    X : frame (pandas, polars, pyarrow) or path with the user and item columns of ``fit``
        Interactions after ``fit``, such as the test rows of
        :class:`~skmind.model_selection.LeaveLastOut`. Rows of users unknown to ``fit`` are
        dropped: these users get popular items, which no interest wins.
    k : int, default=10
        Number of recommendations per user, at least 1.
    exclude_seen : bool or None, default=None
        Whether to leave out the items that the user interacted with in ``fit``. If so, a row of
        ``X`` with such an item cannot be a hit.

    Returns
    -------
    DataFrame of n_interests rows
        Indexed by ``interest``: ``n_recommended``, ``n_hits`` (recommended items that occur with
        the user in ``X``), ``share_of_recommended``, ``share_of_hits`` and ``precision``
        (``n_hits / n_recommended``); nan where a denominator is 0. Each item counts only for the
        user's interest nearest to it, even if another interest also ranks it high.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If ``rec`` is not fitted.
    InvalidInputError
        If ``X`` is not a frame, lacks a column, has missing ids or has no user of ``fit``, or if
        ``k`` is invalid.
    IdTypeError
        If the ids are of another kind than the ids of ``fit``.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import hits_by_interest
    >>> from skmind.model_selection import LeaveLastOut
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> train, test = next(LeaveLastOut().split(X))
    >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0)
    >>> hits = hits_by_interest(rec.fit(X.iloc[train]), X.iloc[test])
    >>> int(hits["n_recommended"].sum())
    500
    """
    check_is_fitted(rec, "users_")
    rec = rec._frozen()
    k = check_count(k, "k")
    relevant = pairs_of_known_users(rec, X)
    user_encoder = IdEncoder(rec.users_, "user")
    item_encoder = IdEncoder(rec.items_, "item")

    def codes(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        codes = item_encoder.encode(pairs["item_id"], f"column {rec.item_col!r}")
        return user_encoder.encode(pairs["user_id"]), codes

    relevant_codes = codes(relevant)
    warn_of_unknown_items(
        relevant["item_id"].tolist(), relevant_codes[1], item_encoder, "targets in X", "none is hit"
    )
    users = relevant["user_id"].unique()
    n_interests = rec.interests(users[:1]).shape[1]
    n_recommended = np.zeros(n_interests, dtype=np.int64)
    n_hits = np.zeros(n_interests, dtype=np.int64)
    for frame in _won_recommendations(rec, users, k, exclude_seen):
        is_hit = isin_pairs(codes(frame), relevant_codes)
        n_recommended += np.bincount(frame["interest"], minlength=n_interests)
        n_hits += np.bincount(frame["interest"][is_hit], minlength=n_interests)
    return pd.DataFrame(
        {
            "n_recommended": n_recommended,
            "n_hits": n_hits,
            "share_of_recommended": _ratio(n_recommended, n_recommended.sum()),
            "share_of_hits": _ratio(n_hits, n_hits.sum()),
            "precision": _ratio(n_hits, n_recommended),
        },
        index=pd.RangeIndex(n_interests, name="interest"),
    )


@dataclass(frozen=True)
class InterestGeometry:
    """Measures of the interests of each user who has at least one.

    Attributes
    ----------
    in_use : ndarray of shape (n_users, n_interests), bool
    effective_number : ndarray of shape (n_users,)
        Effective number of different interests.
    cosine : ndarray of shape (n_users,)
        Mean cosine between two interests; nan for a user with fewer than two.
    """

    in_use: np.ndarray
    effective_number: np.ndarray
    cosine: np.ndarray

    @classmethod
    def of_users(cls, rec: Any, users: np.ndarray) -> InterestGeometry:
        """Measure the interests of the ``users`` who have at least one.

        Raises
        ------
        InvalidInputError
            If none of them has an interest.
        """
        blocks = [_measure_interests(rec.interests(block)) for block in user_blocks(users)]
        in_use, effective_number, cosine = map(np.concatenate, zip(*blocks, strict=True))
        has_interests = in_use.any(axis=1)
        if not has_interests.any():
            raise InvalidInputError(
                f"none of the {len(users)} users has an interest; pass users that were in fit "
                "(users_)"
            )
        return cls(in_use[has_interests], effective_number[has_interests], cosine[has_interests])

    @property
    def has_several(self) -> np.ndarray:
        """Whether each user has at least two interests, bool of shape (n_users,)."""
        return np.isfinite(self.cosine)

    @property
    def mean_cosine(self) -> float:
        """Mean cosine over the users with at least two interests; nan if there are none."""
        has_several = self.has_several
        return float(self.cosine[has_several].mean()) if has_several.any() else float("nan")

    def warn_if_collapsed(self) -> None:
        """Warn if the interests of the users with at least two are practically one vector."""
        has_several = self.has_several
        if not has_several.any():
            return
        effective_number = self.effective_number[has_several].mean()
        if effective_number < COLLAPSED_EFFECTIVE_NUMBER:
            n_in_use = self.in_use[has_several].sum(axis=1).mean()
            warn(
                f"the interests of the {has_several.sum()} users with several interests are "
                f"practically one vector: on average {n_in_use:.3g} interests in use have an "
                f"effective number of {effective_number:.3f} and a mean cosine of "
                f"{self.mean_cosine:.3f}. Set n_interests=1, which recommends as well and trains "
                "faster, or fit again with a lower item_dropout or other training settings and "
                "check with interest_curve whether several interests then recommend better",
                InterestCollapseWarning,
            )


def _measure_interests(interests: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the fields of `InterestGeometry`, including users without interests."""
    in_use = (interests != 0).any(axis=2)  # (B, K)
    n_in_use = in_use.sum(axis=1)
    lengths = np.linalg.norm(interests.astype(np.float64), axis=2, keepdims=True)
    unit = interests / np.where(lengths > 0, lengths, 1.0)
    gram = unit @ unit.transpose(0, 2, 1)  # (B, K, K)
    # Interests that are not in use add eigenvalues of 0, which add nothing to the entropy.
    eigenvalues = np.linalg.eigvalsh(gram).clip(0.0) / np.maximum(n_in_use, 1)[:, None]  # (B, K)
    effective_number = np.exp(special.entr(eigenvalues).sum(axis=1))  # (B,)
    # The diagonal of the Gram matrix sums to the number of interests in use.
    cosine = _ratio(gram.sum(axis=(1, 2)) - n_in_use, n_in_use * (n_in_use - 1))  # (B,)
    return in_use, effective_number, cosine


def user_blocks(users: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ``users`` in blocks; without users, yield one empty block."""
    for start in range(0, max(len(users), 1), USERS_PER_BLOCK):
        yield users[start : start + USERS_PER_BLOCK]


def recommend(
    rec: Any, users: np.ndarray, k: int, exclude_seen: bool | None = None
) -> pd.DataFrame:
    """Return the recommendations with columns ``user_id`` and ``item_id``, as `metrics` expects."""
    frame = rec.recommend(users, k, exclude_seen=exclude_seen, unknown="drop")
    return frame.set_axis(["user_id", "item_id", *frame.columns[2:]], axis=1)


def _won_recommendations(
    rec: Any, users: np.ndarray, k: int, exclude_seen: bool | None = None
) -> Iterator[pd.DataFrame]:
    """Yield, per block of users, the recommendations that an interest won (no popular items)."""
    for block in user_blocks(users):
        frame = recommend(rec, block, k, exclude_seen)
        yield frame[frame["interest"] >= 0]


def pairs_of_known_users(rec: Any, X: Any) -> pd.DataFrame:
    """Return ``user_id`` and ``item_id`` of the rows of ``X`` whose user was in ``fit``.

    Raises
    ------
    InvalidInputError
        If ``X`` is not a frame, lacks a column, has missing ids or has no user of ``fit``.
    IdTypeError
        If the user ids are of another kind than the user ids of ``fit``.
    """
    X = read_frame(X)
    schema = Schema(rec.user_col, rec.item_col, None)
    check_roles(X, schema, ("user", "item"))
    pairs = pd.DataFrame(
        {"user_id": read_column(X, schema, "user"), "item_id": read_column(X, schema, "item")}
    )
    label = f"column {rec.user_col!r}"
    is_known = IdEncoder(rec.users_, "user").encode(pairs["user_id"], label) >= 0
    if not is_known.any():
        raise InvalidInputError(
            f"none of the {pairs['user_id'].nunique()} users to test was in fit, so they have no "
            "interests; split by time (skmind.model_selection.LeaveLastOut) instead of by user"
        )
    return pairs[is_known]


def read_frame(X: Any) -> Any:
    """Return ``X``, a frame or path, as a frame; raise `InvalidInputError` if it is neither."""
    frame = as_table(X)
    if not is_frame(frame):
        raise InvalidInputError(
            f"X is a {type(X).__name__}; pass a table (pandas, polars, pyarrow) with the columns "
            "of the estimator"
        )
    return frame


def _ratio(numerator: np.ndarray, denominator: Any) -> np.ndarray:
    """Return ``numerator / denominator``, nan where the denominator is 0."""
    nan = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=nan, where=np.asarray(denominator) > 0)
