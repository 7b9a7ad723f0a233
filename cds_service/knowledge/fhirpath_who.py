"""To whom rules apply, and what must hold, as FHIRPath over a Bundle with the resources of one patient.

Each leaf of a predicate tree is a function below, found by its name, as in `rules/predicates.py`; the tests of the
export make sure that the two agree. A leaf that is not here cannot be said: see `fhirpath.NotSayableError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cds_service.knowledge.fhirpath import (
    NEWEST,
    NotSayableError,
    canonical,
    choice,
    coded,
    count,
    number,
    observations,
    of_marker,
    passed,
    plausible,
    text,
    within,
)
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.statuses import DONE, GOES_ON, ORDERS, PAST, RULED_OUT
from cds_service.knowledge.systems import ATC, BIRTH_SEX, GENDER_IDENTITY, ICD10, RXNORM, SEX_PARAMETER, SNOMED
from cds_service.knowledge.vocabulary import Concept, Product

PATIENT = "Bundle.entry.resource.ofType(Patient)"
PARAMETER = f"{PATIENT}.extension.where(url = {text(SEX_PARAMETER)})"
BORN = f"{PATIENT}.extension.where(url = {text(BIRTH_SEX)}).value"
OTHER = {"male": "female", "female": "male"}


def condition(tree: Any, knowledge: Knowledge) -> str:
    """A predicate tree as an expression. Raises NotSayableError."""
    if tree is None:
        return "true"
    if len(tree) > 1:
        return _all([{name: spec} for name, spec in tree.items()], knowledge)
    ((name, spec),) = tree.items()
    if name not in LEAVES:
        raise NotSayableError(f"`{name}` is worked out from several records")
    return LEAVES[name](spec, knowledge)


def _all(specs: Any, knowledge: Knowledge) -> str:
    return " and ".join(f"({condition(spec, knowledge)})" for spec in specs)


def _any(specs: Any, knowledge: Knowledge) -> str:
    return " or ".join(f"({condition(spec, knowledge)})" for spec in specs)


def _not(spec: Any, knowledge: Knowledge) -> str:
    return f"({condition(spec, knowledge)}).not()"


def _certain(spec: Any, knowledge: Knowledge) -> str:
    return f"({condition(spec, knowledge)}).where($this).exists()"


def _protocol(spec: Any, knowledge: Knowledge) -> str:
    trees = [p.applies for p in knowledge.protocols if p.key in _names(spec) or (spec == "any" and p.applies)]
    return _any(trees, knowledge)


def _switch(spec: Any, knowledge: Knowledge) -> str:
    return str(all(knowledge.switches[name] == wanted for name, wanted in spec.items())).lower()


def _site_codes(spec: Any, knowledge: Knowledge) -> str:
    concept = knowledge.concepts[spec]
    return str(bool(concept.icd10 or concept.snomed)).lower()


# -- drugs ---------------------------------------------------------------------------------------------


def _therapy(spec: Any, knowledge: Knowledge) -> str:
    if spec.keys() - {"key", "form", "not_form", "systemic", "state"} or spec.get("state", "current") != "current":
        raise NotSayableError("it asks for more of a course than its product and that it is current")
    drug = _drug(spec, knowledge)
    requests = (
        f"Bundle.entry.resource.ofType(MedicationRequest).where(status in {choice(GOES_ON)} and "
        f"intent in {choice(ORDERS)} and doNotPerform.where($this).empty() and {drug}).exists()"
    )
    statements = f"Bundle.entry.resource.ofType(MedicationStatement).where(status = 'active' and {drug}).exists()"
    return f"{requests} or {statements}"


def _draft(spec: Any, knowledge: Knowledge) -> str:
    if spec.keys() - {"key", "form", "not_form", "systemic", "new", "selected"}:
        raise NotSayableError("it asks for more of a draft than its product")
    if "new" not in spec:
        return _drafted(spec, knowledge)
    answers = []
    for key in sorted(_names(spec["key"])):
        if knowledge.therapies[key].local_forms and "systemic" not in spec:
            raise NotSayableError("whether a drug is new depends on where its products act")
        course = {"key": key, **({"systemic": True} if "systemic" in spec else {})}
        current = f"({_therapy(course, knowledge)}){'.not()' if spec['new'] else ''}"
        answers.append(f"({_drafted({**spec, 'key': key}, knowledge)} and {current})")
    return " or ".join(answers)


def _drafted(spec: Any, knowledge: Knowledge) -> str:
    drug = _drug(spec, knowledge)
    return f"Bundle.entry.resource.ofType(MedicationRequest).where(status = 'draft' and {drug}).exists()"


def _drug(spec: Mapping[str, Any], knowledge: Knowledge) -> str:
    """A record's coded drug belongs to one of the keys, and its form is as wanted."""
    keys = _names(spec["key"])
    known = [product for product in knowledge.products.values() if _fits(product, keys, spec, knowledge)]
    local = [key for key, product in knowledge.local_drugs.items() if _fits(product, keys, spec, knowledge)]
    codes = [*((RXNORM, product.code) for product in sorted(known, key=lambda p: int(p.code))), *local]
    tests = [coded(codes)] if codes else []
    atc = [code for code, product in knowledge.atc if _fits(product, keys, spec, knowledge)]
    other = [code for code, product in knowledge.atc if not keys.intersection(product.keys)]
    for code in atc:
        but = [f"code.startsWith({text(longer)}).not()" for longer in other if longer.startswith(code)]
        inside = [f"system = {text(ATC)}", f"code.startsWith({text(code)})", *but]
        tests.append(f"({' and '.join(inside)})")
    if not tests:
        raise NotSayableError("no code is known for it")
    return f"medication.ofType(CodeableConcept).coding.where({' or '.join(tests)}).exists()"


