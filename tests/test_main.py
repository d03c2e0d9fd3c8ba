"""The command line gives what the API gives, and its errors are one sentence with a status."""

import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender, __version__
from skmind.__main__ import COMMANDS, main, make_parser, read_table, with_times
from skmind.datasets import make_interactions
from skmind.exceptions import InvalidInputError
from skmind.metrics import evaluate
from skmind.model_selection import LeaveLastOut

SMALL = ["--set", "embedding_dim=8", "--set", "max_epochs=1", "--seed", "0", "--quiet"]
SETTINGS = {"embedding_dim": 8, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    return make_interactions(60, 40, n_topics=5, n_interests=2, random_state=0)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """Files of a log and its items, and a model that was fitted without the last events."""
    folder = tmp_path_factory.mktemp("files")
    data.interactions.to_csv(folder / "log.csv", index=False)
    data.item_table.to_csv(folder / "items.csv", index=False)
    log, items = (str(folder / name) for name in ("log.csv", "items.csv"))
    options = ["--items", items, "--item-features", "none", "--item-title", "title"]
    options += ["--test-out", str(folder / "test.csv")]
    assert main(["fit", log, str(folder / "model"), *options, *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def expected(data):
    """What the API gives for the same data: the recommender, and the events left out."""
    train, test = next(LeaveLastOut().split(data.interactions))
    rec = MINDRecommender(**SETTINGS, item_title="title", item_features=[])
    rec.fit(data.interactions.iloc[train], items=data.item_table)
    return rec, data.interactions.iloc[test]


def output(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def same_recommendations(frame, expected):
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False, rtol=1e-5)


# ------------------------------------------------------------------ fit


def test_the_model_is_that_of_the_api(folder, expected):
    rec, test = expected
    loaded = MINDRecommender.load(folder / "model")
    pd.testing.assert_frame_equal(loaded.recommend(k=5), rec.recommend(k=5))
    assert loaded.random_state == 0
    written = pd.read_csv(folder / "test.csv")
    pd.testing.assert_frame_equal(written, test.reset_index(drop=True))


def test_fit_says_what_it_fitted_and_shows_its_progress(folder, capsys):
    log, model = folder / "log.csv", folder / "shown"
    assert main(["fit", str(log), str(model), *SMALL[:-1]]) == 0
    printed = capsys.readouterr()
    assert "epoch 1/1: " in printed.err
    assert f"{model}: users 60, items 40, interactions" in printed.out
    assert main(["fit", str(log), str(model), *SMALL]) == 0  # a model is replaced
    assert capsys.readouterr().err == ""


def test_separators_dates_and_names_of_another_country(data, tmp_path, capsys):
    times = pd.to_datetime(data.interactions["timestamp"], unit="s")
    table = pd.DataFrame(
        {
            "Kunde": data.interactions["user_id"].map("{:03}".format),
            "Artikel, neu": data.interactions["item_id"].map("{:03}".format),
            "Datum": times.dt.strftime("%d.%m.%Y %H:%M:%S"),
        }
    )
    table.to_csv(tmp_path / "log.csv.gz", sep=";", index=False, encoding="utf-8-sig")
    options = ["--user-col", "Kunde", "--item-col", "Artikel, neu", "--time-col", "Datum"]
    arguments = ["fit", str(tmp_path / "log.csv.gz"), str(tmp_path / "model"), *options, *SMALL]
    assert main([*arguments, "--text-ids"]) == 2
    error = capsys.readouterr().err
    assert "which is not a time in the format ISO 8601; name its format" in error
    assert main([*arguments, "--text-ids", "--time-format", "%d.%m.%Y %H:%M:%S"]) == 0
    rec = MINDRecommender.load(tmp_path / "model")
    assert rec.users_[:2].tolist() == ["000", "001"]
    other = MINDRecommender(
        user_col="Kunde", item_col="Artikel, neu", time_col="Datum", **SETTINGS
    ).fit(table.assign(Datum=times.dt.floor("s")))
    pd.testing.assert_frame_equal(rec.recommend(k=3), other.recommend(k=3))
    table.head(1).to_csv(tmp_path / "users.csv", index=False)
    capsys.readouterr()
    text = output(capsys, "recommend", tmp_path / "model", "--users", tmp_path / "users.csv")
    assert text.splitlines()[1].startswith(table["Kunde"][0] + ",")


def test_decimal_commas(data, tmp_path, capsys):
    table = data.interactions.assign(weight=[1.5, 0.5] * (len(data.interactions) // 2))
    items = data.item_table[["item_id"]].assign(price=np.arange(len(data.item_table)) / 2)
    table.to_csv(tmp_path / "log.csv", sep=";", decimal=",", index=False)
    items.to_csv(tmp_path / "items.csv", sep=";", decimal=",", index=False)
    arguments = ["fit", str(tmp_path / "log.csv"), str(tmp_path / "model"), *SMALL]
    arguments += ["--weight-col", "weight", "--items", str(tmp_path / "items.csv")]
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith(
        "'1,5', which is not a number; numbers with a decimal comma need --decimal ,"
    )
    assert main([*arguments, "--decimal", ","]) == 0
    other = MINDRecommender(weight_col="weight", **SETTINGS).fit(table, items=items)
    found = MINDRecommender.load(tmp_path / "model").recommend(k=3)
    pd.testing.assert_frame_equal(found, other.recommend(k=3))


@pytest.mark.parametrize("options", [[], ["--text-ids"]])
def test_parquet(data, tmp_path, options):
    pytest.importorskip("pyarrow")
    data.interactions.to_parquet(tmp_path / "log.parquet")
    log, model = str(tmp_path / "log.parquet"), str(tmp_path / "model")
    assert main(["fit", log, model, *SMALL, *options]) == 0
    X = data.interactions
    X = X.astype({"user_id": str, "item_id": str}) if options else X
    rec = MINDRecommender(**SETTINGS).fit(X)
    found = MINDRecommender.load(model).recommend(k=3)
    pd.testing.assert_frame_equal(found, rec.recommend(k=3))
    assert main(["recommend", model, "--out", str(tmp_path / "top.parquet"), "-k", "3"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "top.parquet"), found)


def test_columns_that_are_not_there(data, tmp_path):
    table = data.interactions.drop(columns="timestamp").assign(w=1.5, label="a")
    table.to_csv(tmp_path / "log.csv", index=False)
    options = ["--time-col", "none", "--weight-col", "w", "--set", "tie_order=rows"]
    options += ["--user-features", "label", "--item-features", "none"]
    main(["fit", str(tmp_path / "log.csv"), str(tmp_path / "model"), *options, *SMALL])
    rec = MINDRecommender.load(tmp_path / "model")
    assert (rec.time_col, rec.weight_col, rec.tie_order) == (None, "w", "rows")
    assert (rec.user_features, rec.item_features) == (["label"], [])


# ------------------------------------------------------------------ recommend


def test_recommendations_of_users(folder, expected, capsys, tmp_path):
    rec, test = expected
    model = folder / "model"
    out = tmp_path / "top.csv"
    assert output(capsys, "recommend", model, "--out", out, "-k", 4) == ""
    same_recommendations(pd.read_csv(out), rec.recommend(k=4))
    output(capsys, "recommend", model, "--user", 5, "--user", 3, "--out", out)
    same_recommendations(pd.read_csv(out), rec.recommend([5, 3]))
    options = ["--users", folder / "test.csv", "--include-seen", "--diversity", "0.5"]
    output(capsys, "recommend", model, *options, "--out", out)
    other = rec.recommend(test["user_id"].unique(), exclude_seen=False, diversity=0.5)
    same_recommendations(pd.read_csv(out), other)


def test_recommendations_in_blocks_on_stdout(folder, expected, capsys, monkeypatch):
    monkeypatch.setattr("skmind.__main__.USERS_PER_BLOCK", 7)
    text = output(capsys, "recommend", folder / "model", "-k", 2)
    assert text.count("user_id") == 1
    assert len(text.splitlines()) == 1 + 60 * 2


def test_recommendations_of_histories_and_other_titles(folder, expected, capsys, tmp_path):
    rec, _ = expected
    table = pd.DataFrame({"user_id": ["new", "new", "other"], "item_id": [3, 1, 2]})
    table.to_csv(tmp_path / "new.csv", index=False)
    titles = pd.DataFrame({"item_id": rec.items_, "title": "a title"})
    titles.to_csv(tmp_path / "titles.csv", index=False)
    options = ["--history", tmp_path / "new.csv", "--titles", tmp_path / "titles.csv"]
    output(capsys, "recommend", folder / "model", *options, "--out", tmp_path / "top.csv")
    histories = {"new": [3, 1], "other": [2]}
    found = pd.read_csv(tmp_path / "top.csv")
    same_recommendations(found, rec.recommend_from_history(histories, titles=titles))
    assert found["title"].eq("a title").all()


def test_users_who_were_not_in_fit_are_counted(folder, capsys):
    arguments = ["recommend", str(folder / "model"), "-k", "1", "--user", "3", "--user", "999"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == (
        "skmind: warning: 1 of 2 users were not in fit, such as 999; they get the most frequent "
        "items. Set --unknown error to stop instead, or --unknown drop to leave them out.\n"
    )
    assert len(printed.out.splitlines()) == 3
    assert main([*arguments, "--unknown", "drop"]) == 0
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ evaluate and info


def test_metrics_are_those_of_the_api(folder, expected, capsys, tmp_path):
    rec, test = expected
    names = ["ndcg@5", "recall@20", "coverage@5", "novelty@5", "intra_list_diversity@5"]
    arguments = ["evaluate", folder / "model", folder / "test.csv", "--metrics", ",".join(names)]
    output(capsys, *arguments, "--out", tmp_path / "metrics.csv")
    values = pd.read_csv(tmp_path / "metrics.csv", index_col="metric")["value"]
    expected_values = evaluate(
        test,
        rec.recommend(test["user_id"].unique(), k=20),
        names,
        n_items=len(rec.items_),
        item_counts=rec.item_counts_,
        item_vectors=rec.item_embeddings_,
        item_ids=rec.items_,
    )
    assert values.to_dict() == pytest.approx(expected_values)
    table = output(capsys, *arguments)
    assert table.startswith("60 users, 60 interactions\n")
    assert f"ndcg@5 {values['ndcg@5']:.4f}" in table
    with_seen = output(capsys, *arguments, "--include-seen")
    assert with_seen != table


def test_explore_writes_the_page_of_the_api(folder, expected, capsys, tmp_path):
    rec, _ = expected
    out = tmp_path / "page.html"
    text = output(capsys, "explore", folder / "model", "--out", out)
    assert text == f"{out}: {rec.explore().notes[0]}\n"
    titles = pd.DataFrame({"item_id": rec.items_, "title": [f"T{item}" for item in rec.items_]})
    titles.to_csv(tmp_path / "titles.csv", index=False)
    pd.DataFrame({"user_id": rec.users_[:2]}).to_csv(tmp_path / "users.csv", index=False)
    files = ["--titles", tmp_path / "titles.csv", "--users", tmp_path / "users.csv"]
    text = output(capsys, "explore", folder / "model", "--out", out, *files)
    assert "2 of 60 users" in text
    assert f'"T{rec.items_[0]}"' in out.read_text(encoding="utf-8")


def test_info(folder, capsys):
    lines = output(capsys, "info", folder / "model").splitlines()
    rows = dict(line.split(None, 1) for line in lines if line.startswith("  "))
    assert (rows["users"], rows["items"], rows["embedding_dim"]) == ("60", "40", "8")
    assert rows["item_title"] == "'title'"
    assert "n_interests" not in rows


# ------------------------------------------------------------------ errors

BAD = {
    "no file": (["fit", "none.csv", "new"], 1, "none.csv: No such file or directory"),
    "no table": (["fit", "log.txt.docx", "new"], 2, "files end in .csv, .tsv"),
    "no column": (["fit", "items.csv", "new"], 2, "the table has no column 'user_id'"),
    "names of options": (
        ["fit", "items.csv", "new"], 2, "--user-col and --time-col to some of these, or set "
        "--time-col none if there is no time"
    ),
    "another separator": (["fit", "log.csv", "new", "--sep", ";"], 2, "read it with --sep ','"),
    "no parent": (["fit", "log.csv", "a/b/c"], 2, "its parent does not exist"),
    "a file": (["fit", "log.csv", "log.csv"], 2, "log.csv is a file; name a directory"),
    "other files": (["fit", "log.csv", "."], 2, "holds other files"),
    "no value": (["fit", "log.csv", "new", "--set", "loss"], 2, "must be NAME=VALUE"),
    "no parameter": (
        ["fit", "log.csv", "new", "--set", "n_interest=2"], 2, "did you mean n_interests?"
    ),
    "a bad value": (
        ["fit", "log.csv", "new", "--set", "n_interests=0"], 2, "The 'n_interests' parameter of"
    ),
    "no model": (["info", "."], 1, "manifest.json"),
    "a user of another kind": (["recommend", "model", "--user", "ann"], 2, "--user ['ann']:"),
    "an unknown user": (
        ["recommend", "model", "--user", "999", "--unknown", "error"], 2, "were not in fit"
    ),
    "no column of users": (
        ["recommend", "model", "--users", "items.csv"], 2, "items.csv has no column 'user_id'"
    ),
    "an unknown format": (["recommend", "model", "--out", "a.xlsx"], 2, "ends in .csv, .tsv or"),
    "no directory": (["recommend", "model", "--out", "a/b.csv"], 2, "its directory does not exist"),
    "no directory of a page": (
        ["explore", "model", "--out", "a/b.html"], 2, "its directory does not exist"
    ),
    "no such metric": (["evaluate", "model", "test.csv", "--metrics", "auc@5"], 2, "auc@5"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_errors_are_one_sentence_with_a_status(folder, capsys, monkeypatch, case):
    arguments, status, message = BAD[case]
    monkeypatch.chdir(folder)
    assert main(arguments) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("skmind: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not (folder / "new").exists()


def test_warnings_are_one_sentence(folder, tmp_path, capsys):
    log = pd.read_csv(folder / "log.csv").drop(columns="timestamp")
    log.to_csv(tmp_path / "log.csv", index=False)
    arguments = ["fit", str(tmp_path / "log.csv"), str(tmp_path / "m"), "--time-col", "none"]
    assert main([*arguments, *SMALL]) == 0
    assert capsys.readouterr().err.startswith("skmind: warning: there are no times, so the events")


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, 130), (MemoryError("too large"), 1)]
)
def test_what_ends_a_command(monkeypatch, folder, capsys, error, status):
    def fail(args):
        raise error

    monkeypatch.setitem(COMMANDS, "info", COMMANDS["info"]._replace(run=fail))
    assert main(["info", str(folder / "model")]) == status


def test_a_closed_pipe_ends_the_command_without_a_word(folder):
    call = (
        f"{sys.executable} -m skmind recommend {folder / 'model'} -k 40 --include-seen | head -n 1"
    )
    result = subprocess.run(call, shell=True, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("user_id,item_id,title")
    assert result.stderr == ""


def test_help_has_examples(capsys):
    for arguments in (["--help"], *([name, "--help"] for name in COMMANDS)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        text = capsys.readouterr().out
        assert "examples:\n  python -m skmind " in text
    with pytest.raises(SystemExit) as end:
        main(["fit"])
    assert end.value.code == 2
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "example", [example for command in COMMANDS.values() for example in command.examples]
)
def test_examples_can_be_parsed(example):
    make_parser().parse_args(shlex.split(example))


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_first_line(tmp_path, sep):
    table = pd.DataFrame({'a "x"': ["1,5", "2;5"], "b|c": ["x", "y"], "d": [1, 2], "e": [3, 4]})
    table.to_csv(tmp_path / "t.csv", sep=sep, index=False)
    pd.testing.assert_frame_equal(read_table(str(tmp_path / "t.csv")), table)


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InvalidInputError, match=r"can't be read as a table.*--sep"):
        read_table(str(tmp_path / "empty.csv"))
    (tmp_path / "latin.csv").write_bytes("a,b\nä,1".encode("latin-1"))
    with pytest.raises(InvalidInputError, match="is not in UTF-8"):
        read_table(str(tmp_path / "latin.csv"))


def test_times():
    table = pd.DataFrame({"t": ["2024-01-02", "2024-01-03 04:05"], "n": [1, 2]})
    assert with_times(table, "n", None) is table
    assert with_times(table, "other", None) is table
    assert with_times(table, "t", None)["t"].iloc[1] == pd.Timestamp("2024-01-03 04:05")
    assert table["t"].iloc[0] == "2024-01-02"
    missing = with_times(pd.DataFrame({"t": ["2024-01-02", None]}), "t", None)
    assert missing["t"].isna().tolist() == [False, True]
    zones = pd.DataFrame({"t": ["2024-01-02T00:00+01:00", "2024-01-02T00:00+02:00"]})
    with pytest.raises(InvalidInputError, match="column 't' can't be read as times"):
        with_times(zones, "t", None)
