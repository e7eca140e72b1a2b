"""The claim files: every committed one loads, every mistake is refused with file and claim."""

import copy

import pytest
import yaml

from filterwise import claims
from filterwise.claims.registered import quantity_of
from filterwise.errors import ParameterError

GOOD = {
    "chapter": "9-test",
    "papers": {"P": "a paper"},
    "claims": [
        {
            "id": "T1",
            "statement": "Noise falls.",
            "paper": {"value": None, "text": "falls", "source": "abstract"},
            "where": "abstract",
            "quantity": "noise_ratio",
            "criterion": {
                "text": "below a half",
                "rule": {"kind": "count", "seeds": 2, "of": 3},
                "conditions": [{"quantity": "noise_ratio", "op": "<", "bound": 0.5}],
            },
            "seeds": 3,
            "controls": ["untrained"],
            "profiles": ["quick"],
        }
    ],
}


def write(folder, content, name="9-test.yml"):
    path = folder / name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def changed(path, value):
    """GOOD with one nested value set; ``None`` as the last key's value deletes it."""
    content = copy.deepcopy(GOOD)
    target = content
    for key in path[:-1]:
        target = target[key]
    if value == "<delete>":
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return content


def test_a_good_file_loads(tmp_path):
    (claim,) = claims.load_file(write(tmp_path, GOOD))
    assert (claim.id, claim.chapter, claim.criterion.rule.seeds) == ("T1", "9-test", 2)
    assert claim.paper.value is None
    assert claim.paper.shown().endswith("(no number)")


FIRST = ("claims", 0)
CONDITION = (*FIRST, "criterion", "conditions", 0)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((*FIRST, "statment"), "x", ["T1", "unknown key 'statment'", "did you mean 'statement'"]),
        ((*FIRST, "chapter"), "8-test", ["T1", "unknown key 'chapter'"]),
        ((*FIRST, "paper"), "0.9", ["T1", "paper='0.9'", "wrong type"]),
        ((*FIRST, "controls"), [1], ["T1", "controls[0]=1", "wrong type"]),
        ((*CONDITION, "bnd"), 0.1, ["condition on noise_ratio", "unknown key 'bnd'", "did you mean 'bound'"]),
        ((*FIRST, "criterion", "rule", "methd"), "t", ["rule", "unknown key 'methd'", "'method'"]),
        (("claim",), [], ["unknown key 'claim'", "did you mean 'claims'"]),
        ((*FIRST, "where"), "<delete>", ["T1", "where is missing"]),
        ((*FIRST, "paper", "source"), "<delete>", ["T1, paper", "source is missing"]),
        ((*FIRST, "paper", "value"), "0.9", ["T1, paper", "value='0.9'", "wrong type"]),
        ((*FIRST, "quantity"), "noise_ration", ["T1", "unknown quantity 'noise_ration'", "'noise_ratio'"]),
        ((*FIRST, "profiles"), ["quik"], ["T1", "'quik'", "did you mean 'quick'"]),
        ((*FIRST, "profiles"), [], ["T1", "profiles is empty"]),
        ((*FIRST, "seeds"), 0, ["T1", "seeds=0"]),
        ((*FIRST, "seeds"), True, ["T1", "seeds=True", "wrong type"]),
        ((*FIRST, "statement"), " ", ["T1", "statement is empty"]),
        ((*FIRST, "options"), {"layer": 1}, ["T1", "no option 'layer'"]),
        ((*CONDITION, "op"), "=<", ["T1", "op='=<'", "choose from"]),
        ((*CONDITION, "bound"), "<delete>", ["T1", "needs ['bound']"]),
        ((*CONDITION, "low"), 0.1, ["T1", "needs ['bound']", "low"]),
        ((*CONDITION, "quantity"), "snr_ratios", ["condition on snr_ratios", "did you mean 'snr_ratio'"]),
        ((*CONDITION, "rule"), {"kind": "estimate"}, ["T1", "judged together"]),
        ((*FIRST, "criterion", "rule", "kind"), "counts", ["T1", "'counts'", "did you mean 'count'"]),
        ((*FIRST, "criterion", "rule", "seeds"), 4, ["T1", "1 <= seeds <= of"]),
        ((*FIRST, "criterion", "rule"), {"kind": "interval", "of": 3}, ["T1", "'of'", "does not belong"]),
        ((*FIRST, "criterion", "rule"), {"kind": "interval", "level": 1.5}, ["T1", "level=1.5"]),
        (("chapter",), "8-test", ["9-test.yml", "not the file's name"]),
    ],
)
def test_mistakes_are_refused(tmp_path, path, value, words):
    with pytest.raises(ParameterError) as error:
        claims.load_file(write(tmp_path, changed(path, value)))
    for word in ["9-test.yml", *words]:
        assert word in str(error.value)


