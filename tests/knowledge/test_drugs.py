from __future__ import annotations

import re

import pytest

from cds_service.knowledge.model import Terms
from cds_service.knowledge.vocabulary import AgentHint, Product


def keys_of_text(terms: Terms, text: str) -> set[str]:
    return {
        pattern.key
        for pattern in terms.patterns
        if pattern.positive.search(text) and not (pattern.negative and pattern.negative.search(text))
    }


def hint(terms: Terms, key: str, text: str) -> AgentHint | None:
    pattern = next(pattern for pattern in terms.patterns if pattern.key == key)
    return next((hint for hint in pattern.agents if hint.pattern.search(text)), None)


@pytest.mark.parametrize(
    ("rxcui", "keys", "agent", "form"),
    [
        ("835829", ("TESTOSTERONE",), "testosterone cypionate", "injection"),
        ("835842", ("TESTOSTERONE",), "testosterone cypionate", "injection"),
        ("2099697", ("TESTOSTERONE",), "testosterone enanthate", "injection"),
        ("1490661", ("TESTOSTERONE",), "testosterone undecanoate", "injection"),
        ("2121776", ("TESTOSTERONE",), "testosterone undecanoate", "oral"),
        ("1597074", ("TESTOSTERONE",), "testosterone", "topical"),
        ("1190953", ("TESTOSTERONE",), "testosterone", "patch"),
        ("1596782", ("TESTOSTERONE",), "testosterone", "nasal"),
        ("404405", ("TESTOSTERONE",), "testosterone", "implant"),
        ("10379", ("TESTOSTERONE",), "testosterone", "unknown"),
        ("37864", ("TESTOSTERONE",), "testosterone undecanoate", "unknown"),
        ("197658", ("ESTRADIOL",), "estradiol", "oral"),
        ("884709", ("ESTRADIOL",), "estradiol", "vaginal"),
        ("310189", ("ESTRADIOL",), "estradiol valerate", "injection"),
        ("4083", ("ESTRADIOL",), "estradiol", "unknown"),
        ("208513", ("CEE",), "conjugated estrogens", "oral"),
        ("1441740", ("CEE", "BAZEDOXIFENE"), "bazedoxifene / conjugated estrogens", "oral"),
        ("238006", ("ANDROGEN_OTHER", "CEE"), "esterified estrogens / methyltestosterone", "oral"),
        ("402250", ("E_P_COMBO",), "estradiol / levonorgestrel", "patch"),
        ("1000351", ("E_P_COMBO",), "conjugated estrogens / medroxyprogesterone", "oral"),
        ("1483549", ("E_P_COMBO",), "drospirenone / estradiol", "oral"),
        ("2108930", ("E_P_COMBO",), "estradiol / progesterone", "oral"),
        ("262080", ("PROGESTOGEN",), "progesterone", "oral"),
        ("199224", ("AROMATASE_INHIBITOR",), "anastrozole", "oral"),
        ("151124", ("AROMATASE_INHIBITOR",), "anastrozole", "oral"),
        ("198224", ("ANTIANDROGEN_MRA",), "spironolactone", "oral"),
        ("2587741", ("FIVE_ARI",), "finasteride", "oral"),
        ("996101", ("FIVE_ARI",), "dutasteride", "oral"),
        ("903283", ("T4_T3_COMBO",), "levothyroxine / liothyronine", "oral"),
        ("966158", ("LEVOTHYROXINE",), "levothyroxine", "oral"),
        ("208544", ("THYROID_DESICCATED",), "desiccated thyroid", "oral"),
        ("727507", ("HCG",), "choriogonadotropin alfa", "injection"),
        ("1044591", ("GHRH",), "tesamorelin", "injection"),
        ("1927693", ("DHEA",), "prasterone", "vaginal"),
        ("1302636", ("DHEA",), "prasterone", "oral"),
        ("1588", ("BIOTIN",), "biotin", "unknown"),
        ("72143", ("RALOXIFENE",), "raloxifene", "unknown"),
    ],
)
def test_products(terms: Terms, rxcui: str, keys: tuple[str, ...], agent: str, form: str) -> None:
    product = terms.products[rxcui]
    assert (product.keys, product.agent, product.form) == (keys, agent, form)


@pytest.mark.parametrize("rxcui", ["835830", "0", "1049502", ""])
def test_a_neighbouring_number_is_not_guessed(terms: Terms, rxcui: str) -> None:
    assert rxcui not in terms.products


