"""Results whose code is not read, and the marker that their name looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from cds_service.fhir.resemblance import resembling, stranger
from cds_service.knowledge.model import Knowledge


@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("Hematocrit (Hct), automated", "HCT"),
        ("HEMATOCRIT", "HCT"),
        ("Testosterone, Total, MS", "TT"),
        ("Free  testosterone", "FT"),
        ("PSA", "PSA"),
        ("PSAX", ""),
        ("Testosterone", ""),
        ("Chest X-ray", ""),
        ("", ""),
    ],
)
def test_all_words_of_a_marker_s_name_must_stand_there(knowledge: Knowledge, name: str, marker: str) -> None:
    assert resembling([name], knowledge.markers) == marker


def code(**members: Any) -> Raw:
    return Raw(json.dumps(members).encode())


def test_the_code_is_kept_where_the_name_is_one_of_ours(knowledge: Knowledge) -> None:
    local = {"system": "urn:lab", "code": "HCT-L", "display": "Hematocrit"}
    refused = stranger("Observation/1", code(coding=[{"display": "x"}, local]), knowledge.markers)
    assert (refused.reason, refused.code, refused.resembles, refused.tell) == (
        "unknown_code",
        ("urn:lab", "HCT-L"),
        "HCT",
        False,
    )
    other = stranger(
        "Observation/1", code(coding=[local | {"display": "Sodium of Mr. Example"}]), knowledge.markers
    )
    assert other.code == (("urn:lab", "HCT-L") if other.resembles else ("", ""))
    plain = stranger("Observation/1", code(coding=[local | {"display": "Chest X-ray"}]), knowledge.markers)
    assert (plain.code, plain.resembles) == (("", ""), "")


@pytest.mark.parametrize("strange", [Raw(b'{"text": 5}'), Raw(b'{"coding": "x"}'), Raw(b"[]"), Raw(b"")])
def test_what_cannot_be_read_resembles_nothing(knowledge: Knowledge, strange: Raw) -> None:
    assert stranger("Observation/1", strange, knowledge.markers).resembles == ""
