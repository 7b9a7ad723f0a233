"""What must stop the service from starting: each fault is named with its file, its line and its field."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cds_service.knowledge import loader
from cds_service.knowledge.terminology import compile_terms
from cds_service.knowledge.yaml_file import KnowledgeError, Problem

Broken = Callable[..., list[Problem]]


def test_the_copy_is_whole(folder: Path) -> None:
    problems: list[Problem] = []
    assert compile_terms(folder, problems) is not None
    assert problems == []


@pytest.mark.parametrize(
    ("file", "old", "new", "field", "expected"),
    [
        ("markers.yaml", '"2986-8":', '"2986-7":', "markers.TT.codes.2986-7", "check digit"),
        ("markers.yaml", '"2986-8":', '"14635-7":', "markers.TT.codes.14635-7", "25-hydroxyvitamin D"),
        ("markers.yaml", '"2991-8":', '"49041-7":', "markers.FT.codes.49041-7", "low detection limit"),
        ("markers.yaml", '"2991-8":', '"14914-6":', "", "each key once"),
        ("markers.yaml", '"2991-8":', '"2986-8":', "markers.FT.codes.2986-8", "is in TT, too"),
        ("markers.yaml", '"nmol/L": "65.097"', '"nmol/l": "65.097"', "markers.RT3", "'nmol/l'"),
        ("markers.yaml", "counts_as: BIOT", "counts_as: BIO", "markers.BIOTPCT.counts_as", "another marker"),
        ("markers.yaml", "counts_as: BIOT", "counts_as: BIOTPCT", "markers.BIOTPCT.counts_as", "another marker"),
        ("markers.yaml", 'high: "0.75", unit', 'high: "10", unit', "markers.HCT.infer", "do not meet"),
        ("markers.yaml", 'unit: "{fraction}"}', 'unit: "g/L"}', "markers.HCT.infer", "among the factors"),
        ("markers.yaml", '{low: "90", high: "200"}', '{low: "200", high: "90"}', "markers.NA.plausible", "low end"),
        ("markers.yaml", 'unstandardised: ["U/mL"]', 'unstandardised: ["U/L"]', "markers.TPO.unstandardised", ""),
        (
            "markers.yaml",
            '["ug/dL", "mg/L", "ug/mL"]',
            '["nmol/L"]',
            "markers.SHBG.not_converted",
            "without a factor",
        ),
        ("markers.yaml", "decimals: 3", "decimals: three", "markers.TSH.decimals", "display precision"),
        ("units.yaml", '["nM"]', '["nM", "IU/L"]', "units.[IU]/L[0]", "a spelling of one unit"),
        ("panels.yaml", '"34549-6":', '"34549-7":', "panels.34549-7", "check digit"),
        ("panels.yaml", "markers: [FSH, LH]", "markers: [FSH, HL]", "panels.34549-6.markers", "HL"),
        ("panels.yaml", '"34549-6":', '"2986-8":', "panels.2986-8", "not a result code"),
        ("tests.yaml", "brings: [SHBG]", "brings: [SGHB]", "tests.SHBG", "SGHB"),
        ("tests.yaml", 'code: "13967-5"', 'code: "2986-8"', "tests.SHBG.order", "2986-8 brings ['TT']"),
        ("tests.yaml", 'code: "13967-5"', 'code: "13967-6"', "tests.SHBG.order", "13967-6 brings []"),
        ("tests.yaml", "done_by: [[SHBG]]", "done_by: [[TT]]", "tests.SHBG.brings", "done_by"),
        ("tests.yaml", "switch: calculated_ft_counts", "switch: calculated", "tests.FT.same_day.switch", "switch"),
        ("therapies.yaml", "keys: [TIBOLONE]", "keys: [TIBOLON]", "atc.G03CX01.keys", "TIBOLON"),
        ("therapies.yaml", '"4124":', '"835829":', "ingredients.835829", "products.tsv"),
        ("therapies.yaml", "[tibolone]", "['tibolone(']", "therapies.TIBOLONE.text.match[0]", "regular expression"),
        ("routes.yaml", "['buccal(?:ly)?']", "['buccal(']", "words[2].match[0]", "regular expression"),
        (
            "conditions.yaml",
            "name: CPAP treatment, site_only: true",
            "name: CPAP treatment",
            "concepts.cpap",
            "a code",
        ),
        ("conditions.yaml", "icd10: [N401]", "icd10: [N40.1]", "concepts.bph.icd10[0]", "without dot"),
        (
            "conditions.yaml",
            "icd10: [Z31]",
            "icd10: [Z31]\n    site_only: true",
            "concepts.fertility_wish",
            "no code",
        ),
        ("switches.yaml", "default: es2018", "default: es2019", "switches.thresholds.default", "allowed"),
        ("switches.yaml", 'default: "54.0"', "default: 54.0", "switches.hct_stop.default", ""),
        (
            "switches.yaml",
            "nullable: true\n    default: null\n    description: Age",
            "nullable: false\n    default: null\n    description: Age",
            "switches.psa_max_age.default",
            "nullable",
        ),
        ("profiles.yaml", "    eau2025: # 12", "    eau2024: # 12", "profiles.thresholds.eau2024", "its words"),
        ("profiles.yaml", "psa_min_age: 55,", "psa: 55,", "profiles.guideline.es2018.switches.psa", "a switch"),
        (
            "profiles.yaml",
            "hct_stop_inclusive: true",
            'hct_stop_inclusive: "true"',
            "profiles.thresholds.aua2018.switches.hct_stop_inclusive",
            "a value",
        ),
        ("profiles.yaml", "psa_rise: null", "trend: null", "profiles.thresholds.aua2018.switches.trend", "a value"),
        (
            "profiles.yaml",
            "source: sfe2022, section: PSA",
            "source: sfe, section: PSA",
            "profiles.guideline.sfe2022.evidence[0].source",
            "a source",
        ),
        ("sources.yaml", '"https://thebms.org.uk"', '"http://thebms.org.uk"', "sources.bms.url", "https"),
        ("reasons.yaml", "display: Will monitor", "display: ''", "reasons.will_monitor.display", "Short label"),
        ("denied.yaml", "seen_as: PSA, is: PSA in urine", "is: PSA in urine", "denied.34611-4", "seen_as"),
        ("project.yaml", '"urn:cds-service:rule"', "rules", "code_system", "uri"),
        ("products.tsv", "199224\tSCD", "199224\tXXX", "199224", "'XXX'"),
        ("products.tsv", "199224\tSCD", "835829\tSCD", "835829", "each RxCUI once"),
        ("products.tsv", "199224\tSCD", "19922x\tSCD", "19922x", "a number"),
        ("products.tsv", "199224\tSCD\tAROMATASE_INHIBITOR", "199224\tSCD\tAI", "199224", "not AI"),
        (
            "products.tsv",
            "anastrozole\toral\t\tanastrozole 1 MG Oral Tablet\n",
            "anastrozole\n",
            "199224",
            "7 columns",
        ),
        ("products.tsv", "tty\tkeys", "keys\ttty", "", "the columns"),
    ],
)
def test_one_fault(broken: Broken, file: str, old: str, new: str, field: str, expected: str) -> None:
    problems = broken(file, old, new)
    found = [problem for problem in problems if problem.field == field and expected in problem.expected]
    assert found, "\n".join(map(str, problems))
    assert found[0].file == file
    assert found[0].line > 1


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("markers.yaml", '"14913-8":', '"14913-5":', "markers.TT.codes.14913-5"),
        ("markers.yaml", "counts_as: BIOT", "counts_as: BIO", "markers.BIOTPCT.counts_as"),
        ("markers.yaml", '{low: "90", high: "200"}', '{low: "90", high: 200}', "markers.NA.plausible.high"),
        ("switches.yaml", "default: es2018", "default: es2019", "switches.thresholds.default"),
        ("therapies.yaml", "keys: [TIBOLONE]", "keys: [TIBOLON]", "atc.G03CX01.keys"),
        ("products.tsv", "199224\tSCD\tAROMATASE_INHIBITOR", "199224\tSCD\tAI", "199224"),
    ],
)
def test_the_line_is_that_of_the_field(
    folder: Path, broken: Broken, file: str, old: str, new: str, field: str
) -> None:
    problem, *_ = broken(file, old, new)
    lines = (folder / file).read_text(encoding="utf-8").split("\n")
    assert problem.field == field
    assert new in lines[problem.line - 1]


def test_faults_of_several_files_come_together(folder: Path, broken: Broken) -> None:
    broken("sources.yaml", "label: EAU 2025", "lable: EAU 2025")
    broken("switches.yaml", "default: es2018", "default: es2019")
    (folder / "units.yaml").unlink()
    (folder / "routes.yaml").write_text("words: [\n", encoding="utf-8")
    problems = broken("markers.yaml", '"2986-8":', '"2986-7":')
    assert {problem.file for problem in problems} == {
        "sources.yaml",
        "switches.yaml",
        "units.yaml",
        "routes.yaml",
        "markers.yaml",
        "tests.yaml",  # the order code of total testosterone brings nothing now
    }


def test_faults_of_a_protocol_come_together_with_those_of_the_terms(tmp_path: Path) -> None:
    copy = tmp_path / "knowledge"
    shutil.copytree(Path(loader.__file__).parent, copy)
    for file, old, new in (
        ("protocols/testosterone.yaml", 'above: "52.0"', "above: 52.0"),
        ("markers.yaml", '"2986-8":', '"2986-9":'),
    ):
        text = (copy / file).read_text(encoding="utf-8")
        (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(KnowledgeError) as error:
        loader.load(copy)
    told = str(error.value)
    assert "testosterone.yaml:46: rules[1].above: A limit" in told
    assert "markers.yaml:22: markers.TT.codes.2986-9: a LOINC code with the right check digit, not 2986-9" in told


def test_a_broken_file_causes_no_faults_in_others(broken: Broken) -> None:
    problems = broken("markers.yaml", "name: total testosterone", "nam: total testosterone")
    assert {problem.file for problem in problems} == {"markers.yaml"}


def test_load_raises_with_everything(folder: Path, broken: Broken) -> None:
    broken("sources.yaml", "label: EAU 2025", "lable: EAU 2025")
    broken("switches.yaml", "default: es2018", "default: es2019")
    with pytest.raises(KnowledgeError) as caught:
        loader.load(folder)
    text = str(caught.value)
    assert "sources.yaml:" in text
    assert "switches.yaml:" in text
    assert len(text.splitlines()) == len(caught.value.problems)


def test_a_folder_without_anything(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as caught:
        loader.load(tmp_path)
    assert {"markers.yaml", "therapies.yaml", "products.tsv"} <= {problem.file for problem in caught.value.problems}


def test_the_version_changes_with_any_content(folder: Path) -> None:
    before = loader.version_of(folder)
    assert len(before) == 12
    assert loader.version_of(folder) == before
    with (folder / "products.tsv").open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    changed = loader.version_of(folder)
    assert changed != before
    (folder / "routes.yaml").rename(folder / "ways.yaml")
    assert loader.version_of(folder) not in {before, changed}


def test_local_codes_of_a_site(folder: Path, broken: Broken) -> None:
    path = folder / "markers.yaml"
    text = path.read_text(encoding="utf-8")
    local = 'HCT-01": {system: "urn:oid:1.2.3", name: Hematocrit, mark: from memory}'
    path.write_text(text.replace('"4544-3":', f'"{local}\n      "4544-3":'), encoding="utf-8")
    problems: list[Problem] = []
    terms = compile_terms(folder, problems)
    assert problems == []
    assert terms is not None
    assert terms.codes["urn:oid:1.2.3", "HCT-01"].marker == "HCT"
