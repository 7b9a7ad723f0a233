"""Calls of a client within a minute, on a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from cds_service.security.rates import make_limit


class Ticks:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def test_the_call_after_the_last_one_of_a_minute_waits_for_the_next(ticks: Ticks):
    count = make_limit(2, ticks)
    ticks.now = 1007.0  # the minute begins with the first call
    assert [count("ehr"), count("ehr"), count("ehr")] == [0, 0, 60]
    ticks.now = 1066.5
    assert count("ehr") == 1
    ticks.now = 1067.0
    assert [count("ehr"), count("ehr"), count("ehr")] == [0, 0, 60]


def test_each_client_has_its_own_count(ticks: Ticks):
    count = make_limit(1, ticks)
    assert [count("one"), count("other"), count("one"), count("other")] == [0, 0, 60, 60]


def test_calls_that_are_refused_do_not_prolong_the_wait(ticks: Ticks):
    count = make_limit(1, ticks)
    for second in range(60):
        ticks.now = 1000.0 + second
        assert count("ehr") == (0 if second == 0 else 60 - second)
    ticks.now = 1060.0
    assert count("ehr") == 0


def test_nothing_is_counted_without_a_limit(ticks: Ticks):
    count = make_limit(0, ticks)
    assert [count("ehr") for _ in range(5)] == [0] * 5


def test_threads_do_not_get_more_than_the_limit(ticks: Ticks):
    count, served = make_limit(500, ticks), []

    def call() -> None:
        served.append(sum(count("ehr") == 0 for _ in range(200)))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(served) == 500
