import warnings

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.data.units import UNITS
from skmind.exceptions import InvalidInputError, SkmindWarning
from skmind.model_selection import LeaveLastOut, TemporalSplit

SMALL = {"n_interests": 2, "embedding_dim": 4, "max_epochs": 1, "n_negatives": 10}
rng = np.random.default_rng(0)
N = 60
LOG = pd.DataFrame(
    {
        "user_id": np.repeat(np.arange(10), 6),
        "item_id": rng.integers(12, size=N),
        "timestamp": 1_600_000_000 + rng.permutation(N) * 10_000,
    }
)
LATER = LOG.assign(timestamp=LOG["timestamp"] + 10**8)
FACTORS = {unit.name: 1 / unit.seconds for unit in UNITS}


def in_unit(table, unit, dtype=np.int64):
    return table.assign(timestamp=(table["timestamp"] * FACTORS[unit]).astype(dtype))


def fit(table, **params):
    return MINDRecommender(**SMALL, random_state=0, **params).fit(table)


@pytest.fixture(scope="module")
def models():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {unit: fit(in_unit(LOG, unit), transform_history="past") for unit in FACTORS}


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize(
    ("fitted", "new", "cure"),
    [
        ("seconds", "milliseconds", "// 1000"),
        ("milliseconds", "seconds", "* 1000"),
        ("seconds", "microseconds", "// 1000000"),
        ("nanoseconds", "seconds", "* 1000000000"),
        ("seconds", "days", "* 86400"),
        ("days", "seconds", "// 86400"),
    ],
)
@pytest.mark.parametrize(
    "method", ["partial_fit", "add_interactions", "score", "target_ranks", "transform"]
)
def test_new_rows_in_another_unit(models, fitted, new, cure, method, dtype):
    rec = models[fitted]
    message = (
        rf"^column 'timestamp' has times of about \S+, as {new} since 1970 are, but the times of "
        rf"fit are about \S+, as {fitted} since .*; convert .*: X\['timestamp'\] {cure[0]}"
    )
    with pytest.raises(InvalidInputError, match=message) as error:
        getattr(rec, method)(in_unit(LATER, new, dtype))
    assert str(error.value).endswith(cure)
    getattr(rec, method)(in_unit(LATER, fitted))


@pytest.mark.parametrize(
    ("fitted", "new"),
    [
        (np.arange(N), 1_600_000_000 + np.arange(N)),
        (np.arange(N), np.arange(N) * 1000),
        (1_600_000_000 + np.arange(N), np.arange(N)),
        (np.arange(N) * 10**6, np.arange(N) * 10**9),
        (np.arange(N), np.arange(N) - 100),
        (20_200_101 + np.arange(N), 20_200_101_000_000 + np.arange(N)),
        (800_000_000 + np.arange(N), 1_700_000_000 + np.arange(N)),
        (1_600_000_000 + np.arange(N), 5 * 10**12 + np.arange(N)),  # no factor of 1000
        (pd.Timestamp("2020-01-01"), pd.Timestamp("1970-01-20")),
    ],
)
def test_other_times_are_not_compared(fitted, new):
    rec = fit(LOG.assign(timestamp=fitted))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkmindWarning)
        rec.add_interactions(LOG.assign(timestamp=new))


def test_models_without_times_have_no_unit():
    rec = fit(LOG, time_col=None, tie_order="rows")
    rec.add_interactions(in_unit(LOG, "milliseconds"))


def mixed(first, second, share=3):
    is_second = LOG.index % share == 0
    return LOG.assign(
        timestamp=in_unit(LOG, first)["timestamp"].mask(
            is_second, in_unit(LOG, second)["timestamp"]
        )
    )


def read_from_files(table, folder):
    table[: N // 2].to_parquet(folder / "a.parquet")
    table[N // 2 :].to_parquet(folder / "b.parquet")
    return folder


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("seconds", "milliseconds", "40 times of .* seconds .* 20 of .* milliseconds .*// 1000"),
        ("milliseconds", "seconds", "20 times of .* seconds .* 40 of .* milliseconds .*// 1000"),
        ("days", "seconds", "40 times of .* days .* 20 of .* seconds .*// 86400"),
        ("microseconds", "nanoseconds", "40 .* microseconds .* 20 of .* nanoseconds .*// 1000"),
    ],
)
def test_two_units_in_one_column(tmp_path, first, second, message):
    table = mixed(first, second)
    for read in (
        lambda: fit(table),
        lambda: fit(read_from_files(table, tmp_path)),
        lambda: LeaveLastOut().split(table),
        lambda: TemporalSplit().split(table),
    ):
        with pytest.warns(SkmindWarning, match=f"column 'timestamp' has {message}") as found:
            read()
    call = str(found[0].message).rpartition(": ")[2]
    cured = eval(call, {"X": table})
    assert cured.max() < 2 * cured.min()


def test_unknown_times_do_not_hide_two_units():
    table = mixed("seconds", "milliseconds")
    table.loc[1, "timestamp"] = -1
    with pytest.warns(SkmindWarning, match="39 times of .* seconds .* 20 of .* milliseconds"):
        fit(table)


@pytest.mark.parametrize(
    "times",
    [
        np.arange(N) ** 7,
        np.r_[np.full(30, 20_000), np.full(30, 9_000_000_000)],
        np.r_[np.zeros(30), np.full(30, 1_600_000_000)],
        np.r_[np.full(30, 1_600_000_000), np.full(30, 4 * 10**10)],
        -np.arange(N),
    ],
)
def test_other_times_are_of_one_unit(times):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*units are mixed")
        fit(LOG.assign(timestamp=times))


RATED = LOG[["user_id", "item_id"]].assign(rating=rng.integers(1, 6, size=N))
RATINGS = "column 2 is read as the time, but has only the values 1, 2, 3.*weight_col='rating'.*"


@pytest.mark.parametrize(
    "X",
    [
        RATED.to_numpy(),
        RATED.to_numpy() / 1.0,
        RATED.to_numpy().tolist(),
        [[1, 2, 3], [1, 3, 2], [2, 3, 1]],
    ],
)
def test_ratings_and_sessions_as_times(X):
    for read in (fit, lambda X: LeaveLastOut().split(X)):
        with pytest.warns(SkmindWarning, match=RATINGS):
            read(X)


@pytest.mark.parametrize(
    "X",
    [
        LOG.to_numpy(),
        LOG.to_numpy().astype(object),
        [[0, 1, 1], [0, 2, 2], [1, 1, 1], [1, 2, 3]],
        LOG.assign(timestamp=np.arange(N)[::-1]).to_numpy(),
        LOG.assign(timestamp=np.arange(N) // 6).to_numpy(),
        RATED.rename(columns={"rating": "timestamp"}),
    ],
)
def test_real_times_are_not_ratings(X):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*is read as the time")
        fit(X)
