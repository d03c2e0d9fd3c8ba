"""Command line: files of interactions → a saved model → files of recommendations and metrics.

Run ``python -m skmind --help``. A command is a function that adds its arguments to a parser and a
function that runs with them; `COMMANDS` lists all.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import InvalidParameterError
from tqdm import tqdm

from . import MINDRecommender, __version__
from ._checks import warn
from .exceptions import (
    IdTypeError,
    InvalidInputError,
    SkmindError,
    UnknownIdError,
)
from .inspection._explore import check_page_path
from .metrics import evaluate
from .metrics._inputs import parse_metrics
from .model_selection import LeaveLastOut
from .persistence.store import MANIFEST_FILE, read_manifest

PROGRAM = "python -m skmind"
USERS_PER_BLOCK = 5_000  # of recommendations, which are written as they are computed
TEXT_SUFFIXES = ".csv", ".tsv", ".txt"
PARQUET_SUFFIXES = ".parquet", ".pq"
COMPRESSED_SUFFIXES = ".gz", ".bz2", ".xz", ".zip", ".zst"
SEPARATORS = ",;\t|"
DEFAULT_METRICS = "ndcg@10,recall@10,hit_rate@10,coverage@10"
DEFAULT_PAGE = "explorer.html"
# How messages of the library name an argument, and what it is on the command line.
ARGUMENTS_AS_OPTIONS = (
    (r"\b(user|item|time|weight)_col=None", r"--\1-col none"),
    (r"\b(user|item|time|weight)_col=", r"--\1-col"),
    (r"\bsep='(.)'", r"--sep '\1'"),
)
NO_COLUMN = "none"  # the value of an option that means that there is no such column


class Command(NamedTuple):
    """A subcommand.

    Attributes
    ----------
    help : str
        One line.
    examples : tuple of str
        Command lines, without the name of the program.
    add_arguments : callable
        Takes the parser of the subcommand.
    run : callable
        Takes the parsed arguments.
    """

    help: str
    examples: tuple[str, ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


# ------------------------------------------------------------------ fit


def _add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", help="interactions, one per row: a CSV or Parquet file")
    parser.add_argument("model", help="directory to write; an existing model is replaced")
    columns = parser.add_argument_group("columns")
    columns.add_argument("--user-col", default="user_id", metavar="COL", help="default: user_id")
    columns.add_argument("--item-col", default="item_id", metavar="COL", help="default: item_id")
    columns.add_argument(
        "--time-col", default="timestamp", metavar="COL", help="default: timestamp; none: no times"
    )
    columns.add_argument("--weight-col", metavar="COL", help="weight of each interaction")
    columns.add_argument(
        "--time-format",
        metavar="FORMAT",
        help="format of times that are text, such as '%%d.%%m.%%Y %%H:%%M'; default: ISO 8601",
    )
    columns.add_argument(
        "--text-ids", action="store_true", help="read ids as text, so that 007 is not 7"
    )
    tables = parser.add_argument_group("tables of features")
    tables.add_argument("--users", metavar="FILE", help="features of users, one row per user")
    tables.add_argument("--items", metavar="FILE", help="features of items, one row per item")
    tables.add_argument(
        "--user-features",
        metavar="COLS",
        help="columns, with commas; default: all; none: use no column",
    )
    tables.add_argument(
        "--item-features",
        metavar="COLS",
        help="columns, with commas; default: all; none: use no column",
    )
    tables.add_argument("--item-title", metavar="COL", help="column of the titles of the items")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of MINDRecommender, such as n_interests=8; may be repeated",
    )
    model.add_argument("--seed", type=int, metavar="N", help="makes the result repeatable")
    model.add_argument(
        "--test-out",
        metavar="FILE",
        help="leave the last interaction of each user out, and write these to FILE, for evaluate",
    )
    model.add_argument("--quiet", action="store_true", help="show no progress")
    _add_separator(parser)
    parser.add_argument(
        "--decimal", choices=(".", ","), default=".", help="decimal sign of CSV files; default: ."
    )


def _fit(args: argparse.Namespace) -> None:
    _check_new_model(args.model)
    if args.test_out:
        _check_output(args.test_out)
    time_col = _column(args.time_col)
    columns = {"user_col": args.user_col, "item_col": args.item_col, "time_col": time_col}
    rec = MINDRecommender(
        **columns,
        weight_col=args.weight_col,
        user_features=_column_list(args.user_features),
        item_features=_column_list(args.item_features),
        item_title=args.item_title,
        random_state=args.seed,
        verbose=0 if args.quiet else 1,
    )
    rec.set_params(**_parse_parameters(args.set, rec))
    ids = (args.user_col, args.item_col) if args.text_ids else ()
    tables = {
        name: None if path is None else read_table(path, args.sep, ids, args.decimal)
        for name, path in {"users": args.users, "items": args.items}.items()
    }
    is_parquet = _suffix(args.log) in PARQUET_SUFFIXES or Path(args.log).is_dir()
    X: Any = args.log
    if not is_parquet or args.time_format or args.test_out or args.text_ids:
        X = read_table(args.log, args.sep, ids, args.decimal)
        X = with_times(X, time_col, args.time_format)
        _check_weights(X, args.weight_col)
    test = None
    if args.test_out:
        splitter = LeaveLastOut(user_col=args.user_col, time_col=time_col)
        train, test = next(splitter.split(X))
        X, test = X.iloc[train], X.iloc[test]
    rec.fit(X, **tables)
    rec.save(args.model)
    if test is not None:
        _write(test, args.test_out)
    _say(f"{args.model}: {_numbers(rec)}")


def _check_weights(X: pd.DataFrame, column: str | None) -> None:
    """Raise if a weight is text that is not a number."""
    if column not in X:
        return
    is_bad = pd.to_numeric(X[column], errors="coerce").isna() & X[column].notna()
    if is_bad.any():
        raise InvalidInputError(
            f"column {column!r} has {X[column][is_bad].iloc[0]!r}, which is not a number; numbers "
            "with a decimal comma need --decimal ,"
        )


def _parse_parameters(settings: Sequence[str], rec: MINDRecommender) -> dict[str, Any]:
    """Return the parameters of the options ``--set NAME=VALUE``."""
    names = rec.get_params()
    parameters = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InvalidInputError(f"--set {setting} must be NAME=VALUE, such as n_interests=8")
        if name not in names:
            similar = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {similar[0]}?" if similar else ""
            raise InvalidInputError(f"--set {setting}: there is no parameter {name}{hint}")
        try:
            parameters[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            parameters[name] = value  # text without quotes
    return parameters


def _check_new_model(path: str) -> None:
    """Raise before training if the model could not be saved."""
    directory = Path(path)
    if not directory.absolute().parent.is_dir():
        raise InvalidInputError(f"{path}: its parent does not exist; create it first")
    if directory.exists() and not directory.is_dir():
        raise InvalidInputError(f"{path} is a file; name a directory for the model")
    is_model = (directory / MANIFEST_FILE).exists()
    if directory.is_dir() and not is_model and any(directory.iterdir()):
        raise InvalidInputError(f"{path} holds other files; name a new directory")


# ------------------------------------------------------------------ recommend


def _add_recommend_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="directory that fit wrote")
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--user", action="append", metavar="ID", help="a user; may be repeated; default: all users"
    )
    who.add_argument("--users", metavar="FILE", help="file with a column of the users")
    who.add_argument(
        "--history", metavar="FILE", help="interactions of people who were not in fit, oldest first"
    )
    parser.add_argument("-k", type=int, default=10, help="items per user; default: 10")
    parser.add_argument("--out", metavar="FILE", help="CSV or Parquet file; default: CSV to stdout")
    parser.add_argument("--titles", metavar="FILE", help="table of the items with their titles")
    parser.add_argument(
        "--include-seen", action="store_true", help="recommend items of the history, too"
    )
    parser.add_argument(
        "--diversity", type=float, default=0.0, metavar="D", help="0 to 1; default: 0"
    )
    parser.add_argument(
        "--unknown",
        choices=("popular", "error", "drop"),
        default="popular",
        help="what users get who were not in fit; default: popular items",
    )
    _add_separator(parser)


def _recommend(args: argparse.Namespace) -> None:
    if args.out:
        _check_output(args.out)
    rec = MINDRecommender.load(args.model)
    options: dict[str, Any] = {"k": args.k, "diversity": args.diversity}
    if args.include_seen:
        options["exclude_seen"] = False
    if args.titles:
        options["titles"] = _read_known(rec, args.titles, args.sep)
    if args.history:
        history = _read_known(rec, args.history, args.sep)
        _write(rec.recommend_from_history(_in_lists(rec, history), **options), args.out)
        return
    users = _users(rec, args)
    if args.unknown == "popular":
        _warn_of_unknown(rec, users)
    blocks = _recommendations(rec, users, options | {"unknown": args.unknown})
    if args.out:
        _write(pd.concat(blocks, ignore_index=True), args.out)
        return
    for number, frame in enumerate(blocks):
        frame.to_csv(sys.stdout, index=False, header=number == 0)


def _recommendations(
    rec: MINDRecommender, users: np.ndarray, options: dict[str, Any]
) -> Iterator[pd.DataFrame]:
    """Yield recommendations for blocks of users, with a progress bar if there are several."""
    starts = range(0, max(len(users), 1), USERS_PER_BLOCK)
    is_short = len(starts) < 2
    with tqdm(total=len(users), unit=" users", disable=True if is_short else None) as bar:
        for start in starts:
            block = users[start : start + USERS_PER_BLOCK]
            yield rec.recommend(block, **options)
            bar.update(len(block))


def _users(rec: MINDRecommender, args: argparse.Namespace) -> np.ndarray:
    """Return the users that the options name; all known ones if they name none."""
    if args.users:
        return _file_users(rec, args)
    if args.user is None:
        return rec.users_
    if rec.users_.dtype == object:
        return np.array(args.user, dtype=object)
    try:
        return np.array(args.user).astype(rec.users_.dtype)
    except ValueError as error:
        raise IdTypeError(
            f"--user {args.user}: the user ids of the model are such as {rec.users_[0]}, of type "
            f"{rec.users_.dtype}"
        ) from error


def _warn_of_unknown(rec: MINDRecommender, users: np.ndarray) -> None:
    """Warn if users were not in fit: ids that are mistyped look like new people."""
    unknown = users[~pd.Index(users).isin(rec.users_)]
    if len(unknown):
        warn(
            f"{len(unknown):,} of {len(users):,} users were not in fit, such as "
            f"{unknown[:1].tolist()[0]!r}; they get the most frequent items. Set --unknown error "
            "to stop instead, or --unknown drop to leave them out."
        )


def _file_users(rec: MINDRecommender, args: argparse.Namespace) -> np.ndarray:
    """Return the users in the file that the option ``--users`` names."""
    table = _read_known(rec, args.users, args.sep)
    return pd.unique(_named_column(table, rec.user_col, args.users))


def _in_lists(rec: MINDRecommender, history: pd.DataFrame) -> pd.Series:
    """Return the items of each person, in the order of the rows."""
    users = _named_column(history, rec.user_col, "--history")
    items = _named_column(history, rec.item_col, "--history")
    return items.groupby(users, sort=False).agg(list)


# ------------------------------------------------------------------ evaluate, explore and info


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="directory that fit wrote")
    parser.add_argument("test", help="later interactions, of which none was in fit")
    parser.add_argument(
        "--metrics", default=DEFAULT_METRICS, help=f"names, with commas; default: {DEFAULT_METRICS}"
    )
    parser.add_argument("--out", metavar="FILE", help="CSV or Parquet file; default: a table")
    parser.add_argument(
        "--include-seen", action="store_true", help="recommend items of the history, too"
    )
    _add_separator(parser)


def _evaluate(args: argparse.Namespace) -> None:
    if args.out:
        _check_output(args.out)
    names = [name.strip() for name in args.metrics.split(",")]
    k = max(k for _, k in parse_metrics(names).values())
    rec = MINDRecommender.load(args.model)
    test = _read_known(rec, args.test, args.sep)
    users = _named_column(test, rec.user_col, args.test)
    items = _named_column(test, rec.item_col, args.test)
    truth = pd.DataFrame({"user_id": users.to_numpy(), "item_id": items.to_numpy()})
    options: dict[str, Any] = {"k": k, "unknown": "popular"}
    if args.include_seen:
        options["exclude_seen"] = False
    frames = [
        frame.set_axis(["user_id", "item_id", *frame.columns[2:]], axis=1)
        for frame in _recommendations(rec, truth["user_id"].unique(), options)
    ]
    values = evaluate(
        truth,
        pd.concat(frames),
        names,
        n_items=len(rec.items_),
        item_counts=rec.item_counts_,
        item_vectors=rec.item_embeddings_,
        item_ids=rec.items_,
    )
    table = pd.DataFrame({"metric": list(values), "value": list(values.values())})
    if args.out:
        _write(table, args.out)
    else:
        _say(f"{truth['user_id'].nunique():,} users, {len(truth):,} interactions\n")
        _say(table.to_string(index=False, float_format="{:.4f}".format))


def _add_explore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="directory that fit wrote")
    parser.add_argument(
        "--out", metavar="FILE", default=DEFAULT_PAGE, help=f"HTML file; default: {DEFAULT_PAGE}"
    )
    parser.add_argument("--titles", metavar="FILE", help="table of the items with their titles")
    parser.add_argument(
        "--users",
        metavar="FILE",
        help="file with a column of the users whose histories the page holds; default: all, or "
        "2,000 at random",
    )
    _add_separator(parser)


def _explore(args: argparse.Namespace) -> None:
    check_page_path(args.out)
    rec = MINDRecommender.load(args.model)
    options: dict[str, Any] = {}
    if args.titles:
        options["titles"] = _read_known(rec, args.titles, args.sep)
    if args.users:
        options["user_ids"] = _file_users(rec, args)
    page = rec.explore(args.out, **options)
    _say(f"{args.out}: {' '.join(page.notes)}")


def _add_info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="directory that fit wrote")


def _info(args: argparse.Namespace) -> None:
    rec = MINDRecommender.load(args.model, mmap=True)
    defaults = MINDRecommender().get_params()
    changed = {
        name: repr(value) for name, value in rec.get_params().items() if value != defaults[name]
    }
    facts = dict(rec._summary_rows())
    parts = read_manifest(Path(args.model)).get("parts")
    if parts is not None:
        facts["parts of the users"] = str(len(parts))
    for title, rows in (("Model", facts), ("Parameters, if not default", changed)):
        _say(title)
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            _say(f"  {name:<{width}}  {value}")


def _numbers(rec: MINDRecommender) -> str:
    return ", ".join(f"{name} {value}" for name, value in rec._summary_rows().items())


# ------------------------------------------------------------------ files


def read_table(
    path: str, sep: str | None = None, text_columns: Sequence[str] = (), decimal: str = "."
) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str
    sep : str or None, default=None
        Separator of a CSV file. None: the most frequent one of ``, ; | tab`` in its first line.
    text_columns : sequence of str, default=()
        Columns that are read as text.
    decimal : str, default="."
        Decimal sign of a CSV file.

    Raises
    ------
    InvalidInputError
        If the file is neither, or can't be read as a table.
    OSError
        If the file can't be opened.
    ImportError
        If it is a Parquet file and pyarrow is not installed.
    """
    suffix = _suffix(path)
    if suffix in PARQUET_SUFFIXES or Path(path).is_dir():
        _check_parquet()
        table = pd.read_parquet(path)
        return table.astype({name: str for name in text_columns if name in table})
    if suffix not in TEXT_SUFFIXES:
        raise InvalidInputError(
            f"{path}: files end in {', '.join((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))}; a CSV file "
            f"may be compressed ({', '.join(COMPRESSED_SUFFIXES)})"
        )
    options: dict[str, Any] = {"low_memory": False, "encoding": "utf-8-sig"}
    try:
        if sep is None:
            line = str(pd.read_csv(path, sep="\0", header=None, nrows=1, **options).iloc[0, 0])
            sep = max(SEPARATORS, key=line.count)
        dtypes: Any = dict.fromkeys(text_columns, str)
        return pd.read_csv(path, sep=sep, dtype=dtypes, decimal=decimal, **options)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not in UTF-8 ({error}); save it in UTF-8") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InvalidInputError(f"{path} can't be read as a table: {error}; check --sep") from error


