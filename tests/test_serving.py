"""The HTTP service of examples/ answers as the recommender does; docs/guide/serving.md runs."""

import importlib.util
import json
import re
import runpy
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions

ROOT = Path(__file__).resolve().parents[1]
SERVICE = ROOT / "examples" / "serve_fastapi.py"
X = make_interactions(40, 30, n_topics=5, n_interests=2, random_state=0).interactions
SMALL = {"embedding_dim": 8, "max_history": 6, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def rec():
    return MINDRecommender(**SMALL).fit(X)


@pytest.fixture(scope="module")
def uvicorn():
    pytest.importorskip("fastapi", reason="the service needs fastapi: pip install skmind[serve]")
    return pytest.importorskip("uvicorn", reason="it needs uvicorn: pip install skmind[serve]")


@pytest.fixture(scope="module")
def ask(uvicorn, rec):
    """Function that posts to the service, which runs on loopback."""
    spec = importlib.util.spec_from_file_location("serve_fastapi", SERVICE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # With an explicit protocol, asyncio sends small answers at once instead of after 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(module.make_app(rec), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def post(path, body):
        """Return status and answer; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(f"{address}{path}", data, {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    yield post
    server.should_exit = True
    thread.join()
    listening.close()


def records(frame):
    """Return the rows of a frame as they arrive by JSON; float32 scores have up to 9 digits."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def test_the_service_recommends_the_same_as_the_recommender(ask, rec):
    status, answer = ask("/recommend", {"user_ids": [7, 3]})
    expected = rec.recommend([7, 3])
    assert status == 200
    assert pd.DataFrame(answer)[["user_id", "item_id", "rank"]].equals(
        expected[["user_id", "item_id", "rank"]]
    )
    scores = np.array([row["score"] for row in answer], dtype=np.float32)
    np.testing.assert_array_equal(scores, expected["score"])
    histories = [[3, 1, 4], [], [-1, 99, 10**30]]
    answer = ask("/recommend_from_history", {"histories": histories, "k": 4})
    assert answer == (200, records(rec.recommend_from_history(histories, 4)))


def test_events_count_in_later_answers(ask, rec):
    item = rec.recommend([7])["item_id"].tolist()[0]
    events = {"user_ids": [7], "item_ids": [item], "times": [2_000_000_000]}
    assert ask("/events", events) == (200, {"n_users": 40})
    status, answer = ask("/recommend", {"user_ids": [7], "k": 20})
    assert status == 200
    assert item not in [row["item_id"] for row in answer]
    assert answer == records(rec.recommend([7], 20))


def test_concurrent_clients_get_the_same_answers_as_one(ask, rec):
    """Some of the concurrent requests are invalid."""
    users = list(range(40)) * 4
    expected = {user: records(rec.recommend([user], 5)) for user in range(40)}
    bodies = [{"user_ids": [user], "k": 5} for user in users]
    for place, (invalid_body, _, _) in enumerate(INVALID_REQUESTS):
        bodies.insert(5 * place, invalid_body)
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(ask, ["/recommend"] * len(bodies), bodies))
    statuses = [answers.pop(4 * place)[0] for place in range(len(INVALID_REQUESTS))]
    assert statuses == [status for _, status, _ in INVALID_REQUESTS]
    assert answers == [(200, expected[user]) for user in users]


INVALID_REQUESTS = [
    (b"{", 422, "JSON decode error"),
    (b"\xff", 400, "error parsing the body"),
    (b"[" * 100_000, 400, "error parsing the body"),
    (b"9" * 5_000, 400, "error parsing the body"),
    (b"", 422, "body.user_ids: Field required"),
    ([1], 422, "body.user_ids: Field required"),
    ({"histories": [[1]]}, 422, "body.user_ids: Field required"),
    ({"user_ids": 5}, 422, "should be a valid list"),
    ({"user_ids": []}, 422, "should have at least 1 item"),
    ({"user_ids": [1] * 1001}, 422, "should have at most 1000 items"),
    ({"user_ids": [None]}, 422, "should be a valid integer"),
    ({"user_ids": [1.5]}, 422, "should be a valid integer"),
    ({"user_ids": [float("nan")]}, 422, "should be a valid integer"),
    ({"user_ids": [True]}, 422, "should be a valid integer"),
    ({"user_ids": [[1]]}, 422, "should be a valid integer"),
    ({"user_ids": ["\ud800"]}, 422, "should be a valid integer"),
    ({"user_ids": ["1"]}, 422, "user ids are of kind text .* but fit saw ids of kind number"),
    ({"user_ids": [1, 99, 98]}, 404, "2 of user_ids were not in fit, the first is 99"),
    ({"user_ids": [1, "a"]}, 404, "not in fit, the first is 'a'"),
    ({"user_ids": [-1]}, 404, "not in fit, the first is -1"),
    ({"user_ids": [10**30]}, 404, "not in fit, the first is 10000"),
    ({"user_ids": [1], "k": 0}, 422, "body.k: .* greater than or equal to 1"),
    ({"user_ids": [1], "k": 101}, 422, "body.k: .* less than or equal to 100"),
    ({"user_ids": [1], "k": 10**30}, 422, "body.k: .* less than or equal to 100"),
    ({"user_ids": [1], "k": "3"}, 422, "body.k: .* valid integer"),
    ({"user_ids": [1], "k": 2.5}, 422, "body.k: .* valid integer"),
    ({"user_ids": [1], "k": None}, 422, "body.k: .* valid integer"),
]
INVALID_HISTORY_REQUESTS = [
    ({"histories": []}, 422, "should have at least 1 item"),
    ({"histories": [1]}, 422, "should be a valid list"),
    ({"histories": {"ann": [1]}}, 422, "should be a valid list"),
    ({"histories": [[1.5]]}, 422, "should be a valid integer"),
    ({"histories": [["a"]]}, 422, "item ids are of kind text"),
    ({"histories": [[1]] * 101}, 422, "should have at most 100 items"),
]

INVALID_EVENTS = [
    ({"user_ids": [], "item_ids": [], "times": []}, 422, "should have at least 1 item"),
    ({"user_ids": [1], "item_ids": [1, 2], "times": [1]}, 422, "must have the same length"),
    ({"user_ids": [1], "item_ids": ["a"], "times": [1]}, 422, "item ids are of kind text"),
    ({"user_ids": [1], "item_ids": [1], "times": [0.5]}, 422, "body.times.0: .* valid integer"),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [("/recommend", *case) for case in INVALID_REQUESTS]
    + [("/recommend_from_history", *case) for case in INVALID_HISTORY_REQUESTS]
    + [("/events", *case) for case in INVALID_EVENTS],
)
def test_an_invalid_request_is_answered_with_the_reason(ask, path, body, status, message):
    actual_status, answer = ask(path, body)
    assert actual_status == status
    assert re.search(message, answer["detail"])


@pytest.mark.parametrize(("arguments", "port"), [([], 8000), (["1234"], 1234)])
def test_the_service_starts_from_a_saved_model(
    monkeypatch, tmp_path, uvicorn, rec, arguments, port
):
    started = []
    rec.save(tmp_path / "model")
    monkeypatch.setattr(uvicorn, "run", lambda app, port: started.append((app.title, port)))
    monkeypatch.setattr(sys, "argv", [str(SERVICE), str(tmp_path / "model"), *arguments])
    runpy.run_path(str(SERVICE), run_name="__main__")
    assert started == [("skmind", port)]


def test_the_guide_to_tables_runs(monkeypatch, tmp_path, rec):
    page = (ROOT / "docs" / "guide" / "serving.md").read_text(encoding="utf-8")
    _, write_table, read_table, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"rec": rec}
    exec(write_table, names)
    stored = pd.read_parquet("recommendations")
    pd.testing.assert_frame_equal(stored, rec.recommend(k=50))
    exec(read_table.replace("19", "7"), names)
    assert names["items"] == rec.recommend([7], k=50)["item_id"].tolist()
