"""The codes and words that a site adds: results, orders, units, drugs, routes, concepts, override reasons.

Nothing that is shipped gets another meaning here: a code that is known already, a denied one, and a spelling of
another unit are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cds_service.knowledge.checks import check_digit_holds
from cds_service.knowledge.drugs import whole_words
from cds_service.knowledge.expression import Expression
from cds_service.knowledge.limits import Field
from cds_service.knowledge.site import Entry, Site
from cds_service.knowledge.systems import ATC, LOINC, RXNORM
from cds_service.knowledge.units import normalise_unit
from cds_service.knowledge.vocabulary import AgentHint, Code, OrderCode, Pattern, Product

_ATC_FORM = re.compile(r"[A-Z](?:\d{2}(?:[A-Z](?:[A-Z](?:\d{2})?)?)?)?")


def _results(site: Site, entry: Entry, items: list[Mapping[str, Any]]) -> None:
    for place, raw in enumerate(items):
        key, marker = (raw["system"], raw["code"]), site.base.markers.get(raw["marker"])
        field: Field = ("results", place)
        faults = list(_code_faults(key, site))
        if marker is None:
            faults.append(("marker", f"a marker of markers.yaml, not {raw['marker']!r}"))
        elif "unit" in raw and raw["unit"] not in marker.factors:
            units = ", ".join(marker.factors) or "none"
            faults.append(("unit", f"a unit that converts for {marker.name} ({units}), not {raw['unit']!r}"))
        for name, expected in faults:
            site.refuse(entry, (*field, name), expected)
        unit, traits = raw.get("unit", ""), sorted(raw.get("traits", ()))
        here = _listed(raw["marker"], unit, *traits)
        if not faults and site.note(entry, field, f"result code {'|'.join(key)}", "", here):
            site.part("codes")[key] = Code(
                code=raw["code"],
                marker=raw["marker"],
                name=raw["name"],
                traits=frozenset(traits),
                unit=unit,
                mark="site",
                evidence=entry.who,
                assumed_unit=unit,
            )


def _listed(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _code_faults(key: tuple[str, str], site: Site) -> Iterator[tuple[str, str]]:
    """Why a code cannot be one of a result: (field, what is expected)."""
    system, code = key
    known = site.base.codes.get(key)
    if known is not None:
        yield "code", f"a code that is not known yet; {code} is {site.base.markers[known.marker].name}"
    if key in site.base.panels:
        yield "code", f"the code of a result; {code} is the panel {site.base.panels[key].name}"
    if system == LOINC and not check_digit_holds(code):
        yield "code", f"a LOINC code with the right check digit, not {code}"
    if system == LOINC and code in site.base.denied:
        yield "code", f"no denied code: {code} is {site.base.denied[code]}"


def _orders(site: Site, entry: Entry, items: list[Mapping[str, Any]]) -> None:
    for place, raw in enumerate(items):
        key, field = (raw["system"], raw["code"]), ("orders", place)
        test = site.now("tests").get(raw["test"])
        shipped = {(known.order_system, known.order_code) for known in site.base.tests.values()}
        if test is None:
            site.refuse(entry, (*field, "test"), f"a test of tests.yaml, not {raw['test']!r}")
        elif key in shipped or key in site.base.codes or key in site.base.panels:
            site.refuse(entry, (*field, "code"), f"a code that is not known yet, not {raw['code']!r}")
        elif site.note(entry, field, f"order code {'|'.join(key)}", "", raw["test"]):
            local = (*test.local_orders, OrderCode(*key, raw["display"]))
            site.part("tests")[raw["test"]] = msgspec.structs.replace(test, local_orders=local)


def _units(site: Site, entry: Entry, wanted: Mapping[str, list[str]]) -> None:
    for unit, spellings in wanted.items():
        if unit not in site.base.spellings.values():
            site.refuse(entry, ("units", unit), f"a unit of units.yaml, not {unit!r}")
            continue
        for place, spelling in enumerate(spellings):
            normal, field = normalise_unit(spelling), ("units", unit, place)
            owner = site.base.spellings.get(normal)
            if owner is not None:
                site.refuse(entry, field, f"a spelling that is not known yet; {spelling!r} is {owner}")
            elif site.note(entry, field, f"unit spelling {normal}", "", unit):
                site.part("spellings")[normal] = unit


# -- drugs -----------------------------------------------------------------------------------------------


def _drugs(site: Site, entry: Entry, items: list[Mapping[str, Any]]) -> None:
    for place, raw in enumerate(items):
        field: Field = ("drugs", place)
        keys = raw["keys"] if "keys" in raw else [raw["key"]]
        unknown = [key for key in keys if key not in site.base.therapies]
        if unknown:
            site.refuse(entry, field, f"therapy keys of therapies.yaml, not {', '.join(unknown)}")
        elif "match" in raw:
            _named_drug(site, entry, field, raw)
        else:
            _coded_drug(site, entry, field, raw)


def _named_drug(site: Site, entry: Entry, field: Field, raw: Mapping[str, Any]) -> None:
    compiled: dict[str, Expression] = {}
    for name in ("match", "unless"):
        try:
            compiled[name] = whole_words(raw.get(name, ()))
        except re.error as error:
            site.refuse(entry, (*field, name), f"regular expressions ({error})")
    if len(compiled) < len(("match", "unless")):
        return
    if compiled["match"].search(""):
        site.refuse(entry, (*field, "match"), "expressions that do not match everything")
    elif known := _known_words(site, raw):
        site.refuse(entry, (*field, "match"), f"words that are not known yet; {known}")
    elif site.note(entry, field, f"drug words {', '.join(raw['match'])}", "", _meant([raw["key"]], raw)):
        hint = AgentHint(compiled["match"], raw["agent"], raw.get("form", "unknown"), raw.get("systemic", False))
        negative = compiled["unless"] if "unless" in raw else None
        # Before the shipped ones: what the site says of its own preparations is more exact.
        pattern = Pattern(raw["key"], compiled["match"], negative, (hint,))
        site.put("patterns", (pattern, *site.sequence("patterns")))


def _known_words(site: Site, raw: Mapping[str, Any]) -> str:
    """Which of the words are, as they stand, those of another shipped therapy; '' if none is."""
    others = [shipped for shipped in site.base.patterns if shipped.key != raw["key"]]
    matches = [(word, one.key, one.positive.search(word)) for word in raw["match"] for one in others]
    return ", ".join(f"{word!r} is {key}" for word, key, match in matches if match and match.group() == word)


def _coded_drug(site: Site, entry: Entry, field: Field, raw: Mapping[str, Any]) -> None:
    system, code = raw["system"], raw["code"]
    product = Product(
        code=code,
        name=raw.get("name", raw["agent"]),
        keys=tuple(raw["keys"]),
        agent=raw["agent"],
        form=raw.get("form", "unknown"),
        systemic=raw.get("systemic", False),
        tty="SCD" if system == RXNORM else "",
    )
    expected = ""
    if system == RXNORM and not code.isdecimal():
        expected = f"a number as RxCUI, not {code!r}"
    elif system == ATC and not _ATC_FORM.fullmatch(code):
        expected = f"an ATC code or group, not {code!r}"
    elif (system == RXNORM and code in site.base.products) or (system == ATC and code in dict(site.base.atc)):
        expected = f"a code that is not known yet, not {code!r}"
    if expected:
        site.refuse(entry, (*field, "code"), expected)
    elif site.note(entry, field, f"drug code {system}|{code}", "", _meant(raw["keys"], raw)):
        if system == RXNORM:
            site.part("products")[code] = product
        elif system == ATC:
            atc = (*site.sequence("atc"), (code, product))
            site.put("atc", tuple(sorted(atc, key=lambda item: (-len(item[0]), item[0]))))
        else:
            site.part("local_drugs")[system, code] = product


def _meant(keys: Sequence[str], raw: Mapping[str, Any]) -> str:
    """What a drug of the site is: therapies, agent, form, and what its words must not be beside."""
    unless = f"unless {', '.join(raw['unless'])}" if "unless" in raw else ""
    systemic = "systemic" if raw.get("systemic", False) else ""
    what = _listed(*keys, raw["agent"], raw.get("form", ""), systemic, unless)
    return what if keys else f"starts nothing: {what}"


def _routes(site: Site, entry: Entry, items: list[Mapping[str, Any]]) -> None:
    for place, raw in enumerate(items):
        key, field = (raw["system"], raw["code"]), ("routes", place)
        if key in site.base.routes:
            site.refuse(entry, (*field, "code"), f"a code that is not known yet, not {raw['code']!r}")
        elif site.note(entry, field, f"route code {'|'.join(key)}", "", raw["form"]):
            site.part("routes")[key] = raw["form"]


# -- concepts and reasons --------------------------------------------------------------------------------


def _concepts(site: Site, entry: Entry, wanted: Mapping[str, Mapping[str, Any]]) -> None:
    for name, raw in wanted.items():
        concept = site.now("concepts").get(name)
        if concept is None:
            site.refuse(entry, ("concepts", name), f"a concept of conditions.yaml, not {name!r}")
            continue
        for kind in ("icd10", "snomed"):
            for code in raw.get(kind, ()):
                field = ("concepts", name, kind)
                if code in getattr(concept, kind):
                    site.refuse(entry, field, f"codes that {name} does not have yet, not {code}")
                else:
                    site.note(entry, field, f"concept {name}: {kind} {code}", "", code)
        site.part("concepts")[name] = msgspec.structs.replace(
            concept,
            icd10=(*concept.icd10, *raw.get("icd10", ())),
            snomed=concept.snomed.union(raw.get("snomed", ())),
        )


def _reasons(site: Site, entry: Entry, wanted: Mapping[str, Mapping[str, str]]) -> None:
    for name, raw in wanted.items():
        field = ("reasons", name)
        reason = site.base.reasons.get(name)
        if reason is None:
            site.refuse(entry, field, f"a reason of reasons.yaml, not {name!r}")
        elif site.note(entry, field, f"override reason {name}", reason.display, raw["display"]):
            site.part("reasons")[name] = msgspec.structs.replace(reason, display=raw["display"])


TERMS: Mapping[str, Callable[[Site, Entry, Any], None]] = {
    "results": _results,
    "orders": _orders,
    "units": _units,
    "drugs": _drugs,
    "routes": _routes,
    "concepts": _concepts,
    "reasons": _reasons,
}
"""Fields of a change that add codes and words, and what takes each."""
