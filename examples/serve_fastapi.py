"""Saved model → HTTP service with its own documentation at /docs.

python serve_fastapi.py MODEL [PORT]
"""

import sys
from typing import Annotated, Any

import pandas as pd
import torch
import uvicorn
from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field, StrictInt, StrictStr

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError, SkmindError, UnknownIdError

Id = StrictInt | Annotated[StrictStr, Field(max_length=200)]  # 7 and "7" are different ids
Ids = Annotated[list[Id], Field(max_length=1000)]
Users = Annotated[Ids, Body(min_length=1)]
Histories = Annotated[list[Ids], Body(min_length=1, max_length=100)]
K = Annotated[StrictInt, Body(ge=1, le=100)]
Items = Annotated[Ids, Body(min_length=1)]
Times = Annotated[list[StrictInt], Body(min_length=1, max_length=1000)]


def make_app(rec: MINDRecommender) -> FastAPI:
    """Return the service of a fitted recommender; it answers concurrent requests in threads."""
    app = FastAPI(title="skmind")

    @app.post("/recommend")
    def recommend(user_ids: Users, k: K = 10) -> Response:
        return records(rec.recommend(user_ids, k, unknown="error"))

    @app.post("/recommend_from_history")
    def recommend_from_history(histories: Histories, k: K = 10) -> Response:
        return records(rec.recommend_from_history(histories, k))

    @app.post("/events")
    def add_events(user_ids: Users, item_ids: Items, times: Times) -> dict[str, int]:
        if not len(user_ids) == len(item_ids) == len(times):
            raise InvalidInputError("user_ids, item_ids and times must have the same length")
        events = {rec.user_col: user_ids, rec.item_col: item_ids, rec.time_col: times}
        rec.add_interactions(pd.DataFrame(events))  # other requests are answered meanwhile
        return {"n_users": len(rec.users_)}

    @app.exception_handler(SkmindError)
    def handle_skmind_error(_: Request, error: SkmindError) -> Response:
        status = 404 if isinstance(error, UnknownIdError) else 422
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    def handle_invalid_request(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)

    return app


def records(frame: Any) -> Response:
    """Return a data frame as a list of JSON objects."""
    text = frame.to_json(orient="records", double_precision=15)
    return Response(text, media_type="application/json")


if __name__ == "__main__":
    torch.set_num_threads(1)  # requests run in parallel, so one thread each suffices
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    uvicorn.run(make_app(MINDRecommender.load(sys.argv[1])), port=port)
