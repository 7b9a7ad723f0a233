"""Records -> courses: who is on therapy, since when, until when (clinical reference 2.2, 0.4.7)."""

from __future__ import annotations

from datetime import date, timedelta
from time import process_time

import msgspec
import pytest

from tests.fhir.conftest import expect

TODAY = date(2026, 11, 22)


def ago(days):
    return (TODAY - timedelta(days=days)).isoformat()


def day(days):
    return TODAY - timedelta(days=days)


def supply(days, repeats=None):
    lasts = {"expectedSupplyDuration": {"value": days, "unit": "days", "code": "d"}}
    return {"dispenseRequest": lasts | ({} if repeats is None else {"numberOfRepeatsAllowed": repeats})}


@pytest.fixture
def courses(read):
    def call(*records):
        forwards, backwards = read(medications=list(records)), read(medications=list(records)[::-1])
        assert forwards.therapies == backwards.therapies
        return forwards.therapies

    return call


@pytest.fixture
def course(courses):
    def call(*records):
        (found,) = courses(*records)
        return found

    return call


# -- status and intent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "current", "on_hold"),
    [
        ({"status": "active"}, True, False),
        ({"status": "on-hold"}, True, True),
        ({"status": "stopped"}, False, False),
        ({"status": "completed"}, False, False),
    ],
)
def test_the_status_of_a_request(course, ehr, elements, current, on_hold):
    found = course(ehr.request(**elements))
    assert (found.current, found.on_hold) == (current, on_hold)
    assert (found.end is None) is current


@pytest.mark.parametrize(
    ("elements", "reason", "tell"),
    [
        ({"status": "cancelled"}, "not_a_therapy", False), ({"status": "entered-in-error"}, "not_a_therapy", False),
        ({"status": "draft"}, "not_a_therapy", False), ({"status": "unknown"}, "not_a_therapy", False),
        ({"status": None}, "no_status", True),
        ({"intent": "proposal"}, "not_an_order", False), ({"intent": "plan"}, "not_an_order", False),
        ({"intent": "option"}, "not_an_order", False), ({"intent": "reorder"}, "not_understood", True),
        ({"status": "activ"}, "not_understood", True), ({"doNotPerform": True}, "not_a_therapy", False),
        ({"status": "completed", "authoredOn": None}, "past_without_date", False),
    ],
)  # fmt: skip
def test_requests_that_are_no_therapy(read, ehr, elements, reason, tell):
    chart = read(medications=[ehr.request(**elements)])
    assert not chart.therapies
    assert [(r.reason, r.tell) for r in chart.refused] == [(reason, tell)]


@pytest.mark.parametrize(
    "intent", ["order", "original-order", "reflex-order", "filler-order", "instance-order", None]
)
def test_intents_that_are_orders(course, ehr, intent):
    assert course(ehr.request(intent=intent)).current


@pytest.mark.parametrize(
    ("elements", "current"),
    [
        ({"status": "active"}, True), ({"status": "on-hold"}, True), ({"status": "completed"}, False),
        ({"status": "stopped"}, False), ({"status": "intended"}, None), ({"status": "not-taken"}, None),
        ({"status": "unknown"}, None), ({"status": "entered-in-error"}, None),
        ({"status": "recorded", "adherence": {"code": {"coding": [{"code": "taking"}]}}}, True),
        ({"status": "recorded", "adherence": {"code": {"coding": [{"code": "not-taking"}]}}}, None),
        ({"status": "recorded"}, None),
    ],
)  # fmt: skip
def test_the_status_of_a_statement(courses, ehr, elements, current):
    found = courses(ehr.statement(effectivePeriod={"start": ago(50)}, **elements))
    assert [each.current for each in found] == ([] if current is None else [current])


def test_a_statement_under_the_key_of_requests_is_read(course, ehr):
    assert course(ehr.statement(effectiveDateTime=ago(5))).sources == ("MedicationStatement/s",)