def _fits(product: Product, keys: frozenset[str], spec: Mapping[str, Any], knowledge: Knowledge) -> bool:
    wanted = keys.intersection(product.keys)
    if spec.get("systemic"):
        therapies = knowledge.therapies
        wanted = frozenset(k for k in wanted if not therapies[k].acts_locally(product.form, product.systemic))
    if "form" in spec and product.form not in _names(spec["form"]):
        return False
    if "not_form" in spec and product.form in _names(spec["not_form"]):
        return False
    return bool(wanted)


# -- diagnoses -----------------------------------------------------------------------------------------


def _condition(spec: Any, knowledge: Knowledge) -> str:
    if spec.keys() & {"within_months", "before_months"}:
        raise NotSayableError("months are counted from an onset that may be a partial date")
    state = spec.get("state", "present")
    return " or ".join(_concept(knowledge.concepts[name], state) for name in sorted(_names(spec["concept"])))


def _concept(concept: Concept, state: str) -> str:
    ruled_out = f"verificationStatus.coding.code.where($this in {choice(RULED_OUT)}).empty()"
    over = f"clinicalStatus.coding.code.where($this in {choice(PAST)}).exists()"
    any_time = _diagnosis(concept, concept.icd10, concept.snomed)
    if state == "any" or (state == "present" and concept.history_counts):
        test = any_time
    elif state == "history":
        test = f"{any_time} and ({over} or {_diagnosis(concept, concept.history_icd10, ())})"
    else:
        now = tuple(code for code in concept.icd10 if code not in concept.history_icd10)
        test = f"{_diagnosis(concept, now, concept.snomed)} and ({over}).not()"
    return f"Bundle.entry.resource.ofType(Condition).where({ruled_out} and {test}).exists()"


def _procedure(spec: Any, knowledge: Knowledge) -> str:
    answers = []
    for name in sorted(_names(spec["concept"])):
        concept = knowledge.concepts[name]
        if not (concept.icd10 or concept.snomed):
            continue
        code, kind = (_diagnosis(concept, concept.icd10, concept.snomed, name) for name in ("code", "type"))
        done, used = f"status in {choice(DONE)}", "(status.empty() or status = 'active')"
        answers.append(f"Bundle.entry.resource.ofType(Procedure).where({done} and {code}).exists()")
        answers.append(f"Bundle.entry.resource.ofType(Device).where({used} and {kind}).exists()")
    return " or ".join(answers) or "false"


def _diagnosis(concept: Concept, icd10: Iterable[str], snomed: Iterable[str], element: str = "code") -> str:
    plain, cases = "code.replace('.', '').upper()", []
    if prefixes := tuple(icd10):
        inside = " or ".join(f"{plain}.startsWith({text(prefix)})" for prefix in prefixes)
        but = "".join(f" and {plain}.startsWith({text(prefix)}).not()" for prefix in concept.not_icd10)
        cases.append(f"(system in {choice(ICD10)} and ({inside}){but})")
    if codes := sorted(snomed):
        cases.append(f"(system = {text(SNOMED)} and code in {choice(codes)})")
    return f"{element}.coding.where({' or '.join(cases)}).exists()" if cases else "false"


