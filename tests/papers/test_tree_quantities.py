"""Chapter 2's claims: rates chosen where nothing is tested, differences seed by seed, verdicts both ways."""

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.claims.registered import measure
from filterwise.claims.verdict import find
from filterwise.papers.tree import quantities

COLUMNS = ["network", "regime", "arm_kind", "rate", "seed", "accuracy"]


def records(rows, **columns):
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(data="d", device="cpu", labels=10, **columns)


def online(name, best, values, tried=(0.1, 0.2)):
    """A network tried at two rates, of which ``best`` is the better on held-out images, the worse in test."""
    rows = [[name, "online", "tuning", rate, 0, 0.9 if rate == best else 0.1] for rate in tried]
    for seed, value in enumerate(values):
        rows += [[name, "online", "main", rate, seed, value if rate == best else 1.0] for rate in tried]
    return rows


def test_the_rate_is_chosen_on_held_out_images_whatever_the_test_says():
    table = records([*online("lenet5", 0.1, [0.4, 0.5]), *online("tree3 6/16", 0.2, [0.6, 0.8])])
    assert quantities.best_rates(table, "online") == {("lenet5", "d"): 0.1, ("tree3 6/16", "d"): 0.2}
    found = measure("tree_gain", table, {"network": "tree3 6/16", "regime": "online"})
    assert found["value"].tolist() == pytest.approx([0.2, 0.3])


def test_a_network_without_its_best_rate_on_test_images_is_not_measured():
    table = records([row for row in online("lenet5", 0.1, [0.4]) if not (row[2] == "main" and row[3] == 0.1)])
    assert quantities.chosen(table, "online").empty


def test_the_gain_has_the_equally_dear_network_beside_it():
    table = records(
        [
            *online("lenet5", 0.1, [0.4, 0.4]),
            *online("tree3 15/80", 0.1, [0.6, 0.7]),
            *online("lenet5 d1=11", 0.1, [0.5, 0.55]),
        ]
    )
    options = {"network": "tree3 15/80", "regime": "online"}
    found = measure("tree_gain", table, options)
    assert found["value"].tolist() == pytest.approx([0.2, 0.3])
    assert found["control"].tolist() == pytest.approx([0.1, 0.15])
    harder = measure("tree_gain", table, {**options, "baseline": "equal compute"})
    assert harder["value"].tolist() == pytest.approx([0.1, 0.15])
    assert measure("tree_gain", table, {"network": "tree3 15/80", "regime": "offline"}).empty


def test_gain_beyond_spread_takes_both_deviations_off():
    table = records([*online("lenet5", 0.1, [0.4, 0.5]), *online("tree3 15/80", 0.1, [0.7, 0.9])])
    found = measure("gain_beyond_spread", table, {"network": "tree3 15/80", "regime": "online"})
    expected = 0.35 - np.std([0.4, 0.5], ddof=1) - np.std([0.7, 0.9], ddof=1)
    assert found["value"].tolist() == pytest.approx([expected])


def test_growth_and_success():
    table = records([*online("tree3 6/16", 0.1, [0.5, 0.6]), *online("tree3 15/16", 0.2, [0.55, 0.7])])
    options = {"smaller": "tree3 6/16", "larger": "tree3 15/16", "regime": "online"}
    assert measure("growth_step", table, options)["value"].tolist() == pytest.approx([0.05, 0.1])
    found = measure("success_rate", table, {"network": "tree3 6/16", "regime": "online"})
    assert found["value"].tolist() == [0.5, 0.6]


def test_zero_shares_and_what_training_adds():
    rows = [["tree3 15/16", "offline", "main", 0.02, seed, 0.6] for seed in (0, 1)]
    table = records(rows, **{"zero_share@conv": [0.92, 0.94], "zero_share_untrained@conv": [0.9, 0.9]})
    options = {"layer": "conv", "network": "tree3 15/16", "regime": "offline"}
    assert measure("zero_share", table, options)["value"].tolist() == [0.92, 0.94]
    assert measure("zero_share_gain", table, options)["value"].tolist() == pytest.approx([0.02, 0.04])


def claim(name):
    return next(each for each in claims.load("2-tree") if each.id == name)


def verdict(name, table, profile="paper"):
    return find(claim(name), table, profile, np.random.default_rng(0)).verdict


@pytest.mark.parametrize(("lead", "expected"), [(0.05, "holds"), (-0.05, "fails"), (0.0, "undecided")])
def test_online_verdicts_follow_the_records(lead, expected):
    noise = [0.01, -0.01, 0.0, 0.02, -0.02]
    rows = []
    for at, name in enumerate(["tree3 6/16", "tree3 15/16", "tree3 15/80"]):
        rows += online(name, 0.1, [0.5 + lead + each * (-1) ** at for each in noise])
    for name in ("lenet5", "lenet5 d1=8", "lenet5 d1=11", "lenet5 fc=1200"):
        rows += online(name, 0.1, [0.5] * 5)
    assert verdict("T2", records(rows)) == expected


def test_a_wide_lenet_that_catches_up_decides():
    noise = [0.01, -0.01, 0.0, 0.02, -0.02]
    rows = []
    for name in ("tree3 6/16", "tree3 15/16", "tree3 15/80"):
        rows += online(name, 0.1, [0.6 + each for each in noise])
    for name in ("lenet5", "lenet5 d1=8", "lenet5 fc=1200"):
        rows += online(name, 0.1, [0.5] * 5)
    assert verdict("T2", records(rows + online("lenet5 d1=11", 0.1, [0.55] * 5))) == "holds"
    assert verdict("T2", records(rows + online("lenet5 d1=11", 0.1, [0.65] * 5))) == "fails"


@pytest.mark.parametrize(("branch", "lenet", "expected"), [(1, 1_008_000, "holds"), (2, 1_008_000, "fails"),
                                                           (1, 900_000, "fails")])  # fmt: skip
def test_route_verdicts_follow_the_counts(branch, lenet, expected):
    rows = [["tree3 6/16", "online", "main", 0.1, 0, 0.5], ["lenet5", "online", "main", 0.1, 0, 0.5]]
    table = records(rows, **{"routes@branch": [branch, None], "routes@winner": [None, lenet]})
    assert verdict("T3", table) == expected


@pytest.mark.parametrize(("before", "expected"), [(0.86, "holds"), (0.95, "fails")])
def test_zeros_that_were_there_before_training_decide(before, expected):
    rows = [["tree3 15/16", "offline", "main", 0.02, seed, 0.6] for seed in range(3)]
    shares = {"conv": 0.92, "tree": 0.7, "fc": 0.6}
    columns = {f"zero_share@{layer}": [share, share + 0.01, share - 0.01] for layer, share in shares.items()}
    factor = before / 0.9
    columns |= {
        f"zero_share_untrained@{layer}": [factor * share * 0.9 / 0.92] * 3 for layer, share in shares.items()
    }
    assert verdict("T4", records(rows, **columns)) == expected