def with_times(X: pd.DataFrame, column: str | None, time_format: str | None) -> pd.DataFrame:
    """Return the table with times instead of texts.

    Raises
    ------
    InvalidInputError
        If a text is not a time of the format, or of ISO 8601 if ``time_format`` is None.
    """
    if column not in X or pd.api.types.is_numeric_dtype(X[column]):
        return X
    try:
        times = pd.to_datetime(X[column], format=time_format or "ISO8601", errors="coerce")
    except ValueError as error:  # a wrong format, or several time zones
        raise InvalidInputError(f"column {column!r} can't be read as times: {error}") from error
    is_bad = times.isna() & X[column].notna()
    if is_bad.any():
        raise InvalidInputError(
            f"column {column!r} has {X[column][is_bad].iloc[0]!r}, which is not a time in the "
            f"format {time_format or 'ISO 8601'}; name its format, such as --time-format "
            "'%d.%m.%Y %H:%M'"
        )
    X = X.copy(deep=False)
    X[column] = times
    return X


def _read_known(rec: MINDRecommender, path: str, sep: str | None) -> pd.DataFrame:
    """Read a table whose ids are of the kinds of the model's ids."""
    columns = {str(rec.user_col): rec.users_, str(rec.item_col): rec.items_}
    return read_table(path, sep, [name for name, ids in columns.items() if ids.dtype == object])