@pytest.mark.parametrize(
    "rxcui", ["4124", "994203", "2371763", "2556806", "978944", "978946", "2371764", "2556800"]
)
def test_contraceptives_and_fibroid_products_are_known_and_start_nothing(terms: Terms, rxcui: str) -> None:
    assert terms.products[rxcui].keys == ()


def test_how_many_products(terms: Terms) -> None:
    # 295 rows of the product map, 13 of which stand in a second section too, and anastrozole
    tty = [product.tty for product in terms.products.values()]
    assert tty.count("SCD") == 295 - 13 + 1


def test_only_femring_is_vaginal_and_systemic(terms: Terms) -> None:
    systemic = {code for code, product in terms.products.items() if product.systemic}
    assert systemic == {"848331", "848342", "848333", "848343"}
    assert {terms.products[code].form for code in systemic} == {"vaginal"}
    assert not terms.products["848328"].systemic


def test_local_forms(terms: Terms) -> None:
    local = {key: therapy.local_forms for key, therapy in terms.therapies.items() if therapy.local_forms}
    assert local == {"ESTRADIOL": {"vaginal"}, "CEE": {"vaginal"}, "DHEA": {"vaginal"}}


def test_route_words_agree_with_the_form_of_every_product(terms: Terms) -> None:
    def form(product: Product) -> str:
        name = re.sub(r" \[.*\]$", "", product.name)
        return next((form for pattern, form in terms.route_words if pattern.search(name)), "unknown")

    listed = [product for product in terms.products.values() if product.tty in ("SCD", "SBD")]
    assert [product.name for product in listed if form(product) != product.form] == []


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ("Intramuscular route", "injection"),
        ("subcutaneous", "injection"),
        ("IM", "injection"),
        ("transdermal", "topical"),
        ("transdermal patch", "patch"),
        ("Oral", "oral"),
        ("by mouth", "oral"),
        ("intranasal", "nasal"),
        ("buccal", "buccal"),
        ("per vaginam", "unknown"),
        ("vaginal gel", "vaginal"),
        ("temporal", "unknown"),
    ],
)
def test_route_words(terms: Terms, words: str, form: str) -> None:
    found = next((form for pattern, form in terms.route_words if pattern.search(words)), "unknown")
    assert found == form


@pytest.mark.parametrize(
    ("code", "keys"),
    [
        ("G03BA03", ("TESTOSTERONE",)),
        ("G03CA03", ("ESTRADIOL",)),
        ("G03CC07", ("CEE", "BAZEDOXIFENE")),
        ("G03FA01", ("E_P_COMBO",)),
        ("G03FB05", ("E_P_COMBO",)),
        ("G03AB08", ()),
        ("H01CC54", ()),
        ("L02BG03", ("AROMATASE_INHIBITOR",)),
        ("V04CM01", ()),
        ("H01CA01", ("GONADORELIN",)),
        ("C03EA01", ("ANTIANDROGEN_MRA",)),
        ("G03AA07", None),
        ("G03CA01", None),
    ],
)
def test_atc(terms: Terms, code: str, keys: tuple[str, ...] | None) -> None:
    found = next((product.keys for prefix, product in terms.atc if code.startswith(prefix)), None)
    assert found == keys