# -- start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "start"),
    [
        ({"authoredOn": ago(100)}, day(100)),
        ({"dispenseRequest": {"validityPeriod": {"start": ago(120)}}, "authoredOn": ago(100)}, day(120)),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"start": ago(130)}}}}]}, day(205)),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"start": ago(400)}}}}]}, day(400)),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"start": "Invalid date"}}}}]}, day(205)),
        ({"authoredOn": "2026-04"}, date(2026, 4, 1)),
        ({"authoredOn": "2026"}, date(2026, 1, 1)),
        ({"authoredOn": None}, None),
        ({"authoredOn": "soon"}, None),
    ],
)
def test_the_start_of_a_request_is_the_earliest_date(course, ehr, elements, start):
    assert day(205) == date(2026, 5, 1)
    assert course(ehr.request(**{"authoredOn": "2026-05-01", **elements})).start == start


def test_the_start_of_a_statement(course, ehr):
    assert course(ehr.statement(effectivePeriod={"start": ago(300)}, dateAsserted=ago(5))).start == day(300)
    assert course(ehr.statement(effectiveDateTime=ago(30), dateAsserted=ago(50))).start == day(50)
    assert course(ehr.statement(dateAsserted=ago(50))).start == day(50)


# -- renewals ----------------------------------------------------------------------------------------


def test_a_renewal_does_not_move_the_start(course, ehr):
    found = course(ehr.request("a", on=ago(150), status="completed"), ehr.request("b", on=ago(60)))
    assert (found.start, found.current) == (day(150), True)
    assert [each.source for each in found.supplies] == ["MedicationRequest/b", "MedicationRequest/a"]
    assert found.sources == ("MedicationRequest/b", "MedicationRequest/a")


