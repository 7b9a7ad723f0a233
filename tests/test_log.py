"""The log holds the listed fields and nothing else."""

from __future__ import annotations

import io
import json

import pytest

from cds_service.log import FIELDS, Logger, place_of
from cds_service.settings import SettingsError, load


def write(**fields: object) -> dict[str, object]:
    stream = io.StringIO()
    Logger(stream).info("call", **fields)
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_line_is_json_with_time_and_level():
    line = write(status=200, ms=1.5, rules=["HCT-1"], gaps={"labs1": "absent"})
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "event": "call",
        "level": "info",
        "status": 200,
        "ms": 1.5,
        "rules": ["HCT-1"],
        "gaps": {"labs1": "absent"},
    }


@pytest.mark.parametrize(
    "name", ["patient", "patient_id", "user", "body", "token", "prefetch", "exception", "exc_info"]
)
def test_any_other_field_is_dropped(name):
    assert name not in FIELDS
    assert "Jane Roe" not in json.dumps(write(status=200, **{name: "Jane Roe"}))


def test_empty_fields_are_left_out_and_zero_is_not():
    assert {"gaps", "failed", "rules", "service"}.isdisjoint(write(gaps={}, failed={}, rules=[], service=""))
    assert write(cards=0)["cards"] == 0


class Unwritable(io.StringIO):
    """A stream that takes no line while `error` is there."""

    error: Exception | None = None

    def flush(self) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("closed")])
def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(error):
    stream, lost = Unwritable(), []
    logger = Logger(stream)
    logger.lost = lambda: lost.append(1)
    logger.info("call")
    assert (logger.works, len(lost)) == (True, 0)
    stream.error = error
    logger.info("call")
    logger.info("call")
    assert (logger.works, len(lost)) == (False, 2)
    stream.error = None
    logger.info("call")
    assert (logger.works, len(lost)) == (True, 2)


def test_place_is_the_innermost_of_our_lines():
    with pytest.raises(SettingsError) as caught:
        load({"PORT": "x"})
    place = place_of(caught.value)
    assert place.startswith("cds_service.settings:")
    assert place.endswith(" load")


def test_place_outside_our_code_is_not_told():
    with pytest.raises(ValueError, match="x") as caught:
        int("x")
    assert place_of(caught.value) == ""
    assert place_of(ValueError("never raised")) == ""