def test_longest_atc_prefix_first(terms: Terms) -> None:
    lengths = [len(prefix) for prefix, _ in terms.atc]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("testosterone cypionate 200 mg/mL injection", {"TESTOSTERONE"}),
        ("Depo-Testosterone 100 mg weekly", {"TESTOSTERONE"}),
        ("depotestosterone", {"TESTOSTERONE"}),
        ("ANDROGEL 1.62 %", {"TESTOSTERONE"}),
        ("Testosterone level", set()),
        ("testosterone levels, serum", set()),
        ("testosterone lab", set()),
        ("testosterone labetalol", {"TESTOSTERONE"}),
        ("methyltestosterone 10 mg", {"ANDROGEN_OTHER"}),
        ("epitestosterone", set()),
        ("estradiol 2 mg tablet", {"ESTRADIOL"}),
        ("Vivelle-Dot patch", {"ESTRADIOL"}),
        ("ethinyl estradiol / norgestimate", set()),
        ("Ethinylestradiol 20 mcg", set()),
        ("estradiol valerate and dienogest", set()),
        ("relugolix 40 mg, estradiol 1 mg, norethindrone acetate 0.5 mg", set()),
        ("Oriahnn (elagolix, estradiol, norethindrone)", set()),
        ("premarin vaginal cream", {"CEE"}),
        ("conjugated oestrogens 0.625 mg", {"CEE"}),
        ("estrogens, conjugated 0.3 mg", {"CEE"}),
        ("Duavee", {"CEE", "BAZEDOXIFENE"}),
        ("Prempro", {"CEE", "E_P_COMBO"}),
        ("Climara Pro", {"ESTRADIOL", "E_P_COMBO"}),
        ("progesterone 100 mg capsule", {"PROGESTOGEN"}),
        ("hydroxyprogesterone caproate", set()),
        ("17-hydroxyprogesterone", set()),
        ("medroxyprogesterone 10 mg", {"PROGESTOGEN"}),
        ("levonorgestrel IUD 52 mg", {"PROGESTOGEN"}),
        ("levonorgestrel 1.5 mg tablet", set()),
        ("Mirena", {"PROGESTOGEN"}),
        ("anastrozole 1 mg", {"AROMATASE_INHIBITOR"}),
        ("gonadorelin acetate 200 mcg", {"GONADORELIN"}),
        ("HCG 500 units SC", {"HCG"}),
        ("hCG test", set()),
        ("beta-hCG quant", set()),
        ("chorionic gonadotropin 5000 units", {"HCG"}),
        ("enclomiphene 12.5 mg", {"SERM"}),
        ("spironolactone 100 mg", {"ANTIANDROGEN_MRA"}),
        ("leuprorelin", {"GNRH_AGONIST"}),
        ("finasteride 5 mg", {"FIVE_ARI"}),
        ("L-T4 50 mcg", {"LEVOTHYROXINE"}),
        ("LT3", {"LIOTHYRONINE"}),
        ("thyroid (USP) 60 mg", {"THYROID_DESICCATED"}),
        ("Thyroid (USP)", {"THYROID_DESICCATED"}),
        ("thyroid usp 60 mg", {"THYROID_DESICCATED"}),
        ("Nature-Throid", {"THYROID_DESICCATED"}),
        ("CJC-1295 with DAC", {"GHRH"}),
        ("cjc1295 / ipamorelin", {"GHRH", "GH_SECRETAGOGUE"}),
        ("MK-677 25 mg", {"GH_SECRETAGOGUE"}),
        ("GHRP 6", {"GH_SECRETAGOGUE"}),
        ("somatropin", {"GH"}),
        ("DHEA 25 mg", {"DHEA"}),
        ("DHEA-S", set()),
        ("biotin 10 mg", {"BIOTIN"}),
        ("vitamin B7", {"BIOTIN"}),
        ("lisinopril 10 mg", set()),
        ("oral contraceptive", set()),
    ],
)
def test_text(terms: Terms, text: str, keys: set[str]) -> None:
    assert keys_of_text(terms, text) == keys
    assert keys_of_text(terms, text.upper()) == keys


@pytest.mark.parametrize(
    ("key", "text", "agent", "form"),
    [
        ("TESTOSTERONE", "Testosterone Cypionate 200 mg/mL", "testosterone cypionate", "injection"),
        ("TESTOSTERONE", "test cyp testosterone", "testosterone cypionate", "injection"),
        ("TESTOSTERONE", "Aveed", "testosterone undecanoate", "injection"),
        ("TESTOSTERONE", "testosterone undecanoate", "testosterone undecanoate", "unknown"),
        ("TESTOSTERONE", "Jatenzo 237 mg", "testosterone undecanoate", "oral"),
        ("TESTOSTERONE", "AndroGel", "testosterone", "topical"),
        ("GHRH", "CJC-1295", "CJC-1295", "unknown"),
        ("GHRH", "sermorelin", "sermorelin", "unknown"),
        ("FIVE_ARI", "Avodart", "dutasteride", "oral"),
        ("SERM", "enclomiphene", "enclomiphene", "unknown"),
        ("ESTRADIOL", "Femring", "estradiol", "vaginal"),
    ],
)
def test_agents_in_text(terms: Terms, key: str, text: str, agent: str, form: str) -> None:
    found = hint(terms, key, text)
    assert found is not None
    assert (found.agent, found.form) == (agent, form)
    assert found.systemic is (text == "Femring")


def test_testosterone_without_a_hint(terms: Terms) -> None:
    assert hint(terms, "TESTOSTERONE", "testosterone") is None


def test_every_key_that_is_recognised_is_a_therapy(terms: Terms) -> None:
    used = {key for product in terms.products.values() for key in product.keys}
    used |= {key for _, product in terms.atc for key in product.keys}
    used |= {pattern.key for pattern in terms.patterns}
    assert used == set(terms.therapies)
