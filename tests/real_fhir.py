"""A real FHIR server (sekmet-fhir) in a process of its own on loopback, with the example patients."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

START_SECONDS = 60
TOKEN = "real-token-5d1f"
"""The bearer token that it wants."""

SETTINGS = """
base_url: {url}
host: 127.0.0.1
port: {port}
data_dir: {folder}
validation: {{inbound: "off"}}
simulator: {{enabled: false}}
server_auth: {{types: [bearer], tokens: [{token}]}}
"""


@contextmanager
def serving(folder: Path, bundles: Iterable[bytes]) -> Iterator[str]:
    """Address of the server's base, with these transactions loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/fhir"
    config = folder / "settings.yaml"
    config.write_text(SETTINGS.format(url=url, port=port, folder=folder, token=TOKEN))
    command = [str(Path(sys.executable).with_name("sekmet")), "serve", "--config", str(config)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ, stdout=log, stderr=log)
    try:
        _wait_for(f"{url}/metadata", process)
        headers = {"Content-Type": "application/fhir+json", "Authorization": f"Bearer {TOKEN}"}
        for bundle in bundles:
            answer = requests.post(url, data=bundle, headers=headers, timeout=60)
            assert answer.ok, answer.text[:500]
        yield url
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail("the FHIR server did not start")