@pytest.mark.parametrize(
    ("elements", "gap", "joined"),
    [
        # without a supply the pause is counted from the date of the prescription
        ({}, 90, True), ({}, 91, False),
        # with one, from its end
        (supply(30), 120, True), (supply(30), 121, False),
        (supply(30, 2), 180, True), (supply(30, 2), 181, False),
        (supply(1, 0), 91, True), (supply(1, 0), 92, False),
        ({"dispenseRequest": {"validityPeriod": {"end": ago(400 - 50)}}}, 140, True),
        ({"dispenseRequest": {"validityPeriod": {"end": ago(400 - 50)}}}, 141, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ["active", "completed"])
def test_a_pause_of_ninety_days_is_the_longest_inside_a_course(courses, ehr, elements, gap, joined, status):
    found = courses(ehr.request("a", on=ago(400), status=status, **elements), ehr.request("b", on=ago(400 - gap)))
    assert [(each.start, each.current) for each in found] == (
        [(day(400), True)] if joined else [(day(400 - gap), True), (day(400), False)]
    )


def test_only_the_newest_of_two_unfinished_courses_is_running(courses, ehr):
    running, stale = courses(ehr.request("a", on=ago(1000), **supply(30)), ehr.request("b", on=ago(50)))
    assert (running.current, running.end, running.supplies[0].end) == (True, None, None)
    assert (stale.current, stale.end, stale.supplies[0].end) == (False, day(970), day(970))


def test_of_three_courses_that_were_never_closed_only_the_newest_is_running(courses, ehr):
    found = courses(*(ehr.request(str(on), on=ago(on)) for on in (3000, 1500, 30)))
    assert [(each.start, each.current) for each in found] == [
        (day(30), True),
        (day(1500), False),
        (day(3000), False),
    ]


def test_an_unfinished_course_runs_beside_a_later_one_that_is_over(courses, ehr):
    later, first = courses(ehr.request("a", on=ago(1000)), ehr.request("b", on=ago(500), status="completed"))
    assert (first.start, first.current, first.end) == (day(1000), True, None)
    assert (later.current, later.end) == (False, day(410))


def test_therapies_of_different_keys_do_not_join(courses, ehr):
    found = courses(ehr.request("a", rxnorm="199224"), ehr.request("b"))
    assert [each.key for each in found] == ["AROMATASE_INHIBITOR", "TESTOSTERONE"]


def test_products_of_one_key_join(course, ehr):
    found = course(ehr.request("a", rxnorm="313233", on=ago(100)), ehr.request("b", on=ago(50)))
    assert [(each.form, each.start) for each in found.supplies] == [("injection", day(50)), ("patch", day(100))]


# -- only a renewal is visible -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "prior", [{"reference": "MedicationRequest/old"}, {"display": "an earlier one"}, {"identifier": {"value": "1"}}]
)
def test_a_renewal_of_something_that_is_not_there_has_no_start(course, ehr, prior):
    found = course(ehr.request("b", priorPrescription=prior))
    assert (found.start, found.current) == (None, True)


@pytest.mark.parametrize("prior", [None, {}])
def test_no_prior_prescription_is_a_start(course, ehr, prior):
    assert course(ehr.request(priorPrescription=prior)).start == date(2026, 5, 1)


def test_a_renewal_of_what_is_there_is_a_start(course, courses, ehr):
    renewal = {"priorPrescription": {"reference": "http://ehr.example/fhir/MedicationRequest/a"}}
    assert course(ehr.request("a", on=ago(150)), ehr.request("b", on=ago(60), **renewal)).start == day(150)
    newest, _ = courses(ehr.request("a", on=ago(500)), ehr.request("b", on=ago(60), **renewal))
    assert newest.start == day(60)


def test_an_earlier_record_without_a_prior_one_is_the_start(course, ehr):
    unseen = {"priorPrescription": {"reference": "MedicationRequest/old"}}
    statement = ehr.statement(effectivePeriod={"start": ago(700)})
    assert course(ehr.request("b", on=ago(60), **unseen), statement).start == day(700)


# -- end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "end"),
    [
        ({}, day(110)),  # 90 days after it was written
        (supply(30), day(170)),
        (supply(30, 1), day(140)),
        (supply(300), TODAY),  # not in the future
        ({"dispenseRequest": {"validityPeriod": {"end": ago(150)}}}, day(150)),
        ({"dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"end": ago(160)}}}}]}, day(160)),
        ({"dispenseRequest": {**supply(90)["dispenseRequest"], "validityPeriod": {"end": ago(150)}}}, day(150)),
        ({"dispenseRequest": {"validityPeriod": {"end": ago(300)}}}, day(200)),  # not before the start
    ],
)
@pytest.mark.parametrize("status", ["completed", "stopped"])
def test_the_end_of_what_is_over(course, ehr, elements, end, status):
    found = course(ehr.request(on=ago(200), status=status, **elements))
    assert (found.current, found.end, found.supplies[0].end) == (False, end, end)


def test_the_end_of_a_statement(course, ehr):
    period = {"start": ago(300), "end": ago(100)}
    assert course(ehr.statement(status="stopped", effectivePeriod=period)).end == day(100)


def test_a_course_ends_with_its_last_record(course, ehr):
    first = ehr.request("a", on=ago(300), status="stopped", **supply(200))
    assert course(first, ehr.request("b", on=ago(280), status="completed", **supply(30))).end == day(100)


def test_a_product_that_was_followed_ends_with_its_supply(course, ehr):
    found = course(ehr.request("a", on=ago(100), **supply(30)), ehr.request("b", on=ago(60), **supply(30)))
    assert [each.end for each in found.supplies] == [None, day(70)]


def test_what_runs_stands_before_what_is_over(course, ehr):
    found = course(ehr.request("gel", rxnorm="1599949", on=ago(80)), ehr.request("b", on=ago(60), status="stopped"))
    assert (found.form, found.current) == ("topical", True)


# -- dispenses and administrations -------------------------------------------------------------------


@pytest.mark.parametrize(("handed", "current"), [(45, True), (46, False), (0, True)])
def test_a_dispense_reaches_one_and_a_half_times_its_supply(course, ehr, handed, current):
    found = course(ehr.dispense(daysSupply={"value": 30, "code": "d"}, whenHandedOver=ago(handed)))
    assert (found.current, found.start) == (current, day(handed))
    assert found.end == (None if current else day(handed - 30))


@pytest.mark.parametrize("status", ["in-progress", "completed"])
def test_a_dispense_without_supply_is_past(course, ehr, status):
    found = course(ehr.dispense(whenHandedOver=ago(10), status=status))
    assert (found.current, found.end) == (False, TODAY)


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error", "preparation", "declined", "stopped"])
def test_what_was_not_handed_over_is_no_therapy(courses, ehr, status):
    assert not courses(ehr.dispense(daysSupply={"value": 30, "code": "d"}, whenHandedOver=ago(10), status=status))


def test_a_dispense_dates_the_course_of_its_request(course, ehr):
    found = course(ehr.dispense(whenHandedOver=ago(150)), ehr.request(on=ago(100)))
    assert (found.start, found.current) == (day(150), True)


def dose(ehr, days, drug="Aveed", **elements):
    """A dose that was given so many days ago."""
    named = {"medicationCodeableConcept": {"text": drug}, "effectiveDateTime": ago(days), **elements}
    return {**ehr.dispense(f"dose-{days}", **named), "resourceType": "MedicationAdministration"}


# Undecanoate is given each 10 weeks, cypionate each fortnight, enanthate each week (2.1); a supply reaches one and
# a half times its length (2.2): 105, 21 and 10 days. A pause of 90 days after its end breaks the course (0.4.7).
@pytest.mark.parametrize(
    ("drug", "days", "current", "unsure"),
    [
        ("Aveed", 105, True, False),
        ("Aveed", 106, False, True),
        ("Aveed", 160, False, True),
        ("Aveed", 161, False, False),
        ("testosterone cypionate", 21, True, False),
        ("testosterone cypionate", 22, False, True),
        ("testosterone cypionate", 104, False, True),
        ("testosterone cypionate", 105, False, False),
        ("testosterone enanthate", 10, True, False),
        ("testosterone enanthate", 11, False, True),
        ("Depo-Provera 150 mg", 0, False, True),  # an interval that the reference does not give
        ("Depo-Provera 150 mg", 90, False, True),
        ("Depo-Provera 150 mg", 91, False, False),
        ("Testopel", 0, False, True),
        ("Testopel", 395, False, True),
        ("Testopel", 396, False, False),
    ],
)
def test_how_long_a_dose_tells_of_a_therapy(course, ehr, drug, days, current, unsure):
    found = course(dose(ehr, days, drug))
    assert (found.current, found.unsure, found.start) == (current, unsure, day(days))
    assert (found.end is None) is current


def test_doses_in_their_interval_are_one_course(course, ehr):
    found = course(*[dose(ehr, days) for days in (20, 90, 160, 230)])
    assert (found.current, found.start) == (True, day(230))
    assert [when.day for when in found.given] == [day(20), day(90), day(160), day(230)]


def test_a_dose_that_is_being_given(course, ehr):
    assert course(dose(ehr, 200, status="in-progress")).current


def test_only_the_latest_course_may_go_on(courses, ehr):
    found = courses(dose(ehr, 60, "Testopel"), dose(ehr, 200, "Testopel"))
    assert [(each.start, each.unsure) for each in found] == [(day(60), True), (day(200), False)]


def test_a_dose_on_a_prescription_is_of_its_course(course, ehr):
    # 195 days lie between the two: the prescription goes on, and says since when and how much.
    written = ehr.request(on=ago(200), dosageInstruction=[{"text": "100 mg weekly"}])
    found = course(written, dose(ehr, 5, "testosterone cypionate", dosage={"text": "given IM"}))
    assert (found.current, found.start, found.dose_changed) == (True, day(200), None)
    assert found.supplies[0].dose_text == "100 mg weekly"


def test_a_dose_does_not_take_a_prescription_off_hold(course, ehr):
    found = course(ehr.request(on=ago(30), status="on-hold"), dose(ehr, 5, "testosterone cypionate"))
    assert (found.current, found.on_hold) == (True, True)


@pytest.mark.parametrize(("stopped", "unsure"), [(59, False), (60, False), (61, True)])
def test_a_therapy_that_was_stopped_after_its_last_dose_does_not_go_on(course, ehr, stopped, unsure):
    over = {"dispenseRequest": {"validityPeriod": {"end": ago(stopped)}}}
    order = ehr.request(on=ago(100), status="stopped", medicationCodeableConcept={"text": "Testopel"}, **over)
    found = course(order, dose(ehr, 60, "Testopel"))
    assert (found.current, found.unsure) == (False, unsure)


@pytest.mark.parametrize("days", [-1, -10])
def test_what_begins_after_today_is_not_yet_a_therapy(read, ehr, days):
    records = [ehr.request(on=ago(days)), dose(ehr, days), ehr.dispense(whenHandedOver=ago(days))]
    chart = read(medications=records)
    assert not chart.therapies
    told = [(r.reason, r.tell, r.covers) for r in chart.refused]
    assert told == [("not_begun", True, {"medications"})] * len(records)


def test_what_begins_today_is_a_therapy(course, ehr):
    assert course(ehr.request(on=ago(0))).current


def test_another_drug_that_begins_after_today_is_not_told(refused, ehr):
    aspirin = ehr.request(on=ago(-10), medicationCodeableConcept={"text": "aspirin"})
    assert not refused(medications=[aspirin]).tell


def test_a_dispense_without_a_date_is_told(read, ehr):
    (found,) = read(medications=[ehr.dispense(daysSupply={"value": 30, "code": "d"})]).refused
    assert (found.reason, found.tell, found.covers) == ("past_without_date", True, {"medications"})


FOREIGN = {"medicationCodeableConcept": {"text": "aspirin"}}
NAMELESS: dict[str, dict[str, list[str]]] = {"medicationCodeableConcept": {"coding": []}}


@pytest.mark.parametrize(
    ("kind", "elements"),
    [
        ("dispense", {}),
        ("dispense", {"status": None, "whenHandedOver": ago(10)}),
        ("administration", {}),
        ("administration", {"status": None, "effectiveDateTime": ago(10)}),
        ("statement", {"status": None}),
        ("request", {"status": None}),
    ],
)
def test_what_is_missing_in_a_record_matters_only_if_its_drug_may_be_one_of_ours(read, ehr, kind, elements):
    administered = {"resourceType": "MedicationAdministration", "effectiveDateTime": None}
    base = ehr.dispense(**administered) if kind == "administration" else getattr(ehr, kind)()
    record = {key: value for key, value in {**base, **elements}.items() if value is not None}
    expected = (expect("medications", base["resourceType"], "medications"),)

    def told(**drug):
        (found,) = read(expected=expected, medications=[{**record, **drug}]).refused
        return found.reason, found.tell, found.covers

    missing = "no_status" if "status" in elements else "past_without_date"
    assert told() == (missing, True, {"medications"})
    assert told(**FOREIGN) == ("unknown_drug", False, frozenset())
    assert told(**NAMELESS) == ("no_drug", True, {"medications"})


# -- change of dose ----------------------------------------------------------------------------------


def weekly(value, unit="mg", text=None):
    repeat = {"frequency": 1, "period": 1, "periodUnit": "wk"}
    amount = {"doseQuantity": {"value": value, "unit": unit}}
    dosage = {"timing": {"repeat": repeat}, "doseAndRate": [amount], **({"text": text} if text else {})}
    return {"dosageInstruction": [dosage]}


def worded(text):
    return {"dosageInstruction": [{"text": text}]}


@pytest.mark.parametrize(
    ("first", "second", "changed"),
    [
        (weekly(100), weekly(100), False),
        (weekly(100), weekly(100.0), False),
        (weekly(100), weekly(80), True),
        (weekly(100, text="100 mg weekly"), weekly(100, text="100 mg each week"), False),
        (worded("100 mg weekly"), worded(" 100 MG  weekly"), False),
        (worded("100 mg weekly"), worded("80 mg weekly"), True),
        (worded("100 mg weekly"), {}, False),
        (weekly(100), worded("100 mg weekly"), False),
        ({"rxnorm": "835829"}, {"rxnorm": "835831"}, False),  # the brand of the same product
        ({"rxnorm": "835829"}, {"rxnorm": "835840"}, True),  # 100 and 200 mg/mL
        ({"rxnorm": "835829"}, {"rxnorm": "835809"}, True),  # cypionate and enanthate
        ({"rxnorm": "313233"}, {"rxnorm": "1190953"}, True),  # two strengths of a patch
        ({"rxnorm": "10379"}, {"rxnorm": "835829"}, False),  # an ingredient says less, not something else
    ],
)
def test_a_change_of_dose_or_product(course, ehr, first, second, changed):
    found = course(ehr.request("a", on=ago(150), **first), ehr.request("b", on=ago(70), **second))
    assert found.dose_changed == (day(70) if changed else None)


def test_the_latest_change_counts(course, ehr):
    doses = [(240, 100), (170, 80), (100, 80), (40, 120)]
    found = course(*(ehr.request(str(on), on=ago(on), **weekly(value)) for on, value in doses))
    assert found.dose_changed == day(40)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("Testosterone cypionate injection", "Testosterone enanthate injection", True),
        ("Testosterone gel", "Testosterone patch", True),
        ("Testosterone gel", "Testosterone gel", False),
    ],
)
def test_another_agent_or_form_is_a_change_where_nothing_else_is_known(course, ehr, before, after, changed):
    names = {"medicationCodeableConcept": {"text": before}}, {"medicationCodeableConcept": {"text": after}}
    found = course(ehr.request("a", on=ago(90), **names[0]), ehr.request("b", on=ago(50), **names[1]))
    assert found.dose_changed == (day(50) if changed else None)


