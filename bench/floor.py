"""The baseline: Flask and orjson, decoding the whole body, judging nothing, answering one fixed card."""

from __future__ import annotations

import gc

import orjson
from flask import Flask, Response, request

app = Flask(__name__)

CARD = {
    "summary": "A fixed card",
    "indicator": "info",
    "source": {"label": "Baseline"},
    "detail": "This service decodes the request and judges nothing.",
}


@app.post("/cds-services/<service>")
def answer(service: str) -> Response:
    """Decode the body and answer the fixed card."""
    del service
    orjson.loads(request.get_data(cache=False))
    return Response(orjson.dumps({"cards": [CARD]}), mimetype="application/json")


gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 50)
