"""Counts of codes that no rule reads: bounded, and without anything of a patient."""

from __future__ import annotations

import pytest

from cds_service.chart import Refused
from cds_service.hooks.unmapped import MOST, Unmapped


def refused(code: str = "HCT-L", system: str = "urn:lab", resembles: str = "HCT") -> Refused:
    return Refused("Observation/1", "unknown_code", "", code=(system, code), resembles=resembles)


def test_codes_are_counted_by_client() -> None:
    unmapped = Unmapped()
    unmapped.note("epic", [refused(), refused(), refused("TT-L", resembles="TT")])
    unmapped.note("other", [refused(), refused(resembles="")])
    assert unmapped.counts == {
        ("epic", "urn:lab", "HCT-L", "HCT"): 2,
        ("epic", "urn:lab", "TT-L", "TT"): 1,
        ("other", "urn:lab", "HCT-L", "HCT"): 1,
    }


@pytest.mark.parametrize("code", ["", "Example Zulu", "x" * 121, "é", "a\nb"])
def test_what_does_not_look_like_a_code_is_not_kept(code: str) -> None:
    unmapped = Unmapped()
    unmapped.note("epic", [refused(code)])
    assert not unmapped.counts
    unmapped.note("epic", [refused(system="lab of Mr. Example")])
    assert not unmapped.counts


def test_the_table_is_bounded() -> None:
    unmapped = Unmapped()
    unmapped.note("epic", [refused(f"c{number}") for number in range(MOST + 3)])
    assert len(unmapped.counts) == MOST
    assert unmapped.others == 3
    unmapped.note("epic", [refused("c0")])
    assert unmapped.counts["epic", "urn:lab", "c0", "HCT"] == 2
