"""Fits of several processes equal the fit of one."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a user in two tables", "the user 2 is in the tables of two processes"),
        ("different items", "items= differs between the processes"),
        ("too few users", "no user of the table falls to process"),
        ("item features of X", "must be in the table of the items"),
    ],
)
def test_all_processes_refuse_tables_that_do_not_fit(name, message, two):
    for rank in two:
        kind, text = rank[name]
        assert kind == "InvalidInputError"
        assert message in text


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


def test_the_others_say_which_process_failed_and_why(two):
    others, failed = (rank["one bad table"] for rank in two)
    assert failed[0] == "InvalidInputError"
    assert others[0] == "ProcessLostError"
    assert f"process 1 of 2 failed: InvalidInputError: {failed[1]}" in others[1]
