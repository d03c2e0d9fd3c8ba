"""A model of MovieLens 100K, or of generated data, and what it recommends without an engine."""

import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens, make_interactions
from skmind.exceptions import DatasetUnavailableError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
N_NEW_PEOPLE = 1000


class Case(NamedTuple):
    """A saved model, its interactions, frames for an engine, and the rows that it must return."""

    path: str
    seen: pd.DataFrame
    users: pd.DataFrame
    interactions: pd.DataFrame
    recommended: pd.DataFrame
    recommended_from_history: pd.DataFrame


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    try:
        X = fetch_movielens("100k").interactions[["user_id", "item_id", "timestamp"]]
    except (DatasetUnavailableError, ImportError):
        X = make_interactions(300, 200, random_state=0).interactions
    rec = MINDRecommender(embedding_dim=16, max_epochs=1, random_state=0).fit(X)
    path = tmp_path_factory.mktemp("engines") / "model"
    rec.save(path)
    # Each new person has a random tenth of the history of somebody else.
    rng = np.random.default_rng(0)
    histories = dict(list(X.groupby("user_id")))
    owners = rng.choice(list(histories), N_NEW_PEOPLE)
    parts = [
        histories[owner].sample(frac=0.1, random_state=i).assign(user_id=10_000 + i)
        for i, owner in enumerate(owners)
    ]
    interactions = pd.concat(parts).sample(frac=1, random_state=0).reset_index(drop=True)
    users = pd.DataFrame({"user_id": rng.permutation(rec.users_)})
    return Case(
        str(path),
        X,
        users,
        interactions,
        rec.recommend(users["user_id"]),
        rec.recommend_from_history(interactions),
    )


@pytest.fixture(scope="session")
def example():
    """Return a function that returns the names of an example, as a module would have them."""
    return lambda name: runpy.run_path(str(EXAMPLES / f"recommend_{name}.py"))


@pytest.fixture(scope="session")
def check_rows():
    """Return a function that compares rows, in any order, with those of skmind.

    Items, ranks, interests and types are equal; scores up to float32, because sums of products
    depend on how many users share a call.
    """

    def check(rows, expected):
        order = ["user_id", "rank"]
        assert [dtype.kind for dtype in rows.dtypes] == [*"iifii"]
        rows = rows.sort_values(order, ignore_index=True)
        rows = rows.astype(expected.dtypes.to_dict())
        expected = expected.sort_values(order, ignore_index=True)
        pd.testing.assert_frame_equal(rows, expected, rtol=0, atol=1e-6)

    return check
