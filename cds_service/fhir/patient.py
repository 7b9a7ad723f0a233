"""Patient -> who the chart is about: birth date, death, and the sex by which rules go (clinical reference 2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Literal

from cds_service.chart import Patient, Sex
from cds_service.fhir.dates import Calendar
from cds_service.fhir.reading import Reading
from cds_service.fhir.resources import Coding, Concept, Extension, PatientResource
from cds_service.knowledge.systems import BIRTH_SEX, GENDER_IDENTITY, SEX_PARAMETER, SEX_PARAMETERS

_READ = frozenset({*GENDER_IDENTITY, SEX_PARAMETER, BIRTH_SEX})

SexSource = Literal["sex parameter for clinical use", "birth sex", "recorded gender", ""]

_PARAMETERS: dict[str, Sex] = {"male-typical": "male", "female-typical": "female"}
_BIRTH_SEXES: dict[str, Sex] = {"M": "male", "F": "female"}
_GENDERS: dict[str, Sex] = {"male": "male", "female": "female"}


def read_patient(resource: PatientResource, reading: Reading) -> Patient:
    """The patient. A sex parameter that is neither male nor female leaves the sex unknown, whatever else is there.

    A birth sex other than M and F says nothing, and the recorded gender decides.
    """
    calendar, as_of = reading.calendar, reading.as_of
    gender = resource.gender or ""
    sex = _GENDERS.get(gender)
    source: SexSource = "recorded gender" if sex else ""
    birth_sex = parameter = identity = None
    extensions = [each for each in resource.extension or () if each.url in _READ]
    if extensions:
        stated, parameter = _parameter(extensions, calendar, as_of)
        birth_sex = _only(_BIRTH_SEXES.get(each.value_code or "") for each in extensions if each.url == BIRTH_SEX)
        identity = _identity(extensions, calendar, as_of, reading.knowledge.gender_identities)
        if stated:
            sex, source = parameter, "sex parameter for clinical use"
        elif birth_sex:
            sex, source = birth_sex, "birth sex"
    return Patient(
        id=reading.patient_id,
        birth=calendar.when(resource.birth_date),
        deceased=bool(resource.deceased_boolean) or bool(resource.deceased_date_time),
        sex=sex,
        sex_source=source,
        birth_sex=birth_sex,
        recorded_gender=gender,
        gender_identity=identity,
        sex_parameter=parameter,
    )


def _parameter(extensions: Iterable[Extension], calendar: Calendar, as_of: date) -> tuple[bool, Sex | None]:
    """Whether a sex parameter is stated for today, and which; two that differ are none."""
    stated = [each for each in extensions if each.url == SEX_PARAMETER and _holds(each, calendar, as_of)]
    found = {_code_in(each, SEX_PARAMETERS, _PARAMETERS) for each in stated}
    return bool(stated), found.pop() if len(found) == 1 else None


def _code_in(extension: Extension, system: str, meaning: dict[str, Sex]) -> Sex | None:
    codings = [coding for concept in _values(extension) for coding in concept.coding or ()]
    return _only(meaning.get(coding.code or "") for coding in codings if coding.system in (None, system))


def _identity(
    extensions: Iterable[Extension], calendar: Calendar, as_of: date, meaning: Mapping[tuple[str, str], Sex]
) -> Sex | None:
    """The direction of a recorded gender identity; two that differ are none."""
    codings: list[Coding] = [
        coding
        for each in extensions
        if each.url in GENDER_IDENTITY and _holds(each, calendar, as_of)
        for concept in _values(each)
        for coding in concept.coding or ()
    ]
    return _only(meaning.get((coding.system or "", coding.code or "")) for coding in codings)


def _values(extension: Extension) -> Iterator[Concept]:
    """The concept of an extension, or those under its part `value`."""
    for each in (extension, *(part for part in extension.extension or () if part.url == "value")):
        if each.value_codeable_concept is not None:
            yield each.value_codeable_concept


def _holds(extension: Extension, calendar: Calendar, as_of: date) -> bool:
    """False if the extension's period is over or has not begun."""
    for part in extension.extension or ():
        if part.url == "period" and part.value_period is not None:
            begin, end = calendar.day(part.value_period.start), calendar.last_day(part.value_period.end)
            if (begin is not None and begin > as_of) or (end is not None and end < as_of):
                return False
    return True


def _only(found: Iterable[Sex | None]) -> Sex | None:
    """The one sex among them, None if there is none or both."""
    sexes = {sex for sex in found if sex is not None}
    return sexes.pop() if len(sexes) == 1 else None
