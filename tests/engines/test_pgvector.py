"""PostgreSQL with pgvector gives the rows of `recommend`.

``SKMIND_POSTGRES`` is the address of a server with the extension; else the package pgserver starts
one.
"""

import os

import pandas as pd
import pytest

from skmind import MINDRecommender


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    psycopg = pytest.importorskip("psycopg", reason="needs pip install 'psycopg[binary]'")
    address = os.environ.get("SKMIND_POSTGRES")
    if address:
        with psycopg.connect(address) as connection:
            yield connection
        return
    reason = "needs a PostgreSQL with pgvector: set SKMIND_POSTGRES, or pip install pgserver"
    pgserver = pytest.importorskip("pgserver", reason=reason)
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    with psycopg.connect(server.get_uri()) as connection:
        yield connection
    server.cleanup()


@pytest.fixture(scope="module")
def written(connection, example, case):
    names = example("pgvector")
    names["write"](connection, MINDRecommender.load(case.path), case.seen)
    return names


def search(written, connection, case):
    rec = MINDRecommender.load(case.path)
    rows = written["recommend"](connection, rec, case.users["user_id"].tolist())
    return pd.DataFrame(rows, columns=case.recommended.columns)


def test_exact_search_gives_the_rows_of_recommend(written, connection, case, check_rows):
    check_rows(search(written, connection, case), case.recommended)


def test_an_index_finds_most_of_them(written, connection, case):
    written["add_index"](connection)
    connection.execute("SET LOCAL hnsw.ef_search = 400")
    connection.execute("SET LOCAL enable_seqscan = off")
    pairs = ["user_id", "item_id"]
    found = search(written, connection, case)[pairs].merge(case.recommended[pairs])
    assert len(found) > 0.95 * len(case.recommended)
