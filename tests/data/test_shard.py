"""Fits of several processes equal the fit of one."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.data.tables import take_rows
from skmind.exceptions import InvalidInputError
from tests.processes import cases, launch

IN_FOUR = ["plain", "encoder", "early stopping", "mixed", "all features", "parquet", "weights"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("pyarrow", reason="needs pip install skmind[parquet]")
    folder = tmp_path_factory.mktemp("fits")
    cases.write_files(folder)
    return folder


def results(folder, size, names):
    for code, output in launch.run(size, "tests.processes.cases", folder, *names):
        assert code == 0, output
    return [pickle.loads((folder / f"{size}.{i}.pickle").read_bytes()) for i in range(size)]


@pytest.fixture(scope="module")
def two(folder):
    return results(folder, 2, [])


@pytest.fixture(scope="module")
def four(folder):
    return results(folder, 4, IN_FOUR)


def check_equal(alone, ranks):
    first = ranks[0]
    for name, weights in alone["weights"].items():
        for rank in ranks:
            assert np.array_equal(rank["weights"][name], first["weights"][name])
        difference = np.linalg.norm(weights - first["weights"][name])
        assert difference <= 1e-4 * np.linalg.norm(weights)
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-5)
    for rank in ranks:
        for same in ("items", "counts", "losses", "validation"):
            assert rank[same] == first[same]
        assert np.array_equal(rank["titles"], alone["titles"])
    assert first["items"] == alone["items"]
    assert first["counts"] == alone["counts"]
    # The ranks share the users of the one process, with the same histories.
    assert sorted(sum((rank["users"] for rank in ranks), [])) == alone["users"]
    histories = {user: codes for rank in ranks for user, codes in rank["histories"].items()}
    assert histories == alone["histories"]
    expected = alone["recommended"].set_index("user_id")
    for rank in ranks:
        table = rank["recommended"].set_index("user_id")
        own = expected.loc[table.index.unique()]
        np.testing.assert_allclose(table.score, own.score, atol=1e-4)


@pytest.mark.parametrize("name", cases.cases(Path()))
def test_two_processes_equal_one(name, folder, two):
    check_equal(cases.fit(name, *cases.cases(folder)[name]), [rank[name] for rank in two])


@pytest.mark.parametrize("name", IN_FOUR)
def test_four_processes_equal_one(name, folder, four):
    check_equal(cases.fit(name, *cases.cases(folder)[name]), [rank[name] for rank in four])


@pytest.mark.parametrize("size", [2, 4])
def test_the_saved_parts_are_one_model(size, folder, request):
    ranks = [rank[cases.SAVED] for rank in request.getfixturevalue("two" if size == 2 else "four")]
    rec = MINDRecommender.load(folder / f"model of {size}")
    assert rec.users_.tolist() == sorted(sum((rank["users"] for rank in ranks), []))
    for part, rank in enumerate(ranks):
        for model in (rec, MINDRecommender.load(folder / f"model of {size}", users=part)):
            answers = model.recommend(rank["users"], k=5)
            pd.testing.assert_frame_equal(answers, rank["recommended"], check_exact=True)


@pytest.mark.parametrize("message", cases.mistakes(0))
def test_all_processes_refuse_what_does_not_fit(message, two):
    for rank in two:
        kind, text = rank[message]
        assert kind == "InvalidInputError"
        assert message in text


@pytest.mark.parametrize("message", cases.failures(0))
def test_the_others_say_which_process_failed_and_why(message, two):
    others, failed = (rank[message] for rank in two)
    assert failed[0] in ("InvalidInputError", "InvalidParameterError")
    assert message in failed[1]
    assert others[0] == "ProcessLostError"
    assert f"process 1 of 2 failed: {failed[0]}: {failed[1]}" in others[1]


def test_a_fit_closes_its_connections(two):
    """The threads of the one default group stay: some 50 fits have not added to them."""
    for rank in two:
        python_threads, threads = rank["threads"]
        assert python_threads < 5
        assert threads < 20


@pytest.mark.parametrize("library", ["pandas", "numpy", "polars", "pyarrow"])
def test_rows_of_every_kind_of_table_are_taken(library):
    X = cases.table(n_rows=20)
    rows = np.arange(1, 20, 3)
    expected = X.iloc[rows].to_numpy().tolist()
    if library == "numpy":
        assert take_rows(X.to_numpy(), rows).tolist() == expected
        return
    if library != "pandas":
        module = pytest.importorskip(library)
        X = module.from_pandas(X) if library == "polars" else module.Table.from_pandas(X)
    taken = take_rows(X, rows)
    taken = taken if library == "pandas" else taken.to_pandas()
    assert taken[["user_id", "item_id", "timestamp"]].to_numpy().tolist() == expected


@pytest.mark.parametrize("method", ["add_interactions", "partial_fit", "score"])
def test_a_part_of_the_users_is_not_enough(method):
    rec = MINDRecommender(**cases.SMALL).fit(cases.table())
    rec._snapshot.model.part = 0, 2
    with pytest.raises(InvalidInputError, match=f"{method}.* has the users of process 0 of 2"):
        getattr(rec, method)(cases.table(seed=1))


def test_partial_fit_works_in_one_process_only(monkeypatch):
    rec = MINDRecommender(**cases.SMALL).fit(cases.table())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInputError, match="partial_fit works in one process"):
        rec.partial_fit(cases.table(seed=1))


def test_processes_that_can_not_connect_say_so(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidInputError, match="WORLD_SIZE=2, but the processes can't connect"):
        MINDRecommender(**cases.SMALL).fit(cases.table())