def _observed_pregnancy(spec: Any, knowledge: Knowledge) -> str:
    meanings = {
        key: values for concept in knowledge.concepts.values() for key, values in concept.observations.items()
    }
    positive = coded(sorted(value for values in meanings.values() for value in values))
    newest = f"{observations(meanings)}{NEWEST}.value.ofType(CodeableConcept).coding.where({positive})"
    return f"{newest}.{'exists' if spec else 'empty'}()"


# -- the patient ---------------------------------------------------------------------------------------


def _age(spec: Any, knowledge: Knowledge) -> str:
    parts = []
    for side, shift, ending in (("min", 0, ""), ("max", 1, ".not()")):
        wanted = spec.get(side)
        if wanted is None or (isinstance(wanted, Mapping) and knowledge.switches[wanted["switch"]] is None):
            continue
        years = int(number(wanted, knowledge)) + shift
        parts.append(f"({PATIENT}.birthDate <= today() - {years} years){ending}")
    return " and ".join(parts) or "true"


def _sex(spec: Any, _: Knowledge) -> str:
    """Sex parameter for clinical use, else birth sex, else recorded gender."""
    origin = f"iif({_born_known()}, {_born(spec)}, {PATIENT}.gender = {text(spec)})"
    return f"iif({PARAMETER}.exists(), {_parameter(spec)}, {origin})"


def _parameter(sex: str) -> str:
    return (
        f"{PARAMETER}.extension.where(url = 'value').value.coding.where(code = {text(f'{sex}-typical')}).exists()"
    )


def _born(sex: str) -> str:
    return f"{BORN}.where($this = {text(sex[0].upper())}).exists()"


def _born_known() -> str:
    return f"{BORN}.where($this in {choice(('M', 'F'))}).exists()"


def _gender_differs(spec: Any, knowledge: Knowledge) -> str:
    identities = [code for code, sex in knowledge.gender_identities.items() if sex == spec]
    other = OTHER[spec]
    origin = f"iif({_born_known()}, {_born(other)}, {PATIENT}.gender = {text(other)})"
    identity = (
        f"{PATIENT}.extension.where(url in {choice(GENDER_IDENTITY)}).extension.where(url = 'value')"
        f".value.coding.where({coded(identities)}).exists()"
    )
    recorded = f"({PATIENT}.gender = {text(spec)} and {_born(other)})"
    return f"((({identity}) or ({_parameter(spec)})) and ({origin})) or {recorded}"


def _known(spec: Any, knowledge: Knowledge) -> str:
    if spec == "birth date":
        return f"{PATIENT}.birthDate.exists()"
    return " or ".join(f"({_sex(sex, knowledge)}).where($this).exists()" for sex in OTHER)


# -- results -------------------------------------------------------------------------------------------


def _result(spec: Any, knowledge: Knowledge) -> str:
    return passed(spec, spec.get("within_days"), knowledge)


def _has_result(spec: Any, knowledge: Knowledge) -> str:
    if spec.get("count", 1) > 1:
        raise NotSayableError("results of different days are counted")
    days = within(count(spec["within_days"], knowledge))
    wanted = [spec["marker"], *(key for key, m in knowledge.markers.items() if m.counts_as == spec["marker"])]
    found = []
    for key in wanted:
        marker = knowledge.markers[key]
        possible = f".where({canonical(marker)}{plausible(marker, outside=True)}.empty())" if marker.factors else ""
        found.append(f"{of_marker(key, knowledge)}.where({days}){possible}.exists()")
    return " or ".join(found)


LEAVES: Mapping[str, Callable[[Any, Knowledge], str]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "certain": _certain,
    "protocol": _protocol,
    "switch": _switch,
    "site_codes": _site_codes,
    "therapy": _therapy,
    "draft": _draft,
    "condition": _condition,
    "procedure": _procedure,
    "observed_pregnancy": _observed_pregnancy,
    "age": _age,
    "sex": _sex,
    "birth_sex": lambda spec, _: _born(spec),
    "gender_differs": _gender_differs,
    "known": _known,
    "result": _result,
    "has_result": _has_result,
}


def _names(spec: Any) -> frozenset[str]:
    return frozenset([spec]) if isinstance(spec, str) else frozenset(spec)
