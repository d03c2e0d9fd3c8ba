import warnings
from fractions import Fraction

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skmind import MINDRecommender
from skmind._checks import check_count, check_option, check_real, warn
from skmind.datasets import make_interactions
from skmind.exceptions import IgnoredDataWarning, InvalidInputError, NothingToLearnWarning

# ------------------------------------------------------------------ parameters


@pytest.mark.parametrize("value", [1, 7, np.int32(1), np.uint8(200)])
def test_counts(value):
    count = check_count(value, "k")
    assert type(count) is int
    assert count == value


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True, np.float64(2), [1]])
def test_invalid_counts(value):
    with pytest.raises(InvalidInputError, match="k=.* must be an integer of at least 1"):
        check_count(value, "k")


def test_the_minimum_of_a_count():
    assert check_count(0, "k", minimum=0) == 0
    with pytest.raises(InvalidInputError, match="k=1 must be an integer of at least 2"):
        check_count(1, "k", minimum=2)


@pytest.mark.parametrize("value", [2**63, 10**30, np.uint64(2**63)])
def test_counts_beyond_int64(value):
    assert check_count(2**63 - 1, "k") == 2**63 - 1
    with pytest.raises(InvalidInputError, match=r"n_users=.* must be below 2\*\*63; set a smaller"):
        check_count(value, "n_users")


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.int64(1), Fraction(1, 3)])
def test_reals(value):
    real = check_real(value, "diversity", 0, 1)
    assert type(real) is float
    assert real == float(value)


@pytest.mark.parametrize("value", [-1e-9, 1.001, np.nan, np.inf, "0.5", None, True, [0.5], 10**400])
def test_invalid_reals(value):
    with pytest.raises(InvalidInputError, match="diversity=.* must be a number from 0 to 1"):
        check_real(value, "diversity", 0, 1)


def test_options():
    assert check_option("drop", "unknown", ("error", "drop")) == "drop"


@pytest.mark.parametrize("value", ["Drop", "", None, 1, ["drop"], b"drop"])
def test_invalid_options(value):
    with pytest.raises(InvalidInputError, match="unknown=.* is not one of 'error', 'drop'"):
        check_option(value, "unknown", ("error", "drop"))


# ------------------------------------------------------------------ warnings


def lines_of(call):
    """The files and lines that the warnings of a call point at."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(warning.filename, warning.lineno) for warning in caught]


def test_a_warning_points_at_the_line_that_called():
    with pytest.warns(IgnoredDataWarning, match="some words") as record:
        warn("some words", IgnoredDataWarning)
    assert record[0].filename == __file__


def unlearnable():
    X = make_interactions(n_users=5, n_items=10, n_topics=4, random_state=0).interactions
    return X.drop_duplicates("user_id")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("wrap", [lambda rec: rec, make_pipeline], ids=["bare", "pipeline"])
def test_a_warning_of_fit_points_at_the_callers_file(wrap, method):
    rec = MINDRecommender(embedding_dim=8, random_state=0)
    model = rec if method == "partial_fit" else wrap(rec)
    X = unlearnable()
    with pytest.warns(NothingToLearnWarning) as record:
        getattr(model, method)(X)
    assert [warning.filename for warning in record] == [__file__]


def test_an_ignored_feature_column_is_blamed_on_the_caller():
    X = make_interactions(n_users=5, n_items=10, n_topics=4, random_state=0).interactions
    items = X[["item_id"]].drop_duplicates().assign(empty=np.nan)
    rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0)
    assert [file for file, _ in lines_of(lambda: rec.fit(X, items=items))] == [__file__]


def test_a_warning_without_a_caller_is_still_given():
    scope = {"__name__": "skmind.imaginary", "warn": warn}
    with pytest.warns(UserWarning, match="nobody"):
        exec("warn('nobody')", scope)