def test_two_strengths_that_run_together_are_no_change(course, ehr):
    """100 and 25 micrograms of levothyroxine, each renewed in turn."""
    records = [
        ehr.request(
            f"{strength}-{on}", rxnorm=code, on=ago(on), status="completed" if on > 60 else "active", **supply(60)
        )
        for on in (180, 120, 60)
        for strength, code in (("100", "892246"), ("25", "966224"))
    ]
    assert course(*records).dose_changed is None


def test_a_product_that_comes_back_is_a_change(course, ehr):
    records = [("a", 150, 100), ("b", 90, 80), ("c", 30, 100)]
    found = course(
        *(ehr.request(i, on=ago(on), status="completed", **weekly(v), **supply(30)) for i, on, v in records)
    )
    assert found.dose_changed == day(30)


@pytest.mark.parametrize(("slack", "changed"), [(14, 60), (13, 56)])
def test_how_long_after_its_supply_a_product_still_is_the_one_that_is_renewed(read, ehr, knowledge, slack, changed):
    """The first product ran out on day 70 and comes again on day 56, 14 days later; another began between them."""
    records = [
        ehr.request("a", rxnorm="892246", on=ago(100), **supply(30)),
        ehr.request("b", rxnorm="966224", on=ago(60), **supply(60)),
        ehr.request("c", rxnorm="892246", on=ago(56), **supply(30)),
    ]
    site = msgspec.structs.replace(knowledge, switches={**knowledge.switches, "renewal_slack_days": slack})
    (found,) = read(medications=records, site=site).therapies
    assert found.dose_changed == day(changed)


