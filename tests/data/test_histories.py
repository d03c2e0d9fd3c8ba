import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skmind.data.histories import read_histories, score_task
from skmind.data.ids import IdEncoder
from skmind.data.interactions import Interactions
from skmind.data.prepare import Rows, Schema
from skmind.exceptions import (
    IdTypeError,
    InvalidInputError,
    NothingToScoreWarning,
    UnknownIdError,
)

SCHEMA = Schema("user", "item", "time")
ITEMS = IdEncoder(np.array(["a", "b", "c", "d"], dtype=object), "item")


def as_lists(interactions):
    offsets = interactions.offsets
    return [
        interactions.items[start:end].tolist()
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]


# ------------------------------------------------------------------ histories

LISTS = [["b", "new", "a"], [], ["new"], ["c", "c"]]
CODES = [[1, 0], [], [], [2, 2]]
FORMS = {
    "lists": LISTS,
    "tuples": tuple(map(tuple, LISTS)),
    "arrays": [np.array(history, dtype=object) for history in LISTS],
    "Series of lists": pd.Series(LISTS, index=[9, 9, 1, 0]),
    "Series": [pd.Series(history, dtype=object) for history in LISTS],
    "polars": pl.Series(LISTS),
    "generator": (history for history in LISTS),
}


@pytest.mark.parametrize("histories", FORMS.values(), ids=FORMS)
def test_a_list_of_histories(histories):
    keys, found = read_histories(histories, SCHEMA, ITEMS)
    assert keys.tolist() == [0, 1, 2, 3]
    assert as_lists(found) == CODES
    assert found.items.dtype == np.int32
    assert found.times is None


@pytest.mark.parametrize("keys", [["x", "y", "z", "w"], [7, 3, 5, 1], ["x", 1, 2.5, "w"]])
def test_a_dict_of_histories(keys):
    found_keys, found = read_histories(dict(zip(keys, LISTS, strict=True)), SCHEMA, ITEMS)
    assert found_keys.tolist() == keys
    assert as_lists(found) == CODES


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_of_histories(make):
    table = make(
        {
            "user": ["y", "x", "y", "z", "y", "x"],
            "item": ["a", "c", "new", "new", "b", "c"],
            "time": [3, 1, 2, 1, 1, 1],
        }
    )
    keys, found = read_histories(table, SCHEMA, ITEMS)
    assert keys.tolist() == ["y", "x", "z"]
    assert as_lists(found) == [[1, 0], [2, 2], []]
    assert found.times.tolist() == [1, 3, 1, 1]
    keys, found = read_histories(table, SCHEMA._replace(time=None), ITEMS)
    assert as_lists(found) == [[0, 1], [2, 2], []]


def test_a_two_dimensional_array_has_one_history_a_row():
    items = IdEncoder(np.array([5, 6, 7]), "item")
    keys, found = read_histories(np.array([[7, 5], [6, 9]]), SCHEMA, items)
    assert keys.tolist() == [0, 1]
    assert as_lists(found) == [[2, 0], [1]]


@pytest.mark.parametrize("seed", range(5))
def test_histories_of_every_form_equal_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    items = IdEncoder(np.arange(10, 20), "item")
    lists = [rng.integers(8, 24, rng.integers(6)).tolist() for _ in range(15)]
    wanted = [[item - 10 for item in history if 10 <= item < 20] for history in lists]
    assert as_lists(read_histories(lists, SCHEMA, items)[1]) == wanted
    as_dict = {f"p{i}": history for i, history in enumerate(lists)}
    assert as_lists(read_histories(as_dict, SCHEMA, items)[1]) == wanted
    rows = [(i, item, t) for i, history in enumerate(lists) for t, item in enumerate(history)]
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    keys, found = read_histories(table.sample(frac=1, random_state=seed), SCHEMA, items)
    wanted_by_key = {i: history for i, history in enumerate(wanted) if lists[i]}
    assert dict(zip(keys.tolist(), as_lists(found), strict=True)) == wanted_by_key


@pytest.mark.parametrize("nobody", [[], {}, pd.DataFrame({"user": [], "item": [], "time": []})])
def test_nobody(nobody):
    keys, found = read_histories(nobody, SCHEMA, ITEMS)
    assert len(keys) == 0
    assert as_lists(found) == []


