"""A tiny RxNorm release, made here, whose drugs are those of the shipped table: the same lines must come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.knowledge import loader
from cds_service.knowledge.drugs import read_products
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.rxnorm import HEAD, ReleaseError, products_of, read_release

SHIPPED = Path(loader.__file__).parent / "products.tsv"

# Ingredients of therapies.yaml, and two that are not in it.
TESTOSTERONE, CYPIONATE, ESTRADIOL, ESTERIFIED = "10379", "835827", "4083", "214549"
METHYLTESTOSTERONE, NORETHINDRONE, ETHINYL, DUTASTERIDE = "6904", "7514", "4124", "228790"
ESTRADIOL_NORETHINDRONE, SPIRONOLACTONE, CONJUGATED, FINASTERIDE = "214551", "9997", "4099", "25025"
TAMSULOSIN, LIDOCAINE = "77492", "6387"

CONCEPTS = [
    (TESTOSTERONE, "IN", "testosterone"),
    (CYPIONATE, "PIN", "testosterone cypionate"),
    (ESTRADIOL, "IN", "estradiol"),
    (ESTERIFIED, "IN", "estrogens, esterified (USP)"),
    (METHYLTESTOSTERONE, "IN", "methyltestosterone"),
    (NORETHINDRONE, "IN", "norethindrone"),
    (ETHINYL, "IN", "ethinyl estradiol"),
    (LIDOCAINE, "IN", "lidocaine"),
    (ESTRADIOL_NORETHINDRONE, "MIN", "estradiol / norethindrone"),
    # dose forms and a group
    ("316949", "DF", "Injectable Solution"),
    ("316986", "DF", "Transdermal System"),
    ("318130", "DF", "Vaginal System"),
    ("317541", "DF", "Oral Tablet"),
    ("91058", "DF", "Chewing Gum"),
    ("1151133", "DFG", "Buccal Product"),
    # components
    ("900001", "SCDC", "testosterone cypionate 200 MG/ML"),
    ("900002", "SCDC", "testosterone 0.167 MG/HR"),
    ("900003", "SCDC", "estradiol 0.00208 MG/HR"),
    ("900004", "SCDC", "estrogens, esterified (USP) 0.625 MG"),
    ("900005", "SCDC", "methyltestosterone 1.25 MG"),
    ("900006", "SCDC", "estradiol 0.5 MG"),
    ("900007", "SCDC", "norethindrone acetate 0.1 MG"),
    ("900008", "SCDC", "ethinyl estradiol 0.035 MG"),
    ("900009", "SCDC", "lidocaine 10 MG/ML"),
    # drugs, as in the appendix
    ("835840", "SCD", "testosterone cypionate 200 MG/ML Injectable Solution"),
    ("835842", "SBD", "testosterone cypionate 200 MG/ML Injectable Solution [Depo-testosterone]"),
    ("313233", "SCD", "24 HR testosterone 0.167 MG/HR Transdermal System"),
    ("1190957", "SBD", "24 HR testosterone 0.167 MG/HR Transdermal System [Androderm]"),
    ("848331", "SCD", "90 DAY estradiol 0.00208 MG/HR Vaginal System"),
    ("848333", "SBD", "90 DAY estradiol 0.00208 MG/HR Vaginal System [Femring]"),
    ("238006", "SCD", "estrogens, esterified (USP) 0.625 MG / methyltestosterone 1.25 MG Oral Tablet"),
    ("209251", "SBD", "estrogens, esterified (USP) 0.625 MG / methyltestosterone 1.25 MG Oral Tablet [Estratest]"),
    ("705921", "SBD", "estrogens, esterified (USP) 0.625 MG / methyltestosterone 1.25 MG Oral Tablet [Covaryx]"),
    ("1359123", "SCD", "estradiol 0.5 MG / norethindrone acetate 0.1 MG Oral Tablet"),
]
# What no line of the shipped table can show.
CONTRACEPTIVE = ("999001", "SCD", "ethinyl estradiol 0.035 MG / norethindrone acetate 0.1 MG Oral Tablet")
MIXTURE = ("999002", "SCD", "lidocaine 10 MG/ML / testosterone cypionate 200 MG/ML Injectable Solution")
GUM = ("999003", "SCD", "testosterone 0.167 MG/HR Chewing Gum")
FOREIGN = ("999004", "SCD", "lidocaine 10 MG/ML Injectable Solution")

RELATIONS = [  # the first has the relation to the second
    ("900001", "has_ingredient", TESTOSTERONE),
    ("900001", "has_precise_ingredient", CYPIONATE),
    ("900002", "has_ingredient", TESTOSTERONE),
    ("900003", "has_ingredient", ESTRADIOL),
    ("900004", "has_ingredient", ESTERIFIED),
    ("900005", "has_ingredient", METHYLTESTOSTERONE),
    ("900006", "has_ingredient", ESTRADIOL),
    ("900007", "has_ingredient", NORETHINDRONE),
    ("900008", "has_ingredient", ETHINYL),
    ("900009", "has_ingredient", LIDOCAINE),
    ("835840", "consists_of", "900001"),
    ("835840", "has_dose_form", "316949"),
    ("835842", "tradename_of", "835840"),
    ("313233", "consists_of", "900002"),
    ("313233", "has_dose_form", "316986"),
    ("1190957", "tradename_of", "313233"),
    ("848331", "consists_of", "900003"),
    ("848331", "has_dose_form", "318130"),
    ("848333", "tradename_of", "848331"),
    ("238006", "consists_of", "900004"),
    ("238006", "consists_of", "900005"),
    ("238006", "has_dose_form", "317541"),
    ("209251", "tradename_of", "238006"),
    ("705921", "tradename_of", "238006"),
    ("1359123", "consists_of", "900006"),
    ("1359123", "consists_of", "900007"),
    ("1359123", "has_ingredients", ESTRADIOL_NORETHINDRONE),
    ("1359123", "has_dose_form", "317541"),
]


def conso(code: str, tty: str, name: str, *, sab: str = "RXNORM", suppress: str = "N") -> str:
    """A line of RXNCONSO.RRF: 18 columns, each ended by a bar."""
    cells = [code, "ENG", "", "", "", "", "", f"A{code}", "", code, "", sab, tty, code, name, "", suppress, "4096"]
    return "|".join(cells) + "|\n"


def rel(first: str, relation: str, second: str, *, sab: str = "RXNORM", suppress: str = "") -> str:
    """A line of RXNREL.RRF: the second concept of the line has the relation to the first."""
    cells = [second, "", "CUI", "RO", first, "", "CUI", relation, "R1", "", sab, sab, "", "", suppress, "4096"]
    return "|".join(cells) + "|\n"


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


class Maker:
    """A release in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.concepts = [conso(*one) for one in CONCEPTS]
        self.relations = [rel(*one) for one in RELATIONS]

    def write(self) -> Path:
        (self.folder / "RXNCONSO.RRF").write_text("".join(self.concepts), encoding="utf-8")
        (self.folder / "RXNREL.RRF").write_text("".join(self.relations), encoding="utf-8")
        return self.folder