def test_needed_option_of_a_quantity(tmp_path):
    content = changed((*FIRST, "quantity"), "accuracy_difference")
    content["claims"][0]["options"] = {"network": "avgg8"}
    with pytest.raises(ParameterError, match="needs the option 'baseline'"):
        claims.load_file(write(tmp_path, content))


def test_ids_are_unique_in_a_file(tmp_path):
    twice = copy.deepcopy(GOOD)
    twice["claims"] *= 2
    with pytest.raises(ParameterError, match="T1: the id is used 2 times"):
        claims.load_file(write(tmp_path, twice))


def test_ids_are_unique_in_the_book(tmp_path):
    write(tmp_path, GOOD)
    write(tmp_path, GOOD | {"chapter": "8-test"}, "8-test.yml")
    with pytest.raises(ParameterError, match=r"9-test\.yml, claim T1: the id is used in 8-test\.yml"):
        claims.load(folder=tmp_path)


def test_the_short_profile_has_the_conditions_of_paper_unless_it_has_its_own(tmp_path):
    content = changed((*CONDITION, "profiles"), ["paper"])
    (claim,) = claims.load_file(write(tmp_path, content))
    assert len(claim.criterion.conditions_for("short")) == 1
    assert claim.criterion.conditions_for("quick") == ()
    own = content["claims"][0]["criterion"]["conditions"][0] | {"bound": 0.7, "profiles": ["short"]}
    content["claims"][0]["criterion"]["conditions"].append(own)
    (claim,) = claims.load_file(write(tmp_path, content))
    assert [c.bound for c in claim.criterion.conditions_for("short")] == [0.7]


def test_only_reading_a_file_needs_pydantic():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from filterwise import claims\n"
        "assert 'filterwise.claims.schema' not in sys.modules\n"
        "claims.Rule('count', seeds=2, of=3); assert 'noise_ratio' in claims.quantities.names()\n"
        "try: claims.load()\n"
        "except ImportError: print('needed')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "needed\n"


def test_what_is_no_yaml_is_said_to_be(tmp_path):
    path = tmp_path / "9-test.yml"
    path.write_text("claims: [", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"9-test\.yml: not readable as YAML"):
        claims.load_file(path)


def test_unknown_chapter_has_a_near_miss():
    with pytest.raises(ParameterError, match="did you mean '4-sfp'"):
        claims.load("4-sfpp")


def test_committed_files_load_and_name_registered_quantities():
    chosen = claims.load()
    ids = {(claim.chapter, claim.id) for claim in chosen}
    assert len({claim.id for claim in chosen}) == len(chosen)
    # one pass over the images has no tenth
    once = {"T2"}
    assert all(("short" in c.profiles) == ("paper" in c.profiles) for c in chosen if c.id not in once)
    assert {("4-sfp", f"S{i}") for i in range(1, 9)} <= ids
    assert {("5-afcc", f"F{i}") for i in range(1, 8)} <= ids
    assert {("5-afcc", f"C{i}") for i in range(1, 5)} | {("5-afcc", f"W{i}") for i in range(1, 6)} <= ids
    assert {("1-pooling", f"P{i}") for i in range(1, 10)} <= ids
    assert {("2-tree", f"T{i}") for i in range(1, 8)} <= ids
    assert {("3-power-law", f"L{i}") for i in range(1, 9)} <= ids
    assert {("7-vit-shp", f"V{i}") for i in range(1, 12)} | {
        ("7-vit-shp", f"H{i}") for i in range(1, 11)
    } <= ids
    for claim in chosen:
        for name in (claim.quantity, *(condition.quantity for condition in claim.criterion.conditions)):
            assert quantity_of(name).says.endswith("."), name


def test_comparisons_of_accuracy_carry_the_equal_compute_control():
    """Late pooling costs more operations; the control must be part of the quantity itself."""
    for name in ("accuracy_difference", "late_pooling_gain"):
        assert "equal compute" in quantity_of(name).control


def test_every_quantity_is_empty_without_records():
    import pandas as pd

    # the options that a claim gives, where there are any
    needed = {}
    for claim in claims.load():
        needed.setdefault(claim.quantity, claim.options)
        for condition in claim.criterion.conditions:
            needed.setdefault(condition.quantity, condition.options)
    bare = pd.DataFrame({"seed": [0], "network": ["n"], "data": ["d"], "labels": [3], "accuracy": [0.5]})
    for name in claims.quantities.names():
        for records in (pd.DataFrame(), bare):
            assert claims.measure(name, records, needed.get(name)).empty, name