@pytest.mark.parametrize("one", ["a", b"a", 1, None, 0.5])
@pytest.mark.parametrize("container", [lambda one: [["a"], one], lambda one: {"x": [], "y": one}])
def test_a_single_history_is_an_error(one, container):
    with pytest.raises(InvalidInputError, match=r"a list of item ids per person, got .*\[\[id, id"):
        read_histories(container(one), SCHEMA, ITEMS)


@pytest.mark.parametrize(
    ("histories", "error", "message"),
    [
        ([[1, 2]], IdTypeError, "item ids are of kind number .* kind text"),
        ([["a", None]], InvalidInputError, "the list of item ids has 1 missing"),
        ([[["a"]]], IdTypeError, r"the list of item ids has the id \['a'\] of type list"),
        (pa.array([["a"]]), IdTypeError, "item ids has the id .* of type StringScalar"),
        ({("x", 1): ["a"]}, IdTypeError, "the keys has the id .* of type tuple"),
        ({None: ["a"]}, InvalidInputError, "the keys has 1 missing"),
        (pd.DataFrame({"user": [1], "item": ["a"]}), InvalidInputError, "no column 'time'"),
    ],
)
def test_illegal_histories_are_an_error(histories, error, message):
    with pytest.raises(error, match=message):
        read_histories(histories, SCHEMA, ITEMS)


# ------------------------------------------------------------------ what score has to rank

N_KNOWN, N_ITEMS = 6, 8


def random_query(seed, with_times=True, n_rows=60):
    """Rows of known users 0 to 5 and strangers s0 to s9, items 0 to 7 known and 8 to 10 new."""
    rng = np.random.default_rng(seed)
    known = [rng.integers(N_ITEMS, size=rng.integers(5)).tolist() for _ in range(N_KNOWN)]
    names = [*range(N_KNOWN - 1), *(f"s{i}" for i in range(10)), "once"]  # user 5 isn't asked for
    users = [names[i] for i in rng.integers(len(names) - 1, size=n_rows)] + ["once"]
    items = rng.integers(N_ITEMS + 3, size=n_rows + 1).tolist()
    times = rng.integers(6, size=n_rows + 1).tolist() if with_times else None
    weights = rng.integers(1, 9, n_rows + 1).tolist()
    return known, users, items, times, weights


def task_of(known, users, items, times, weights=None, unseen_users="fold_in"):
    rows = Rows(
        np.array(users, object), np.array(items), None if times is None else np.array(times)
    )
    owners = np.repeat(np.arange(len(known)), [len(history) for history in known])
    flat = np.array([item for history in known for item in history], dtype=np.int32)
    codes = np.array([user if isinstance(user, int) else -1 for user in users], dtype=np.int32)
    items = np.array([item if item < N_ITEMS else -1 for item in items], dtype=np.int32)
    histories = Interactions.from_codes(owners, flat, None, len(known))
    return score_task(rows, codes, items, histories, weights, unseen_users)


def oracle(known, users, items, times, weights=None, unseen_users="fold_in"):
    """One entry a person: code, history, items to be found, and their weights."""
    rows = list(zip(range(len(users)), users, items, times or range(len(users)), strict=True))
    weights = [1] * len(users) if weights is None else weights
    people = []
    for user in sorted({user for user in users if isinstance(user, int)}):
        mine = [row for row in rows if row[1] == user]
        targets = [(item, weights[row]) for row, _, item, _ in mine]
        people.append((user, known[user], targets))
    strangers = dict.fromkeys(user for user in users if isinstance(user, str))
    for user in {} if unseen_users == "skip" else strangers:
        mine = sorted((row for row in rows if row[1] == user), key=lambda row: (row[3], row[0]))
        if unseen_users == "popular":
            people.append((-1, [], [(item, weights[row]) for row, _, item, _ in mine]))
        elif len(mine) >= 2:
            past = [item for _, _, item, _ in mine[:-1] if item < N_ITEMS]
            people.append((-1, past, [(mine[-1][2], weights[mine[-1][0]])]))
    return people


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("with_times", [True, False])
@pytest.mark.parametrize("unseen_users", ["fold_in", "skip", "popular"])
def test_the_task_equals_that_of_a_loop(seed, with_times, unseen_users):
    query = random_query(seed, with_times)
    task, people = task_of(*query, unseen_users), oracle(*query, unseen_users)
    assert (len(people) > N_KNOWN) == (unseen_users != "skip")  # strangers with two rows occurred
    assert task.users.tolist() == [user for user, _, _ in people]
    assert as_lists(task.histories) == [history for _, history, _ in people]
    found = list(zip(task.target_rows.tolist(), task.target_items.tolist(), strict=True))
    wanted = [
        (row, item)
        for row, (_, _, targets) in enumerate(people)
        for item in {item for item, _ in targets}
    ]
    assert sorted(found) == sorted((row, item if item < N_ITEMS else -1) for row, item in wanted)
    ids = zip(task.target_rows.tolist(), np.array(query[2])[task.targets].tolist(), strict=True)
    assert sorted(ids) == sorted(wanted)
    asked = [query[1][row] for row in task.targets]
    known = task.users[task.target_rows].tolist()
    assert [user if isinstance(user, int) else -1 for user in asked] == known
    np.testing.assert_allclose(
        task.weights, [np.mean([weight for _, weight in targets]) for _, _, targets in people]
    )


