"""The short form of `make soak`: ten seconds at a gentle rate; memory is judged by the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import soaked


@pytest.mark.slow
def test_ten_seconds_without_an_error_and_nothing_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert soaked(tmp_path, minutes=1 / 6, rate=10, workers=2) == []
    told = capsys.readouterr().out
    for kind in ("call", "discovery", "feedback", "fetching"):
        assert f"\n{kind} " in told