def test_thousands_of_renewals_are_gone_through_in_no_time(course, ehr):
    """A chart as large as the body of a call may be: the time grows with the records, not with their square."""
    doses = (worded("100 mg weekly" if number else "80 mg weekly") for number in range(6000))
    records = [ehr.request(str(number), on=ago(6000 - number), **dose) for number, dose in enumerate(doses)]
    began = process_time()
    found = course(*records)
    assert process_time() - began < 6  # seconds; a tenth of that is usual, half a minute by looking at all pairs
    assert found.dose_changed == day(5999)


def test_thousands_of_doses_are_judged_in_time(read, ehr):
    """Each dose that a ward has given is a record; among them stand other records of the drug, with a dose."""
    texts = ("50 mg daily", "100 mg daily")
    old = [ehr.statement(text, effectivePeriod={"start": ago(900)}, dosage=[{"text": text}]) for text in texts]
    lists = [
        old
        + [
            ehr.statement(f"{n}", effectivePeriod={"start": ago(n % 800), "end": ago(n % 800)}) for n in range(6000)
        ],
        old
        + [
            ehr.statement(
                f"{n}",
                effectivePeriod={"start": ago(n % 800), "end": ago(n % 800)},
                dosage=[{"text": texts[n % 2]}],
            )
            for n in range(6000)
        ],
    ]
    for records in lists:
        began = process_time()
        (found,) = read(medications=records).therapies
        assert process_time() - began < 4
        assert len(found.sources) == 6002


# -- from words --------------------------------------------------------------------------------------


def test_a_course_is_from_words_if_all_of_it_is(course, ehr):
    words = {"medicationCodeableConcept": {"text": "Testosterone"}}
    assert course(ehr.request(on=ago(50), **words)).from_text
    found = course(ehr.request("a", on=ago(90)), ehr.request("b", on=ago(50), **words))
    assert (found.from_text, found.recognised) == (False, "RxNorm product 835829")


def test_an_undated_record_joins_what_runs(course, ehr):
    found = course(ehr.request("a", on=None), ehr.request("b", on=ago(50)))
    assert (found.start, found.current, len(found.supplies)) == (day(50), True, 2)


def test_records_of_somebody_else_are_told(read, ehr):
    chart = read(medications=[ehr.request(subject={"reference": "Patient/q"})])
    assert not chart.therapies
    assert [(r.reason, r.tell, set(r.covers)) for r in chart.refused] == [("other_patient", True, {"medications"})]
