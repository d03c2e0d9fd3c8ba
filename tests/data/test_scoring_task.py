import numpy as np
import pandas as pd
import pytest

from skmind.data.interactions import Interactions
from skmind.data.prepare import Rows
from skmind.data.scoring_task import scoring_task
from skmind.exceptions import InvalidInputError, NothingToScoreWarning, UnknownIdError

N_KNOWN = 6
N_ITEMS = 8


def as_lists(interactions):
    offsets = interactions.offsets
    return [
        interactions.items[start:end].tolist()
        for start, end in zip(offsets[:-1], offsets[1:], strict=True)
    ]


def random_query(seed, with_times=True, n_rows=60):
    """Return histories of users 0 to 5, and rows of these and of unseen users s0 to s9.

    Items 0 to 7 are known, 8 to 10 are new. The user "once" has one row, and user 5 none.
    """
    rng = np.random.default_rng(seed)
    known = [rng.integers(N_ITEMS, size=rng.integers(5)).tolist() for _ in range(N_KNOWN)]
    names = [*range(N_KNOWN - 1), *(f"s{i}" for i in range(10)), "once"]
    users = [names[i] for i in rng.integers(len(names) - 1, size=n_rows)] + ["once"]
    items = rng.integers(N_ITEMS + 3, size=n_rows + 1).tolist()
    times = rng.integers(6, size=n_rows + 1).tolist() if with_times else None
    weights = rng.integers(1, 9, n_rows + 1).tolist()
    return known, users, items, times, weights


def task_of(known, users, items, times, weights=None, unseen_users="fold_in"):
    times = None if times is None else np.array(times)
    rows = Rows(np.array(users, object), np.array(items), times)
    owners = np.repeat(np.arange(len(known)), [len(history) for history in known])
    flat = np.array([item for history in known for item in history], dtype=np.int32)
    codes = np.array([user if isinstance(user, int) else -1 for user in users], dtype=np.int32)
    items = np.array([item if item < N_ITEMS else -1 for item in items], dtype=np.int32)
    histories = Interactions.from_codes(owners, flat, None, len(known))
    return scoring_task(rows, codes, items, histories, weights, unseen_users)


def oracle(known, users, items, times, weights=None, unseen_users="fold_in"):
    """Return one entry per user: code, history, and target items with their weights."""
    rows = list(zip(range(len(users)), users, items, times or range(len(users)), strict=True))
    weights = [1] * len(users) if weights is None else weights
    people = []
    for user in sorted({user for user in users if isinstance(user, int)}):
        mine = [row for row in rows if row[1] == user]
        targets = [(item, weights[row]) for row, _, item, _ in mine]
        people.append((user, known[user], targets))
    unseen = dict.fromkeys(user for user in users if isinstance(user, str))
    for user in {} if unseen_users == "skip" else unseen:
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
def test_the_task_equals_that_of_loops(seed, with_times, unseen_users):
    query = random_query(seed, with_times)
    task = task_of(*query, unseen_users)
    people = oracle(*query, unseen_users)
    assert (len(people) > N_KNOWN) == (unseen_users != "skip")  # unseen users with two rows occur
    assert task.users.tolist() == [user for user, _, _ in people]
    assert as_lists(task.histories) == [history for _, history, _ in people]
    targets = list(zip(task.target_rows.tolist(), task.target_items.tolist(), strict=True))
    expected = [
        (row, item)
        for row, (_, _, targets) in enumerate(people)
        for item in {item for item, _ in targets}
    ]
    assert sorted(targets) == sorted(
        (row, item if item < N_ITEMS else -1) for row, item in expected
    )
    ids = zip(task.target_rows.tolist(), np.array(query[2])[task.targets].tolist(), strict=True)
    assert sorted(ids) == sorted(expected)
    users = [query[1][row] for row in task.targets]
    codes = task.users[task.target_rows].tolist()
    assert [user if isinstance(user, int) else -1 for user in users] == codes
    np.testing.assert_allclose(
        task.weights, [np.mean([weight for _, weight in targets]) for _, _, targets in people]
    )


@pytest.mark.parametrize("seed", range(10))
def test_seen_is_the_history_without_the_targets(seed):
    query = random_query(seed)
    task = task_of(*query)
    people = oracle(*query)
    expected = [
        [item for item in history if item not in {i for i, _ in targets}]
        for _, history, targets in people
    ]
    assert as_lists(task.seen()) == expected
    assert expected != [history for _, history, _ in people]  # some targets are in the history
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


def test_the_last_row_of_equal_times_is_the_target_of_an_unseen_user():
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


def test_nothing_to_score_if_unseen_users_are_skipped():
    message = r"was in fit and unseen_users='skip' leaves out the others\..*split by user"
    with pytest.warns(NothingToScoreWarning, match=message):
        assert not len(task_of([[1]], ["x", "x"], [1, 2], None, None, "skip").targets)


def test_unseen_users_may_raise():
    message = "2 rows of X belong to users who were not in fit, the first is 'x'; use unseen_users="
    with pytest.raises(UnknownIdError, match=message):
        task_of([[1]], [0, "x", "y"], [1, 2, 3], None, None, "error")
    assert task_of([[1]], [0], [2], None, None, "error").users.tolist() == [0]


@pytest.mark.parametrize(
    "weights", [[1.0], [1.0] * 4, 1.0, [[1.0] * 3], [1, -1, 1], [1, np.nan, 1], [1, 1, np.inf]]
)
def test_invalid_weights_raise(weights):
    message = "sample_weight must have one finite number of at least 0 for each of the 3 rows"
    with pytest.raises(InvalidInputError, match=message):
        task_of([[1]], [0, 0, 0], [1, 2, 3], None, weights)


def test_weights_that_are_not_numbers_raise():
    with pytest.raises(InvalidInputError, match="one number for each row of X, got 'balanced'"):
        task_of([[1]], [0, 0], [1, 2], None, "balanced")


def test_a_weight_of_zero_is_valid():
    task = task_of([[1], [2]], [0, 0, 1], [1, 2, 3], None, pd.Series([0, 4, 0]))
    assert task.weights.tolist() == [2, 0]
