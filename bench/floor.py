"""The floor: Flask and orjson. The whole body is decoded, one rule looks at it, nothing is checked."""

from __future__ import annotations

import orjson
from flask import Flask, Response, request

from bench.baseline import cards_for, newest_hematocrit, settle_memory

app = Flask(__name__)


@app.post("/cds-services/<service>")
def answer(service: str) -> Response:
    """Decode the body and judge one result."""
    del service
    value = newest_hematocrit(orjson.loads(request.get_data(cache=False))["prefetch"])
    return Response(orjson.dumps({"cards": cards_for(value)}), mimetype="application/json")


settle_memory()