def _named_column(table: pd.DataFrame, column: Any, path: str) -> pd.Series:
    if column not in table:
        raise InvalidInputError(f"{path} has no column {column!r}; it has {table.columns.tolist()}")
    return table[column]


def _write(table: pd.DataFrame, path: str | None) -> None:
    """Write a CSV or Parquet file, as the name says; CSV to stdout if there is no name."""
    if path is None:
        table.to_csv(sys.stdout, index=False)
    elif _suffix(path) in PARQUET_SUFFIXES:
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if _suffix(path) == ".tsv" else ",")


def _check_output(path: str) -> None:
    """Raise before any work if the file could not be written."""
    if _suffix(path) not in (*TEXT_SUFFIXES, *PARQUET_SUFFIXES):
        raise InvalidInputError(f"{path}: name a file that ends in .csv, .tsv or .parquet")
    if _suffix(path) in PARQUET_SUFFIXES:
        _check_parquet()
    if not Path(path).absolute().parent.is_dir():
        raise InvalidInputError(f"{path}: its directory does not exist; create it first")


def _check_parquet() -> None:
    try:
        pd.io.parquet.get_engine("pyarrow")
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install skmind[parquet]") from error


def _suffix(path: str) -> str:
    """Return the ending of a name without that of its compression."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    return next((s for s in reversed(suffixes) if s not in COMPRESSED_SUFFIXES), "")


def _column(name: str) -> str | None:
    return None if name == NO_COLUMN else name


def _column_list(names: str | None) -> list[str] | None:
    if names is None:
        return None
    return [] if names == NO_COLUMN else [name.strip() for name in names.split(",")]


def _add_separator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sep", metavar="CHAR", help="separator of CSV files; default: found in their first line"
    )


# ------------------------------------------------------------------ program

COMMANDS = {
    "fit": Command(
        "fit a model on a file of interactions and save it",
        (
            "fit ratings.csv model",
            "fit log.parquet model --items items.csv --item-title title --set n_interests=8",
            "fit kauf.csv model --user-col kunde --item-col artikel --time-col datum "
            "--time-format '%d.%m.%Y' --decimal ,",
            "fit ratings.csv model --test-out test.csv --seed 0",
        ),
        _add_fit_arguments,
        _fit,
    ),
    "recommend": Command(
        "write recommendations of a saved model",
        (
            "recommend model --user 42 --user 43",
            "recommend model --out top10.csv",
            "recommend model --users users.csv -k 20 --titles items.csv --out top20.parquet",
            "recommend model --history visitors.csv",
        ),
        _add_recommend_arguments,
        _recommend,
    ),
    "evaluate": Command(
        "measure the recommendations of a saved model on later interactions",
        (
            "evaluate model test.csv",
            "evaluate model test.csv --metrics ndcg@10,recall@50 --out metrics.csv",
        ),
        _add_evaluate_arguments,
        _evaluate,
    ),
    "explore": Command(
        "write a web page in which a person explores the recommendations of a saved model",
        ("explore model", "explore model --titles items.csv --out page.html"),
        _add_explore_arguments,
        _explore,
    ),
    "info": Command("show what a saved model is", ("info model",), _add_info_arguments, _info),
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    first = "".join(f"  {PROGRAM} {command.examples[0]}\n" for command in COMMANDS.values())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Recommendations with several interests per user, from files.",
        epilog=f"examples:\n{first}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skmind {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        examples = "".join(f"  {PROGRAM} {example}\n" for example in command.examples)
        subparser = subparsers.add_parser(
            name,
            help=command.help,
            description=command.help.capitalize() + ".",
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str or None, default=None
        None: those of the process.

    Returns
    -------
    int
        The exit status: 0; 2 if the arguments or the content of the tables are invalid; 1 if
        something else failed, such as a file that can't be read. argparse itself exits with 2.
    """
    args = make_parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = _show_warning
        try:
            COMMANDS[args.command].run(args)
            sys.stdout.flush()  # here, where a closed pipe is caught
        except (InvalidInputError, IdTypeError, UnknownIdError, InvalidParameterError) as error:
            return _fail(error, 2)
        except BrokenPipeError:  # such as `... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (SkmindError, ImportError, MemoryError, OSError) as error:
            return _fail(error, 1)
        except KeyboardInterrupt:
            return 130  # as shells do
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    sys.stderr.write(f"skmind: warning: {_one_line(message)}\n")


def _fail(error: BaseException, status: int) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.filename:  # without the number of the error
        text = f"{error.filename}: {error.strerror}"
    for argument, option in ARGUMENTS_AS_OPTIONS:
        text = re.sub(argument, option, text)
    sys.stderr.write(f"skmind: error: {_one_line(text)}\n")
    return status


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
