"""What is looked up once for a knowledge base, and what tells one doubt from another."""

from __future__ import annotations

import msgspec

from cds_service.rules.index import Index
from cds_service.rules.outcome import Doubt, Outcome
from cds_service.rules.plan import outside


def test_rules_about_a_therapy_are_those_of_its_protocol_that_judge(knowledge):
    """One that looks for results that cannot be judged (DQ-1) is none, nor one of a protocol of no therapy."""
    therapy = next(protocol for protocol in knowledge.protocols if protocol.about_therapy)
    other = msgspec.structs.replace(therapy, key="other", about_therapy=False)
    plain = next(rule for rule in knowledge.rules if rule.protocol == therapy.key and rule.kind == "threshold")
    made = [
        plain,
        msgspec.structs.replace(plain, id="quality", kind="quality"),
        msgspec.structs.replace(plain, id="nowhere", protocol="no such protocol"),
        msgspec.structs.replace(plain, id="other", protocol="other"),
    ]
    known = msgspec.structs.replace(knowledge, rules=tuple(made), protocols=(therapy, other))
    assert Index(known).about_therapy == {plain.id}


def test_several_markers_may_count_as_one(knowledge):
    percent = knowledge.markers["BIOTPCT"]
    markers = {**knowledge.markers, "ANOTHER": msgspec.structs.replace(percent, key="ANOTHER")}
    counted = Index(msgspec.structs.replace(knowledge, markers=markers)).counted_as
    assert counted["BIOT"] == ("ANOTHER", "BIOTPCT")


def test_a_rule_that_is_not_about_a_patient_says_so(knowledge):
    hct = next(rule for rule in knowledge.rules if rule.id == "HCT-1")
    assert outside(hct) == Outcome("HCT-1", "not applicable", "does not apply to this patient", applies=False)


def test_equal_doubts_have_one_key_in_whatever_order_their_values_stand():
    doubt = Doubt("gap_absent", "HCT", {"key": "labs", "detail": None})
    assert doubt.key() == Doubt("gap_absent", "HCT", {"detail": None, "key": "labs"}).key()
    others = [
        Doubt("gap_truncated", "HCT", doubt.values),
        Doubt("gap_absent", "PSA", doubt.values),
        Doubt("gap_absent", "HCT", {"key": "other", "detail": None}),
        Doubt("gap_absent", "HCT", {"key": "labs", "detail": "cut"}),
    ]
    assert doubt.key() not in [other.key() for other in others]