@pytest.fixture
def release(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def lines(release: Maker, knowledge: Knowledge) -> list[str]:
    text = products_of(read_release(release.write()), knowledge).text()
    return text.removeprefix("\n".join(HEAD) + "\n").splitlines()


def test_the_lines_are_those_of_the_shipped_table_in_its_order(release: Maker, knowledge: Knowledge) -> None:
    made = lines(release, knowledge)
    shipped = SHIPPED.read_text(encoding="utf-8").splitlines()
    codes = {line.split("\t")[0] for line in made}
    assert made == [line for line in shipped if line.split("\t")[0] in codes and not line.startswith("#")]
    assert codes == {"rxcui"} | {code for code, tty, _ in CONCEPTS if tty in ("SCD", "SBD")}


def test_the_head_is_that_of_the_shipped_table() -> None:
    assert SHIPPED.read_text(encoding="utf-8").startswith("\n".join(HEAD) + "\nrxcui\t")


def test_the_loader_reads_what_was_written(release: Maker, knowledge: Knowledge, tmp_path: Path) -> None:
    path = tmp_path / "products.tsv"
    path.write_text(products_of(read_release(release.write()), knowledge).text(), encoding="utf-8")
    problems: list = []
    products = {code: product for code, (_, product) in read_products(path, problems).items()}
    assert problems == []
    assert products == {code: knowledge.products[code] for code in products}


def add(release: Maker, drug: tuple[str, str, str], form: str, *components: str) -> None:
    release.concepts.append(conso(*drug))
    release.relations.append(rel(drug[0], "has_dose_form", form))
    release.relations += [rel(drug[0], "consists_of", component) for component in components]


def test_a_contraceptive_is_known_and_starts_nothing(release: Maker, knowledge: Knowledge) -> None:
    add(release, CONTRACEPTIVE, "317541", "900007", "900008")
    assert f"999001\tSCD\t\tethinyl estradiol / norethindrone\toral\t\t{CONTRACEPTIVE[2]}" in lines(
        release, knowledge
    )


def test_a_mixture_with_an_unknown_ingredient_is_left_out_and_told(release: Maker, knowledge: Knowledge) -> None:
    add(release, MIXTURE, "316949", "900001", "900009")
    products = products_of(read_release(release.write()), knowledge)
    assert products.left_out == (MIXTURE[2],)
    assert "999002" not in {row.rxcui for row in products.rows}


def test_a_drug_without_a_known_ingredient_is_no_business_of_ours(release: Maker, knowledge: Knowledge) -> None:
    add(release, FOREIGN, "316949", "900009")
    products = products_of(read_release(release.write()), knowledge)
    assert products.left_out == ()
    assert "999004" not in {row.rxcui for row in products.rows}


def test_the_group_tells_the_form_where_the_dose_form_does_not(release: Maker, knowledge: Knowledge) -> None:
    add(release, GUM, "91058", "900002")
    assert f"999003\tSCD\tTESTOSTERONE\ttestosterone\tunknown\t\t{GUM[2]}" in lines(release, knowledge)
    release.relations.append(rel("91058", "isa", "1151133"))
    assert f"999003\tSCD\tTESTOSTERONE\ttestosterone\tbuccal\t\t{GUM[2]}" in lines(release, knowledge)


@pytest.mark.parametrize(("column", "value"), [("sab", "MMSL"), ("suppress", "O"), ("suppress", "Y")])
def test_other_vocabularies_and_suppressed_names_are_not_read(
    release: Maker, knowledge: Knowledge, column: str, value: str
) -> None:
    drug = ("835840", "SCD", "testosterone cypionate 200 MG/ML Injectable Solution")
    release.concepts[release.concepts.index(conso(*drug))] = conso(*drug, **{column: value})
    assert not [line for line in lines(release, knowledge) if line.startswith(("835840", "835842"))]


@pytest.mark.parametrize(("column", "value"), [("sab", "MMSL"), ("suppress", "O")])
def test_other_vocabularies_and_suppressed_relations_are_not_read(
    release: Maker, knowledge: Knowledge, column: str, value: str
) -> None:
    brand = ("835842", "tradename_of", "835840")
    release.relations[release.relations.index(rel(*brand))] = rel(*brand, **{column: value})
    made = lines(release, knowledge)
    assert [line for line in made if line.startswith("835840")]
    assert not [line for line in made if line.startswith("835842")]


def test_the_direction_of_a_relation_is_that_of_the_second_concept(release: Maker, knowledge: Knowledge) -> None:
    release.relations = [rel(second, relation, first) for first, relation, second in RELATIONS]
    assert lines(release, knowledge) == ["rxcui\ttty\tkeys\tagent\tform\tscope\tname"]


def test_a_line_with_too_few_columns_is_told_with_its_place(release: Maker) -> None:
    release.concepts.insert(2, "10379|ENG\n")
    with pytest.raises(ReleaseError, match=r"RXNCONSO\.RRF:3: expected at least 17 columns, found 2"):
        read_release(release.write())


def test_a_folder_without_a_release(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"RXNCONSO\.RRF"):
        read_release(tmp_path)
