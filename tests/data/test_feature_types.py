import datetime
import warnings

import numpy as np
import pandas as pd
import pytest

from skmind.data.feature_types import first_value, warn_of_lists, warn_of_values
from skmind.data.features import Column, FeatureEncoder
from skmind.exceptions import FeatureTypeWarning

N = 120
RNG = np.random.default_rng(0)
DAYS = pd.date_range("2020-02-27", periods=N)
SPLIT = r"\.str\.split"
NUMBER = "convert it to a number, such as a year"
AMOUNT = "remove the signs around the numbers, and convert it to float"


def fit(cells):
    cells = pd.Series(cells)
    return FeatureEncoder.fit({"f": Column(cells, np.arange(len(cells)))})


def joined(separator):
    return [separator.join(RNG.choice(["sea", "sun", "fog", "ice"], 3)) for _ in range(N)]


SUSPECT = {
    "datetimes": (DAYS, NUMBER),
    "the same few datetimes": (DAYS[np.arange(N) % 9], NUMBER),
    "datetimes with a zone": (DAYS.tz_localize("CET"), NUMBER),
    "dates": ([datetime.date(2020, 1, 1 + i % 28) for i in range(N)], NUMBER),
    "periods": (DAYS.to_period("D"), NUMBER),
    "timedeltas": (DAYS - DAYS[0], NUMBER),
    "ISO dates as text": (DAYS.strftime("%Y-%m-%d"), NUMBER),
    "dates and times as text": (DAYS.strftime("%Y-%m-%d %H:%M"), NUMBER),
    "European dates": (DAYS.strftime("%d.%m.%Y"), NUMBER),
    "American dates": (DAYS.strftime("%m/%d/%Y"), NUMBER),
    "dollars": ([f"${i % 20}" for i in range(N)], AMOUNT),
    "euros": ([f"{i % 20},99 €" for i in range(N)], AMOUNT),
    "codes of currencies": ([f"EUR 1,{100 + i % 20}.50" for i in range(N)], AMOUNT),
    "some without a price": ([f"£{i % 20}" if i else "on request" for i in range(N)], AMOUNT),
    "decimal numbers as text": ([f"{i % 20}.5" for i in range(N)], AMOUNT),
    "joined with |": (joined("|"), rf"{SPLIT}\('\|'\)"),
    "joined with a comma": (joined(", "), rf"{SPLIT}\(','\)"),
    "joined with a semicolon": (joined(";"), rf"{SPLIT}\(';'\)"),
    "lists as text": ([f"[0.{i % 20}, 1.5]" for i in range(N)], "json.loads"),
    "lists as Python wrote them": ([f"['sea', 'v{i % 20}']" for i in range(N)], "literal_eval"),
    "arrays as numpy wrote them": ([f"[0.{i % 20} 1.5]" for i in range(N)], "numpy.fromstring"),
    "numbers and texts of Excel": (
        ["n/a" if i % 9 == 0 else 3 if i % 9 == 1 else i % 20 / 2 for i in range(N)],
        r"texts to nan: pandas.to_numeric\(",
    ),
    "titles": ([f"The Return of Film {i}" for i in range(N)], "drop it, or convert it to numbers"),
    "text in lists": ([[f"note {i}"] for i in range(N)], "drop it, or convert it to numbers"),
    "integers": (np.arange(N), "convert it to float if it is an amount, and drop it if it is an"),
    "booleans as a vector": (list(RNG.random((N, 5)) < 0.5), "if they are vectors, convert them"),
    "counts as a vector": (list(RNG.integers(3, size=(9, 30))), "if they are vectors, convert"),
}
USUAL = {
    "small": [f"text {i}" for i in range(49)],
    "few dates": DAYS[np.arange(N) % 4],
    "ages": np.arange(N) % 50 + 18,
    "years": np.arange(N) % 80 + 1940,
    "age groups": [f"{10 * (i % 9)}-{10 * (i % 9) + 9}" for i in range(N)],
    "years and texts": ["unknown" if i % 9 == 0 else i % 20 + 1990 for i in range(N)],
    "sizes and numbers": [f"v{i % 12}" if i % 3 else i % 12 / 2 for i in range(N)],
    "postal codes": [f"{10115 + i % 60}" for i in range(N)],
    "sizes": [f"{i % 12} ml" for i in range(N)],
    "versions": [f"1.2.{i % 12}" for i in range(N)],
    "product codes": [f"A{i % 12}-{i % 3}" for i in range(N)],
    "places": [f"Town {i % 40}, Land {i % 40 % 7}" for i in range(N)],
    "genres": [RNG.choice(list("abcdefghij"), i % 4, replace=False).tolist() for i in range(N)],
    "genres of the same number": [list(np.roll(np.arange(9), i)[:3]) for i in range(N)],
    "bools": np.arange(N) % 2 == 0,
    "floats": RNG.normal(size=N),
    "vectors": list(RNG.normal(size=(N, 4))),
}


@pytest.mark.parametrize(("cells", "advice"), SUSPECT.values(), ids=SUSPECT)
def test_a_column_that_is_not_categories_is_named_with_what_to_do(cells, advice):
    with pytest.warns(FeatureTypeWarning, match=f"'f' is read as .*{advice}") as warned:
        fit(cells)
    assert len(warned) == 1


@pytest.mark.parametrize("cells", USUAL.values(), ids=USUAL)
def test_usual_columns_are_silent(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(cells)


def test_the_message_has_the_share_of_distinct_values():
    distinct = np.array([f"text {i}" for i in range(90)], dtype=object)
    with pytest.warns(FeatureTypeWarning, match=r"90 of its 100 values \(90%\) .* as 'text 0'; "):
        warn_of_values("f", distinct, 100)
    warn_of_values("f", distinct, 200)


def test_the_first_value_of_dates_is_a_date():
    assert first_value(DAYS.to_numpy()) == pd.Timestamp("2020-02-27")
    assert first_value(np.array([3, 4])) == 3


def test_lists_of_other_lengths_or_types_are_no_vectors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_lists("f", pd.Series([[1, 1, 1], [1, 1]]))
        warn_of_lists("f", pd.Series([["a", "a", "a"], ["b", "b", "a"]]))
        warn_of_lists("f", pd.Series([[1, 1], [0, 0]]))
        warn_of_lists("f", pd.Series([{1}, None]))
