"""skops loads every estimator of skmind with the names of `trusted_types`."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skops import io as skops

from skmind import MINDRecommender, trusted_types
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut, TemporalSplit, UserKFold
from skmind.scoring import make_ranking_scorer

X = make_interactions(20, 24, n_topics=6, n_interests=2, random_state=0).interactions
SMALL = {"n_interests": 2, "embedding_dim": 4, "max_history": 5, "max_epochs": 1, "random_state": 0}
VALUES = {
    "text": ["a", "b"],
    "numbers": [0.5, 1.5],
    "flags": [True, False],
    "lists": [["x"], ["y", "z"]],
    "mixed": [1, "a"],
    "dates": pd.to_datetime(["2020-01-01", "2021-01-01"]),
    "zoned dates": pd.to_datetime(["2020-01-01", "2021-01-01"]).tz_localize("Europe/Berlin"),
    "days": [date(2020, 1, 1), date(2021, 1, 1)],
    "decimals": [Decimal("1.5"), Decimal(2)],
    "categories": pd.Categorical(["a", "b"]),
    "durations": pd.to_timedelta([1, 2], unit="D"),
    "bytes": [b"a", b"b"],
}
AS_ID = {
    "text": str,
    "mixed": lambda i: i if i % 2 else str(i),
    "float": float,
    "huge": lambda i: 10**30 + i,
    "bytes": lambda i: bytes([i]),
    "days": lambda i: date(2020, 1, 1 + i),
    "decimals": lambda i: Decimal(i) / 2,
    "timestamps": lambda i: pd.Timestamp(2020, 1, 1 + i),
}


def features(kind):
    values = pd.Series(VALUES[kind])
    column = values.take(np.arange(24) % 2).reset_index(drop=True)
    return pd.DataFrame({"item_id": range(24), "feature": column})


def with_ids(kind):
    ids = [AS_ID[kind](i) for i in X["item_id"].tolist()]
    return X.assign(item_id=pd.Series(ids, dtype=object, index=X.index))


def fitted(table=X, items=None, **params):
    return MINDRecommender(**{**SMALL, **params}).fit(table, items=items)


ESTIMATORS = {
    "unfitted": lambda: MINDRecommender(),
    "plain": fitted,
    "array": lambda: fitted(X.to_numpy()),
    "no times": lambda: fitted(time_col=None),
    "dates as times": lambda: fitted(X.assign(timestamp=pd.to_datetime(X["timestamp"], unit="s"))),
    "encoder and early stopping": lambda: fitted(n_encoder_layers=1, early_stopping=True),
    "RandomState": lambda: fitted(random_state=np.random.RandomState(0)),
    "numpy scalars": lambda: fitted(n_interests=np.int64(2), temperature=np.float32(0.1)),
    "annoy": lambda: fitted(index="annoy", search_k=50),
    "grown": lambda: fitted().partial_fit(X.assign(user_id=X["user_id"] + 9)),
    **{f"feature: {kind}": lambda kind=kind: fitted(items=features(kind)) for kind in VALUES},
    **{f"ids: {kind}": lambda kind=kind: fitted(with_ids(kind)) for kind in AS_ID},
    "Pipeline": lambda: make_pipeline(MINDRecommender(**SMALL), LogisticRegression()).fit(
        X, X["item_id"] % 2
    ),
    "search": lambda: GridSearchCV(
        MINDRecommender(**SMALL),
        {"horizon": [1, 2]},
        cv=LeaveLastOut(),
        scoring=make_ranking_scorer("ndcg", k=5),
    ).fit(X),
    "LeaveLastOut": LeaveLastOut,
    "TemporalSplit": lambda: TemporalSplit(2),
    "UserKFold": lambda: UserKFold(2),
    "scorer": lambda: make_ranking_scorer("ndcg", k=5),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_skops_needs_no_other_names(name):
    estimator = ESTIMATORS[name]()
    dumped = skops.dumps(estimator)
    loaded = skops.loads(dumped, trusted=trusted_types())
    assert type(loaded) is type(estimator)
    if hasattr(estimator, "recommend") and name != "unfitted":
        assert loaded.recommend(k=3).equals(estimator.recommend(k=3))
    elif hasattr(estimator, "predict") and name != "unfitted":
        np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


def test_a_checkpoint_dir_may_be_a_path(tmp_path):
    rec = MINDRecommender(checkpoint_dir=Path(tmp_path))
    loaded = skops.loads(skops.dumps(rec), trusted=trusted_types())
    assert loaded.checkpoint_dir == Path(tmp_path)


def test_every_name_is_a_class_that_exists_and_all_are_used():
    names = trusted_types()
    assert len(names) == len(set(names))
    models = [ESTIMATORS[name]() for name in ("feature: days", "ids: decimals", "search")]
    models += [TemporalSplit(2), UserKFold(2), MINDRecommender(checkpoint_dir=Path("x"))]
    used = set()
    for model in models:
        used |= set(skops.get_untrusted_types(data=skops.dumps(model)))
    assert set(names) == used
