"""Which codes of what was not read are counted, and that nothing of a patient is."""

from __future__ import annotations

import pytest

from cds_service.chart import Refused
from cds_service.hooks.unmapped import unmapped


def refused(code: str = "HCT-L", system: str = "urn:lab", resembles: str = "HCT") -> Refused:
    return Refused("Observation/1", "unknown_code", "", code=(system, code), resembles=resembles)


def test_codes_that_look_like_ours_are_counted() -> None:
    found = unmapped(
        [refused(), refused(), refused("TT-L", resembles="TT"), refused(resembles=""), refused(system="")]
    )
    assert found == {("urn:lab", "HCT-L", "HCT"): 2, ("urn:lab", "TT-L", "TT"): 1, ("", "HCT-L", "HCT"): 1}


@pytest.mark.parametrize("code", ["", "Example Zulu", "x" * 121, "é", "a\nb"])
def test_what_does_not_look_like_a_code_is_not_kept(code: str) -> None:
    assert not unmapped([refused(code)])
    assert not unmapped([refused(system="lab of Mr. Example")])


def test_the_longest_code_is_kept() -> None:
    assert unmapped([refused("x" * 120, "y" * 120)])
