"""Figures of chapter 6 and the series explorer: the library's numbers in picture, widget and page."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.papers.rodib import figures, rodib_explorer
from filterwise.papers.rodib import timed_tables as tables

NAMES = [f"</{label}>" for label in range(10)]


@pytest.fixture(scope="module")
def images():
    return fw.data.load("mnist5k", split="test").subset([0, 1, 2, 3])


@pytest.fixture(scope="module")
def heard(images):
    found = []
    for kind, delays in (("generic", 4), ("generic", 5), ("equal", 6)):
        net = fw.models.build(
            "rodib", delays=delays, kind=kind, front="flat", fc_inputs=3, channels=1, size=28, init="he"
        )
        arm = SimpleNamespace(arm=kind, M=delays, accuracy=0.25)
        found.append(rodib_explorer.listen(net, images.images, arm))
    return found


def test_what_is_heard_is_the_networks_answer(images, heard):
    net = fw.models.build(
        "rodib", delays=6, kind="equal", front="flat", fc_inputs=3, channels=1, size=28, init="he"
    )
    logits = fw.training.logits(net, images, device="cpu")
    assert heard[2].answers == logits.argmax(1).tolist()
    assert heard[2].times == list(range(11))
    torch.testing.assert_close(heard[2].series[:, heard[2].places], logits)


def test_instants_are_drawn_where_lines_arrive():
    sets = {"equal": [[0, 1, 2], [0, 1, 2]], "generic": [[0.1, 0.5], [0.2, 0.9]]}
    equal, generic = figures.instants(sets).axes
    outputs = [line for line in equal.lines if line.get_ydata().tolist() == [2] and line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in outputs] == [0, 1, 2, 3, 4]
    sizes = [line.get_markersize() for line in outputs]
    assert sizes == sizes[::-1]
    assert sizes[2] == max(sizes)  # three banks meet in the middle
    assert generic.get_title("left") == "generic: 4 output times"


def test_counts_heard_lie_on_the_closed_form():
    found = pd.DataFrame(
        {"kind": "generic", "L": 2, "M": [2, 3, 5, 10], "heard": [4, 9, 25, 100], "formula": [4, 9, 25, 100]}
    )
    (axes,) = figures.output_counts(found).axes
    formula, marks = axes.lines
    np.testing.assert_array_equal(formula.get_ydata(), marks.get_ydata())
    assert tables.counts_table(found).loc[("generic", 2)].tolist() == ["4", "9", "25", "100"]
    wrong = found.assign(heard=[4, 9, 24, 100])
    assert tables.counts_table(wrong).loc[("generic", 2), 5] == "24 *"
    deep = found.assign(L=3)
    assert tables.slopes_in_words(deep) == "with 3 delayed layers the slopes are 2.0 (generic)"


def test_a_series_names_its_labels_and_rings_the_largest(heard, images):
    one = heard[0]
    figure = figures.time_series(one.series[:2], one.times, one.places, [0, 1], NAMES, images.images[:2])
    first = figure.axes[0]
    words = {text.get_text() for text in first.texts}
    assert words == {name[:3] for name in NAMES}
    ring = next(line for line in first.lines if line.get_markersize() == 12)
    at = one.places[one.answers[0]]
    assert ring.get_xdata()[0] == at  # in their order, not to scale
    assert ring.get_ydata()[0] == pytest.approx(one.series[0, at].item())
    assert first.get_title("left") == f"{NAMES[0]} comes in, the answer is {NAMES[one.answers[0]]}"


def runs():
    rows = []
    for n in (2, 4, 16):
        for seed in (0, 1):
            for arm, delays, accuracy in (("single delay", 1, 0.5), ("generic", 4, 0.7)):
                rows.append(
                    {
                        "arm": arm, "M": delays, "N": n, "matches": "", "task": "one", "delayed": "both",
                        "purpose": "main", "label_map": "spread", "labels": 10, "data": "planted",
                        "seed": seed, "accuracy": accuracy + 0.01 * n + 0.02 * seed,
                        "parameters": 100 * n * delays,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_accuracy_by_n_has_a_line_an_arm_and_one_where_n_is_k():
    (axes,) = figures.accuracy_against_inputs(tables.main_comparison(runs())).axes
    lines = {bars.get_label(): bars[0] for bars in axes.containers}
    assert list(lines) == ["one delay", "generic M=4"]
    np.testing.assert_allclose(lines["generic M=4"].get_ydata().astype(float), [0.73, 0.75, 0.87])
    assert any(np.array_equal(line.get_xdata(), [10, 10]) for line in axes.lines)


def test_accuracy_by_weights_is_drawn_over_thousands_of_parameters():
    (axes,) = figures.accuracy_against_weights(tables.compared(runs())).axes
    lines = {bars.get_label(): bars[0] for bars in axes.containers}
    np.testing.assert_allclose(lines["generic M=4"].get_xdata().astype(float), [0.8, 1.6, 6.4])


def test_accuracy_by_labels_has_chance_beside_it():
    table = pd.concat([runs().query("N == 4").assign(labels=k) for k in (10, 30)])
    (axes,) = figures.accuracy_against_labels(tables.with_lines(table)).axes
    chance = next(line for line in axes.lines if line.get_label() == "chance")
    np.testing.assert_allclose(chance.get_ydata(), [1 / 10, 1 / 30])


def test_wrong_delays_stand_beside_their_references():
    table = pd.DataFrame(
        {"line": "generic M=4", "arm": "generic", "share": [0.0, 0.1], "accuracy": [0.9, 0.4]}
    )
    (axes,) = figures.wrong_delays(table, {"one delay": 0.6}).axes
    assert [line.get_ydata() for line in axes.lines if line.get_label() == "one delay"] == [[0.6, 0.6]]


def test_lines_of_one_arm_have_marks_of_their_own_and_lone_places_stand_side_by_side():
    lines = (
        ("generic M=4", "generic", 10),
        ("one delay", figures.SINGLE, 10),
        ("generic M=7", "generic", 45),
    )
    table = pd.DataFrame(
        [{"line": line, "arm": arm, "labels": labels, "N": 4, "accuracy": 0.5 + seed / 10, "parameters": 2e5}
         for line, arm, labels in lines for seed in range(2)]
    )  # fmt: skip
    left, right = figures.accuracy_against_inputs(table).axes
    first, other = (container[0] for container in left.containers)
    assert first.get_xdata()[0] < 4 < other.get_xdata()[0]
    (second,) = (container[0] for container in right.containers)
    assert second.get_xdata()[0] == 4
    assert first.get_markerfacecolor() != "none"
    assert second.get_markerfacecolor() == "none"
    near = figures.accuracy_against_weights(table.assign(parameters=[1e5, 1e5, 1.4e5, 1.4e5, 1e5, 1e5])).axes[
        0
    ]
    low, high = near.get_xlim()
    assert sum(low <= tick <= high for tick in near.get_xticks()) >= 2


@pytest.mark.parametrize(
    ("few", "half", "single", "words"),
    [
        (0.6, 0.2, 0.5, "a loses 0.100 at a share of 0.01 and is below one delay from 0.5 on"),
        (0.6, 0.2, 0.65, "a loses 0.100 at a share of 0.01 and is below one delay from 0.01 on"),
        (0.8, 0.7, 0.5, "a gains 0.100 at a share of 0.01"),
        (0.6, 0.2, None, "a loses 0.100 at a share of 0.01"),
    ],
)
def test_what_wrong_delays_cost_is_said(few, half, single, words):
    table = pd.DataFrame({"line": "a", "share": [0.0, 0.01, 0.5], "accuracy": [0.7, few, half]})
    levels = {} if single is None else {"one delay": single}
    assert tables.said_of_jitter(table, levels) == words


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.instants({}), "at least one delay set"),
        (lambda: figures.instants({"one": [[0, 1]]}), "of two layers"),
        (lambda: figures.output_counts(pd.DataFrame()), "'kind'"),
        (lambda: figures.time_series(torch.zeros(1, 3), [0, 1], [0], [0], ["a"]), "does not fit"),
        (lambda: figures.accuracy_against_inputs(pd.DataFrame(columns=["line"])), "'arm'"),
        (lambda: rodib_explorer.explore_series([], torch.empty(0), [], []), "heard is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ParameterError, match=message):
        draw()


def test_two_networks_of_one_place_are_refused(heard, images):
    with pytest.raises(ParameterError, match="twice"):
        rodib_explorer.explore_series([heard[0], heard[0]], images.images, [0, 1, 2, 3], NAMES)
    with pytest.raises(ParameterError, match="differ"):
        rodib_explorer.explore_series(heard, images.images[:2], [0, 1], NAMES)


def explorer(heard, images):
    return rodib_explorer.explore_series(heard, images.images, images.labels.tolist(), NAMES)


def test_the_page_holds_the_series_and_asks_for_nothing(heard, images):
    html = explorer(heard, images).html()
    without_names = html.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//cdn|@import|\bsrc=|\bfetch\(", without_names)
    content = json.loads(re.search(r'start\("\w+", (.*)\);\n</script>', html)[1].replace("<\\/", "</"))
    for one, held in zip(heard, content["nets"], strict=True):
        np.testing.assert_allclose(held["series"], one.series.numpy(), atol=0.0051)
        assert held["places"] == one.places
    assert content["names"] == NAMES


def test_the_widgets_follow_kind_m_and_image(heard, images):
    kind, count, chosen, picture, caption = explorer(heard, images).live().children
    assert (kind.value, count.value, tuple(count.options)) == ("generic", 4, (4, 5))
    seen = [picture.value]
    count.value = 5
    seen.append(picture.value)
    chosen.value = 2
    seen.append(picture.value)
    kind.value = "equal"
    assert count.value == 6
    seen.append(picture.value)
    assert len(set(seen)) == 4
    assert "Equal delays, M = 6: 11 output times" in caption.value


@pytest.mark.browser
def test_kind_m_and_image_change_the_page(chromium, set_control, heard, images):
    control = set_control(explorer(heard, images).html())

    def choose(name, value):
        control(name, value)
        return chromium.execute_script(
            "return [document.querySelector('svg[data-fw=plot]').innerHTML,"
            " document.querySelector('[data-fw=summary]').textContent,"
            " document.querySelectorAll('svg .fw-ring').length]"
        )

    seen = [choose("image", 0), choose("m", 1), choose("image", 2), choose("kind", "equal")]
    assert len({picture for picture, _, _ in seen}) == 4
    assert [rings for *_, rings in seen] == [1] * 4
    for (_, summary, _), one, at in zip(
        seen, [heard[0], heard[1], heard[1], heard[2]], (0, 0, 2, 2), strict=True
    ):
        assert summary == rodib_explorer.summary(one, at, int(images.labels[at]), NAMES)
    unnamed = "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).length"
    assert chromium.execute_script(unnamed) == 0
