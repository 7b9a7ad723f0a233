"""Two replicas with one PostgreSQL behind one nginx, all of them real and on loopback.

nginx has the configuration of deploy/compose, with other addresses. What one replica has learnt the other one
knows, and a replica that is killed takes no call with it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from sqlalchemy import Table, func, select, text

from cds_service.app import now_utc
from cds_service.feedback.database import connect
from cds_service.feedback.tables import CALLS, CARDS
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from tests.feedback.postgres import ACCOUNT, binaries, server
from tests.operations.running import TOP, Running, free_ports, get, needed, serving, status, until
from tests.security import ehr

pytestmark = pytest.mark.slow

VIEW = "/cds-services/hormone-therapy-patient-view"
CONF = TOP / "deploy" / "compose" / "nginx.conf"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    programs = needed(binaries(), "PostgreSQL is not installed (make postgres)")
    with server(programs) as address:
        yield address


@pytest.fixture(scope="module")
def nginx() -> str:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    return str(needed(program, "nginx is not installed (make nginx)"))


class Pair(NamedTuple):
    """Two replicas and the proxy before them."""

    replicas: tuple[Running, Running]
    url: str
    database: str

    def count(self, table: Table) -> int:
        """Rows of a table."""
        engine = connect(self.database)
        try:
            with engine.connect() as connection:
                return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        finally:
            engine.dispose()


@contextmanager
def pair(folder: Path, postgres: str, nginx: str, *, asks: bool = False) -> Iterator[Pair]:
    """`asks`: whether callers need a token."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    database = f"postgresql+psycopg://{ACCOUNT}@{postgres}/replicas_{uuid4().hex}"
    admin = connect(f"postgresql+psycopg://{ACCOUNT}@{postgres}/postgres").execution_options(
        isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {database.rpartition('/')[2]}"))
    admin.dispose()
    (folder / "keys.json").write_bytes(ehr.key_set())
    client = f'[clients.ehr]\nissuer = "{ehr.ISSUER}"\njwks_file = "keys.json"\n' if asks else ""
    site = folder / "site.toml"
    site.write_text(f'[server]\npublic_url = "{url}"\ncalls_per_minute = 0\n{client}', encoding="utf-8")
    settings = {"CDS_CONFIG": str(site), "CDS_DATABASE_URL": database}
    with ExitStack() as stack:
        replicas = [stack.enter_context(serving(folder / name, **settings)) for name in "ab"]
        stack.enter_context(proxy(folder, nginx, port, replicas))
        until(lambda: status(f"{url}/healthz") == 404, "the proxy answers by itself")
        yield Pair((replicas[0], replicas[1]), url, database)


@contextmanager
def proxy(folder: Path, nginx: str, port: int, replicas: list[Running]) -> Iterator[None]:
    """nginx as deploy/compose has it, with this test's addresses and in the foreground."""
    conf = CONF.read_text(encoding="utf-8")
    for name, replica in zip("ab", replicas, strict=True):
        conf = conf.replace(f"server replica-{name}:8000", f"server 127.0.0.1:{replica.port}")
    conf = conf.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("/tmp/", f"{folder}/")
    assert "replica-" not in conf
    file = folder / "nginx.conf"
    file.write_text(f"daemon off;\n{re.sub('^error_log .*$', 'error_log stderr warn;', conf, flags=re.MULTILINE)}")
    folder.chmod(0o755)
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([nginx, "-c", file, "-e", "stderr"], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(60)


def body(knowledge: Knowledge, example: str) -> bytes:
    """The request of an example as of today."""
    case = next(case for case in example_cases(now_utc().date()) if case.id == example)
    return Runner(knowledge).body(case)


def token(url: str) -> dict[str, str]:
    """A header with a new token for an address."""
    now = int(time.time())
    return {"Authorization": f"Bearer {ehr.token(url, iat=now, exp=now + 300)}"}


def test_a_token_is_used_once_over_all_replicas(tmp_path, postgres, nginx, knowledge):
    with pair(tmp_path, postgres, nginx, asks=True) as both:
        call = body(knowledge, "hematocrit-high")
        first, second = both.replicas
        used = token(both.url + VIEW)
        assert get(both.url + VIEW, call)[0] == 401
        assert get(first.url + VIEW, call, used)[0] == 200
        assert get(second.url + VIEW, call, used)[0] == 401
        assert second.log_lines()[-1]["refusal"] == "jti_used"
        assert second.metrics()['cds_refusals_total{reason="jti_used"}'] == 1
        assert get(both.url + VIEW, call, token(both.url + VIEW))[0] == 200


def test_a_card_set_aside_at_one_replica_stays_away_at_the_other(tmp_path, postgres, nginx, knowledge):
    with pair(tmp_path, postgres, nginx) as both:
        call = body(knowledge, "three-months-due")
        first, second = both.replicas
        (card,) = json.loads(get(first.url + VIEW, call)[1])["cards"]
        until(lambda: both.count(CARDS) >= 1, "the card is recorded")
        entry = {
            "card": card["uuid"],
            "outcome": "overridden",
            "outcomeTimestamp": now_utc().isoformat(),
            "overrideReason": {"reason": next(r for r in card["overrideReasons"] if r["code"] == "not-now")},
        }
        assert get(f"{second.url}{VIEW}/feedback", json.dumps({"feedback": [entry]}).encode())[0] == 200
        for replica in both.replicas:
            assert json.loads(get(replica.url + VIEW, call)[1])["cards"] == []
            assert replica.log_lines()[-1]["snoozed"] == ["MISS-male_trt"]
        assert json.loads(get(both.url + VIEW, call)[1])["cards"] == []


@pytest.mark.parametrize("stranger", [True, False])
def test_the_proxy_keeps_strangers_rare_and_the_probes_inside(tmp_path, nginx, monkeypatch, stranger):
    """Nobody listens behind it: what it lets through is 502."""
    conf, known = CONF.read_text(encoding="utf-8"), "127.0.0.0/8 1;"
    assert known in conf
    (tmp_path / "sample.conf").write_text(conf.replace(known, "") if stranger else conf, encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.CONF", tmp_path / "sample.conf")
    port, *gone = free_ports(3)
    replicas: Any = [SimpleNamespace(port=each) for each in gone]
    with proxy(tmp_path, nginx, port, replicas):
        url = f"http://127.0.0.1:{port}"
        until(lambda: status(f"{url}/healthz") == 404, "nginx answers")
        assert status(f"{url}/readyz") == 404
        said = Counter(status(f"{url}/cds-services") for _ in range(60))
        assert said[502] >= 20
        assert (said[429] > 0) == stranger


class Load:
    """Callers that call without a pause until they are told to stop."""

    def __init__(self, url: str, body: bytes, callers: int, *, asks: bool = False) -> None:
        self.outcomes: Counter[str] = Counter()
        self._host, self._body, self._asks, self._url = url.partition("//")[2], body, asks, url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        while not self._stop.is_set():
            headers = {"Content-Type": "application/json"} | (token(self._url + VIEW) if self._asks else {})
            try:
                connection.request("POST", VIEW, self._body, headers)
                response = connection.getresponse()
                cards = json.loads(response.read()).get("cards")
                self.outcomes[f"{response.status} {'with' if cards else 'without'} cards"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[type(error).__name__] += 1
                connection.close()
        connection.close()

    def calls(self, more: int) -> None:
        """Wait for so many more calls."""
        goal = self.outcomes.total() + more
        until(lambda: self.outcomes.total() >= goal, f"{more} more calls have ended")


def test_a_replica_is_killed_under_load_without_a_failed_request(tmp_path, postgres, nginx, knowledge):
    with pair(tmp_path, postgres, nginx) as both:
        first, second = both.replicas
        with Load(both.url, body(knowledge, "hematocrit-high"), callers=6) as load:
            load.calls(60)
            for process in (first.process.pid, *first.workers()):
                os.kill(process, signal.SIGKILL)
            load.calls(120)
        assert set(load.outcomes) == {"200 with cards"}, load.outcomes
        assert len(first.log_lines()) > 10
        assert len(second.log_lines()) > 100


def test_a_replica_leaves_under_load_without_a_failed_request(tmp_path, postgres, nginx, knowledge):
    """A rolling update. Tokens are checked: a call that were judged twice would be refused the second time."""
    with pair(tmp_path, postgres, nginx, asks=True) as both:
        first, _ = both.replicas
        with Load(both.url, body(knowledge, "hematocrit-high"), callers=4, asks=True) as load:
            load.calls(40)
            assert first.stop() == 0
            load.calls(80)
        assert set(load.outcomes) == {"200 with cards"}, load.outcomes
        until(lambda: both.count(CALLS) == load.outcomes.total(), "every call is recorded once")
