"""An EHR for the chart page: SMART App Launch for public clients, before a real FHIR server.

What it was asked is kept in `asked`; how it misbehaves is set by its fields.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests
from flask import Flask, Response, redirect, request

from tests import real_fhir

CLIENT = "chart-page-5f1e"
PATIENT = "three-years"


class Asked(NamedTuple):
    """One request that came in."""

    path: str
    headers: dict[str, str]
    fields: dict[str, str]


class Ehr:
    """Answers under `address`, its FHIR base is `iss`."""

    def __init__(self, fhir: str) -> None:
        self.fhir = fhir
        self.address = ""
        self.app = Flask("ehr", static_folder=None)
        self.app.add_url_rule("/fhir/.well-known/smart-configuration", view_func=self.configuration)
        self.app.add_url_rule("/fhir/<path:rest>", view_func=self.read)
        self.app.add_url_rule("/authorize", view_func=self.authorize)
        self.app.add_url_rule("/token", view_func=self.token, methods=["POST"])
        self.app.add_url_rule("/framed", view_func=self.framed)
        self.app.after_request(self.answered)
        self.reset()

    def reset(self) -> None:
        """An EHR without fault."""
        self.asked: list[Asked] = []
        self.launches = {"launch-1": PATIENT}
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, str] = {}
        self.said: dict[str, Any] = {}
        """What its configuration says in place of the truth."""
        self.back: dict[str, str] = {}
        """What it sends the browser back with in place of the truth."""
        self.given: dict[str, Any] = {}
        """What its token answer says besides."""
        self.next_page = ""
        """Where the second page of the search for hematocrit is to be."""

    @property
    def iss(self) -> str:
        return f"{self.address}/fhir"

    # -- the SMART endpoints ---------------------------------------------------------------------------

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code"],
            "capabilities": ["launch-ehr", "client-public", "context-ehr-patient", "permission-v2"],
        } | self.said

    def authorize(self) -> Any:
        asked = request.args.to_dict()
        wrong = {
            "client_id": asked["client_id"] != CLIENT,
            "response_type": asked["response_type"] != "code",
            "aud": asked["aud"] != self.iss,
            "launch": asked["launch"] not in self.launches,
            "code_challenge_method": asked["code_challenge_method"] != "S256",
            "code_challenge": len(asked["code_challenge"]) != 43,
        }
        assert not any(wrong.values()), wrong
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"]} | self.back
        return redirect(f"{asked['redirect_uri']}?{urlencode(back)}")

    def token(self) -> Any:
        form = request.form.to_dict()
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or proof != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
            or form["client_id"] != CLIENT
            or form["grant_type"] != "authorization_code"
        ):
            return {"error": "invalid_grant"}, 400
        token = f"token-{secrets.token_urlsafe(24)}"
        self.tokens[token] = self.launches[asked["launch"]]
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": asked["scope"],
            "patient": self.tokens[token],
        } | self.given

    # -- the FHIR server -------------------------------------------------------------------------------

    def read(self, rest: str) -> Any:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "login"}]}, 401
        answer = requests.get(
            f"{self.fhir}/{rest}?{request.query_string.decode()}",
            headers={"Authorization": f"Bearer {real_fhir.TOKEN}", "Accept": "application/fhir+json"},
            timeout=30,
        )
        body = answer.content.replace(self.fhir.encode(), self.iss.encode())
        if self.next_page and "4544-3" in request.args.get("code", ""):
            return answer.json() | {"link": [{"relation": "next", "url": self.next_page}]}
        return Response(body, answer.status_code, content_type="application/fhir+json")

    # -- the rest --------------------------------------------------------------------------------------

    def framed(self) -> str:
        """A page of the EHR that shows the app in a frame."""
        return f'<!doctype html><title>EHR</title><iframe title="app" src="{request.args["app"]}"></iframe>'

    def answered(self, response: Response) -> Response:
        self.asked.append(Asked(request.path, dict(request.headers), request.values.to_dict()))
        response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Accept"
        return response
