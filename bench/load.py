"""One server at a time: started on a core of its own, called, and its CPU time read from the kernel."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import msgspec

from bench.servers import HERE, Server, free_port

START_SECONDS = 120
SCHEDULED = 2
"""Kind of the CPU clocks that count in nanoseconds."""
MICRO, MILLI, NANO = 1e6, 1e3, 1e-9
WARM_UP_CALLS = 20
WARM_UP_SECONDS = 0.5
PERCENTILE = 0.99
PARTS = 5
"""Parts of one measurement; what else runs on the machine disturbs some of them less than others."""


class Figures(msgspec.Struct):
    """What one server did with one body in one round."""

    cpu_us: float
    """User and system time of all its processes a request, in microseconds: the best of the parts of a round."""
    p50_ms: float
    p99_ms: float
    """Of one caller."""
    per_second: float
    """Requests answered a second, with several callers."""
    cards: int


class Running(msgspec.Struct):
    """A server that has answered once."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    start_ms: float
    """From the start of the process to its first answer."""
    start_cpu_ms: float
    """CPU of all its processes until then: on a busy machine the fairer figure."""


def settle() -> list[str]:
    """Keep this process, the callers, off one core; the command that puts a server on that one.

    [] where a process cannot be tied to a core, or there is only one.
    """
    if not shutil.which("taskset"):
        return []
    *others, last = sorted(os.sched_getaffinity(0))
    if not others:
        return []
    os.sched_setaffinity(0, others)
    return ["taskset", "--cpu-list", str(last)]


@contextmanager
def running(
    server: Server, bodies: Sequence[bytes], environment: Mapping[str, str], pinned: list[str]
) -> Iterator[Running]:
    """The server, from its first answer on. Raises SkippedError if it cannot be had, RuntimeError if it fails."""
    port = free_port()
    command = [*pinned, *server.command(port)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=HERE.parent, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(server, process, port, bodies)
        took = time.perf_counter() - begun
        yield Running(server, process, port, took * MILLI, cpu_seconds(process.pid) * MILLI)
    finally:
        process.terminate()
        try:
            process.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], port: int, bodies: Sequence[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Caller(server, port, bodies) as caller:
                caller.call()
                return
        except ConnectionError:
            time.sleep(0.002)
    raise RuntimeError(f"{server.name}: the server did not start: {' '.join(process.args)}")  # type: ignore[arg-type]


class Caller:
    """One caller on a kept-alive connection."""

    def __init__(self, server: Server, port: int, bodies: Sequence[bytes]) -> None:
        """`bodies` are sent in turn, so that nothing profits from seeing the same one again."""
        self._bodies = cycle(bodies)
        self._head = f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        self._authorization = partial(server.authorization, port)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self) -> bytes:
        """The next request."""
        body = next(self._bodies)
        return f"{self._head}{self._authorization()}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def call(self, request: bytes | None = None) -> bytes:
        """One hook call; the body of its answer. Raises RuntimeError if it is not 200."""
        self._socket.sendall(request or self.request())
        answer = http.client.HTTPResponse(self._socket, method="POST")
        answer.begin()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"answer {answer.status}: {content[:300]!r}")
        return content

    def repeat(self, seconds: float) -> list[float]:
        """Call for so long, at least once; how long each call took, in seconds."""
        taken = []
        end = time.perf_counter() + seconds
        while not taken or time.perf_counter() < end:
            request = self.request()
            before = time.perf_counter()
            self.call(request)
            taken.append(time.perf_counter() - before)
        return taken


def measure(running: Running, bodies: Sequence[bytes], seconds: float, callers: int) -> Figures:
    """Call with one caller, then with several, for so many seconds each."""
    taken: list[float] = []
    costs: list[float] = []
    with Caller(running.server, running.port, bodies) as caller:
        _warm_up(caller)
        for _ in range(PARTS):
            before = cpu_seconds(running.process.pid)
            part = caller.repeat(seconds / PARTS)
            costs.append((cpu_seconds(running.process.pid) - before) / len(part))
            taken.extend(part)
        cards = msgspec.json.decode(caller.call())["cards"]
    taken.sort()
    return Figures(
        cpu_us=min(costs) * MICRO,
        p50_ms=taken[len(taken) // 2] * MILLI,
        p99_ms=taken[min(int(len(taken) * PERCENTILE), len(taken) - 1)] * MILLI,
        per_second=_throughput(running, bodies, seconds, callers),
        cards=len(cards),
    )


def _warm_up(caller: Caller) -> None:
    end = time.perf_counter() + WARM_UP_SECONDS
    for _ in range(WARM_UP_CALLS):
        caller.call()
        if time.perf_counter() > end:
            break


def _throughput(running: Running, bodies: Sequence[bytes], seconds: float, callers: int) -> float:
    made = [Caller(running.server, running.port, bodies) for _ in range(callers)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        counts = list(pool.map(lambda caller: len(caller.repeat(seconds)), made))
    took = time.perf_counter() - begun
    for caller in made:
        caller.__exit__()
    return sum(counts) / took


# -- what the kernel knows -----------------------------------------------------------------------------


def _tree(pid: int) -> list[int]:
    """A process and all its children."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            pids.extend(map(int, children.read_text().split()))
    return pids


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far, to the nanosecond."""
    return sum(time.clock_gettime_ns(_cpu_clock(each)) for each in _tree(pid)) * NANO


def _cpu_clock(pid: int) -> int:
    """The kernel's clock of a process's CPU time (clock_getcpuclockid(3))."""
    return (~pid << 3) | SCHEDULED


def resident_mb(pid: int) -> float:
    """Memory of the largest process, in MB: the worker's."""
    most = 0
    for each in _tree(pid):
        for line in Path(f"/proc/{each}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                most = max(most, int(line.split()[1]))
    return most / 1024
