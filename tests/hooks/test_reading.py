"""What is remembered of the calls for which something was fetched."""

from __future__ import annotations

from datetime import date

import msgspec

from cds_service.chart import Chart, Patient
from cds_service.hooks.reading import Lately, Reading
from cds_service.hooks.request import HookRequest

DAY = date(2026, 3, 15)


def test_a_call_that_comes_again_is_the_youngest() -> None:
    first = HookRequest("patient-view", "0", "Practitioner/1", "p", {})
    calls = [first] + [
        msgspec.structs.replace(first, hook_instance=str(number)) for number in range(1, Lately.MOST)
    ]
    lately, reading = Lately(), Reading(Chart(Patient("p")))
    for call in (*calls, first, msgspec.structs.replace(first, hook_instance="new")):
        lately.put(call, DAY, reading)
    assert [lately.find(call, DAY) is not None for call in calls] == [True, False] + [True] * (Lately.MOST - 2)
