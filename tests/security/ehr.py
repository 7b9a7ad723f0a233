"""An EHR with real keys, and a real server on loopback for its JWK Set."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.utils import base64url_encode

from tests.conftest import NOON

ISSUER = "https://ehr.example.org"
NOW = int(NOON.timestamp())
KID = "key-1"

CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def private_key(algorithm: str, number: int) -> Any:
    """The EHR's key for `algorithm`; another one for each number. Made once, since RSA keys take long."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    return rsa.generate_private_key(65537, 2048)


def pem(algorithm: str) -> bytes:
    """The public key as text, as it stands on many a web page."""
    public: bytes = (
        private_key(algorithm, 1)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def jwk(algorithm: str = "ES384", number: int = 1, kid: str = KID, **members: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    writer: Any = jwt.get_algorithm_by_name(algorithm)
    found: dict[str, Any] = writer.to_jwk(private_key(algorithm, number).public_key(), as_dict=True)
    return found | {"kid": kid} | members


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys or [jwk()]}).encode()


def claims(audience: Any, **changes: Any) -> dict[str, Any]:
    """Good claims; a change to None leaves the claim out."""
    good = {"iss": ISSUER, "aud": audience, "iat": NOW, "exp": NOW + 300, "jti": str(uuid4())}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(
    audience: Any,
    *,
    algorithm: str = "ES384",
    number: int = 1,
    header: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A token for `audience`, signed by the EHR; `header` None members are left out."""
    said = {"alg": algorithm, "typ": "JWT", "kid": KID} | (header or {})
    said = {name: value for name, value in said.items() if value is not None}
    return sign(said, claims(audience, **changes), algorithm, number)


def sign(header: Any, payload: Any, algorithm: str = "ES384", number: int = 1) -> str:
    """Any two JSON values, signed as they are: a library would refuse to make most bad tokens."""
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in (header, payload))
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed, private_key(algorithm, number))
    return b".".join((signed, base64url_encode(signature))).decode()


class KeyServer:
    """Serves a JWK Set; what it does is changed by setting `answer`."""

    def __init__(self) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self.serve(key_set())
        self.asked: list[str] = []
        self.url = ""

    @staticmethod
    def serve(content: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
        def do(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content)

        return do

    @staticmethod
    def begin(seconds: float) -> Callable[[BaseHTTPRequestHandler], None]:
        """The head and the beginning of a body; nothing more for so long, then the end of the connection."""

        def do(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"keys":')
            handler.wfile.flush()
            time.sleep(seconds)
            handler.close_connection = True

        return do

    @staticmethod
    def drip(seconds: float) -> Callable[[BaseHTTPRequestHandler], None]:
        """A byte now and then, for so long."""

        def do(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.1)

        return do


@contextmanager
def key_server(tls: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    """A server for a key set, `tls`: over https."""
    state = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            try:
                state.answer(self)
            except OSError:  # the client has left
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/jwks.json"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
