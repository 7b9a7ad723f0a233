"""MedicationAdministration -> when single doses were given."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest


@pytest.fixture
def dose(ehr):
    def make(when: str, status: str = "completed"):
        return {
            **ehr.dispense(status=status),
            "resourceType": "MedicationAdministration",
            "id": f"dose-{when[:10]}",
            "effectiveDateTime": when,
        }

    return make


def test_doses_come_newest_first_with_their_times(read, ehr, dose):
    records = [ehr.request(on="2026-10-01"), dose("2026-11-01"), dose("2026-11-15T08:30:00Z"), dose("2026-11-08")]
    (course,) = read(medications=records).therapies
    assert [when.day for when in course.given] == [date(2026, 11, 15), date(2026, 11, 8), date(2026, 11, 1)]
    assert course.given[0].instant == datetime(2026, 11, 15, 8, 30, tzinfo=UTC)
    assert course.given[1].instant is None
    assert course.start == date(2026, 10, 1)


def test_a_prescription_is_no_dose(read, ehr):
    (course,) = read(medications=[ehr.request(on="2026-05-01")]).therapies
    assert course.given == ()


def test_what_was_not_given_is_no_dose(read, ehr, dose):
    (course,) = read(medications=[ehr.request(on="2026-05-01"), dose("2026-11-01", "not-done")]).therapies
    assert course.given == ()
