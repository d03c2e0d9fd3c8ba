"""HTTP service of one process → time of requests by number of concurrent clients.

    python benchmarks/serve.py [--data DIR] [--requests N] [--quick]

Starts examples/serve_fastapi.py on loopback in its own process, with a model of MovieLens 100K (by
default from $SKMIND_DATA), sends requests from clients that each wait for a response before the
next request, and prints a table. Clients and server share the machine. --quick uses generated data.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import json
import multiprocessing
import os
import platform
import runpy
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import uvicorn

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens, make_interactions

SERVICE = Path(__file__).resolve().parents[1] / "examples" / "serve_fastapi.py"
CLIENT_COUNTS = (1, 4, 16)
SEED = 0


def serve(rec: MINDRecommender, port: int) -> None:
    """Run the server; the function of the server process."""
    torch.set_num_threads(1)
    uvicorn.run(runpy.run_path(str(SERVICE))["make_app"](rec), port=port, log_level="error")


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise TimeoutError("the server did not start within a minute")


def client(port: int, path: str, bodies: list[dict]) -> list[float]:
    """Send requests over one connection and return the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    milliseconds = []
    for body in bodies:
        start = time.perf_counter()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        milliseconds.append((time.perf_counter() - start) * 1000)
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}")
    connection.close()
    return milliseconds


def measure(port: int, path: str, bodies: list[dict], n_clients: int) -> str:
    """Return a row of the table."""
    shares = [bodies[i::n_clients] for i in range(n_clients)]
    start = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        milliseconds = list(pool.map(lambda share: client(port, path, share), shares))
    rate = len(bodies) / (time.perf_counter() - start)
    p50, p99 = np.percentile(np.concatenate(milliseconds), [50, 99])
    return f"| `{path}` | {n_clients} | {len(bodies):,} | {rate:,.0f} | {p50:.1f} | {p99:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", help="folder that holds ml-100k")
    parser.add_argument("--requests", type=int, default=2000, help="requests per row of the table")
    parser.add_argument("--quick", action="store_true", help="quick check with generated data")
    options = parser.parse_args()
    if options.quick:
        X = make_interactions(random_state=SEED).interactions
        n_requests = 100
    else:
        X = fetch_movielens("100k", data_home=options.data).interactions
        n_requests = options.requests
    rec = MINDRecommender(max_epochs=1, random_state=SEED).fit(X)  # speed needs no accuracy
    rng = np.random.default_rng(SEED)
    users = rng.choice(rec.users_, n_requests).tolist()
    histories = rng.choice(rec.items_, (n_requests, 50)).tolist()
    requests = {
        "/recommend": [{"user_ids": [user]} for user in users],
        "/recommend_from_history": [{"histories": [history]} for history in histories],
    }

    with socket.create_server(("127.0.0.1", 0)) as free_port:
        port = free_port.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(rec, port))
    server.start()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi", "uvicorn"))
    print(
        f"{datetime.date.today()}: Python {platform.python_version()}, {libraries}, "
        f"{platform.machine()}, {os.cpu_count()} processors with a load of "
        f"{os.getloadavg()[0]:.0f} before, one server with one torch thread; {len(rec.users_):,} "
        f"users, {len(rec.items_):,} items, k = 10, one user per request, histories of 50 "
        "items.\n\n| request | concurrent clients | requests | requests/s | p50, ms | p99, ms |\n"
        f"|---|{'---:|' * 5}"
    )
    try:
        wait_for(port)
        for path, bodies in requests.items():
            client(port, path, bodies[:20])  # warms up
            for n_clients in CLIENT_COUNTS:
                print(measure(port, path, bodies, n_clients), flush=True)
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