@pytest.mark.parametrize("seed", range(10))
def test_what_was_seen_is_the_history_without_what_is_to_be_found(seed):
    query = random_query(seed)
    task, people = task_of(*query), oracle(*query)
    wanted = [
        [item for item in history if item not in {i for i, _ in targets}]
        for _, history, targets in people
    ]
    assert as_lists(task.seen()) == wanted
    assert wanted != [history for _, history, _ in people]  # there was something to leave out
    assert as_lists(task.histories) == [history for _, history, _ in people]


def test_weights_default_to_one():
    query = random_query(0)
    assert (task_of(*query[:4]).weights == 1).all()
    assert not (task_of(*query).weights == 1).all()


def test_different_new_items_are_different_targets():
    task = task_of([[1]], [0, 0, 0, 0], [8, 9, 8, 2], None)
    assert task.target_items.tolist() == [-1, -1, 2]
    assert task.targets.tolist() == [0, 1, 3]
    assert as_lists(task.seen()) == [[1]]


def test_only_known_users():
    task = task_of([[1, 2], [3]], [1, 0, 1], [3, 1, 4], [1, 2, 3])
    assert task.users.tolist() == [0, 1]
    assert as_lists(task.histories) == [[1, 2], [3]]
    assert as_lists(task.seen()) == [[2], []]


def test_a_known_user_without_history():
    task = task_of([[], [3]], [0], [3], [1])
    assert task.users.tolist() == [0]
    assert as_lists(task.histories) == [[]]
    assert as_lists(task.seen()) == [[]]


def test_only_strangers_the_last_of_equal_times_is_the_target():
    task = task_of([[1]], ["x", "y", "x", "x"], [5, 1, 9, 3], [2, 1, 2, 2])
    assert task.users.tolist() == [-1]
    assert as_lists(task.histories) == [[5]]
    assert task.target_items.tolist() == [3]


@pytest.mark.parametrize(("users", "items"), [([], []), (["x", "y"], [1, 2])])
def test_nothing_to_score(users, items):
    for weights in (None, [1.0] * len(users)):
        with pytest.warns(NothingToScoreWarning, match=r"no user of X was in fit or has two rows"):
            task = task_of([[1]], users, items, None, weights)
        assert [len(field) for field in (task.users, task.target_rows, task.weights)] == [0, 0, 0]
        assert as_lists(task.histories) == as_lists(task.seen()) == []


def test_nothing_to_score_without_strangers():
    message = r"was in fit and unseen_users='skip' leaves out the others\..*split by user"
    with pytest.warns(NothingToScoreWarning, match=message):
        assert not len(task_of([[1]], ["x", "x"], [1, 2], None, None, "skip").targets)


def test_strangers_as_an_error():
    message = "2 rows of X are of users who were not in fit, the first is 'x'; use unseen_users="
    with pytest.raises(UnknownIdError, match=message):
        task_of([[1]], [0, "x", "y"], [1, 2, 3], None, None, "error")
    assert task_of([[1]], [0], [2], None, None, "error").users.tolist() == [0]


@pytest.mark.parametrize(
    "weights", [[1.0], [1.0] * 4, 1.0, [[1.0] * 3], [1, -1, 1], [1, np.nan, 1], [1, 1, np.inf]]
)
def test_illegal_weights_are_an_error(weights):
    message = "sample_weight must have one finite number of at least 0 for each of the 3 rows"
    with pytest.raises(InvalidInputError, match=message):
        task_of([[1]], [0, 0, 0], [1, 2, 3], None, weights)


def test_a_weight_of_zero_is_legal():
    task = task_of([[1], [2]], [0, 0, 1], [1, 2, 3], None, pd.Series([0, 4, 0]))
    assert task.weights.tolist() == [2, 0]
