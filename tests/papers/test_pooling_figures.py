"""Figures of chapter 1 and the route explorer: the library's routes in picture, widget and page."""

import base64
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.measure import route_counting as routes
from filterwise.papers.pooling import arm_tables, route_explorer
from filterwise.papers.pooling import figures as pooling

STAGES = ((4, 1), (8, 1), (8, 1), (8, 1))


@pytest.fixture(scope="module")
def images():
    return fw.data.load("parts", split="test", n=20).subset([0, 1, 2])


@pytest.fixture(scope="module")
def arms(images):
    found = []
    for plan, order, pools in (
        ("V", "", {"plan": "V"}),
        ("after 2", "MP2-AP4", {"inner": (2,), "order": "MP2-AP4"}),
        ("after 2", "AP4-MP2", {"inner": (2,), "order": "AP4-MP2"}),
    ):
        net = fw.models.build("vgg", labels=10, channels=1, size=16, stages=STAGES, **pools)
        arm = SimpleNamespace(plan=plan, order=order, accuracy=0.1)
        found.append(route_explorer.follow(net, images.images, arm, device="cpu"))
    return found


def test_the_mask_drawn_on_an_image_is_the_librarys_block_by_block():
    x = torch.rand(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    figure = pooling.operator_routes(x, ["MP2-AP4", "AP4-MP2"])
    for axes, order in zip(figure.axes, ("MP2-AP4", "AP4-MP2"), strict=True):
        drawn = np.asarray(axes.images[1].get_array())[..., 3] > 0
        for row in (0, 8):
            for column in (0, 8):
                block = x[row : row + 8, column : column + 8]
                mask = routes.routes(block, order).mask.numpy()
                np.testing.assert_array_equal(drawn[row : row + 8, column : column + 8], mask)
        assert axes.get_title("left").startswith(order.replace("-", "→") + "\n16 routes")


def test_untied_images_have_no_ties_and_keep_their_order():
    x = pooling.untied(torch.zeros(2, 3, 28, 28, dtype=torch.uint8))
    assert x.shape == (2, 32, 32)
    assert len(x.unique()) == x.numel()
    assert x.max() < 1 / 255


def test_a_followed_image_has_the_measured_routes(arms):
    assert arms[1].counts.max() <= 16
    assert (arms[2].counts <= 16).all()
    assert arms[1].spreads.mean() > 1.5 * arms[2].spreads.mean()  # max first spreads, average first gathers


def test_orders_are_sorted_by_mean_and_v_is_a_band():
    table = pd.DataFrame(
        {"plan": ["L2", "L2", "L2", "V", "V"], "order": ["MP8", "MP8", "AP8", "", ""]}
    ).assign(accuracy=[0.5, 0.6, 0.7, 0.4, 0.6])
    (axes,) = pooling.head_orders(table).axes
    assert pooling.best_order(table) == "AP8 with 0.700"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["AP8", "MP8"]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(0.5)


def test_compute_is_operations_times_epochs():
    table = pd.DataFrame(
        {"arm": "V", "network": "vgg6", "macs": 2e6, "epochs": [3, 6], "accuracy": [0.5, 0.6]}
    )
    (axes,) = pooling.accuracy_against_compute(table).axes
    assert axes.containers[0][0].get_xdata() == pytest.approx([6, 12])


def test_gains_are_paired_by_seed_and_read_twice():
    columns = ["base", "plan", "order", "data", "seed", "epochs", "macs", "accuracy", "device"]
    rows = []
    for seed, shift in ((0, 0.0), (1, 0.1)):  # the seeds differ by more than the arms do
        rows += [
            ("b", "V", "", "d", seed, 10, 1.0, 0.5 + shift, "cpu"),
            ("b", "V", "", "d", seed, 30, 1.0, 0.6 + shift, "cpu"),
            ("b", "L2", "AP8", "d", seed, 10, 3.0, 0.55 + shift, "cpu"),
        ]
    runs = pd.DataFrame(rows, columns=columns)
    table = arm_tables.gains(runs).set_index("at")
    assert table.loc["equal epochs", "late − V"] == pytest.approx(0.05)
    assert table.loc["equal compute", "late − V"] == pytest.approx(-0.05)
    assert table["standard error"].to_numpy() == pytest.approx([0, 0])
    assert table["seeds"].tolist() == [2, 2]
    assert arm_tables.equal_epochs(runs)["epochs"].unique().tolist() == [10]
    words = "late pooling is 0.050 above V at equal epochs and 0.050 below V at equal compute"
    assert arm_tables.gains_in_words(runs) == words


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: pooling.operator_routes(torch.rand(8, 8), []), "orders is empty"),
        (lambda: pooling.operator_routes(torch.rand(12, 12), ["MP8"]), "divides by 8"),
        (lambda: pooling.operator_routes(torch.rand(8, 8), ["XP8"]), "order='XP8'"),
        (lambda: pooling.route_maps(torch.empty(0), {}), "at least 1"),
        (lambda: pooling.head_orders(pd.DataFrame({"plan": [], "order": []})), "'accuracy'"),
        (lambda: route_explorer.explore_routes([], torch.empty(0), [], []), "arms is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ParameterError, match=message):
        draw()


def test_two_arms_of_one_place_are_refused(arms, images):
    with pytest.raises(ParameterError, match="twice"):
        route_explorer.explore_routes([arms[0], arms[0]], images.images, [0, 1, 2], images.label_names)


def explorer(arms, images):
    return route_explorer.explore_routes(arms, images.images, images.labels.tolist(), images.label_names)


def test_the_caption_orders_the_arms_by_the_distance_of_their_routes(arms):
    narrow, wide = (replace(arms[1], order=order, spreads=torch.full((3,), value))
                    for order, value in (("AP4-MP2", 1.2), ("MP2-AP4", 3.0)))  # fmt: skip
    lone = replace(arms[0], order="")
    said = route_explorer.said_of_arms([lone, narrow, wide])
    assert "one filter's routes lie 3.0 with MP2→AP4, 1.2 with AP4→MP2 pixels" in said
    assert route_explorer.said_of_arms([lone]).endswith("Try two orders of the same pools.")


def test_the_page_holds_the_maps_and_asks_for_nothing(arms, images):
    html = explorer(arms, images).html()
    assert not re.search(r"https?://|//cdn|@import|\bsrc=|\bfetch\(", html)
    content = json.loads(re.search(r'start\("\w+", (.*)\);\n</script>', html)[1].replace("<\\/", "</"))
    for arm, held in zip(arms, content["arms"], strict=True):
        for place in range(3):
            data = np.frombuffer(base64.b64decode(held["routes"][place]), dtype=np.uint8)
            expected = arm.routes[place].flatten() / arm.routes[place].max()
            np.testing.assert_allclose(data / 255, expected.numpy(), atol=0.003)


def test_the_widgets_follow_plan_and_order(arms, images):
    plan, order, chosen, picture, _ = explorer(arms, images).live().children
    assert (plan.value, order.value) == ("after 2", "AP4-MP2")
    seen = [picture.value]
    order.value = "MP2-AP4"
    seen.append(picture.value)
    chosen.value = 2
    seen.append(picture.value)
    plan.value = "V"
    assert order.value == ""
    seen.append(picture.value)
    assert len(set(seen)) == 4


@pytest.mark.browser
def test_plan_order_and_image_change_the_page(chromium, set_control, arms, images):
    control = set_control(explorer(arms, images).html())

    def choose(name, value):
        control(name, value)
        return chromium.execute_script(
            "return [document.querySelector('canvas[data-fw=routes]').toDataURL(),"
            " document.querySelector('[data-fw=summary]').textContent]"
        )

    seen = [choose("order", "AP4-MP2"), choose("order", "MP2-AP4"), choose("image", 2), choose("plan", "V")]
    assert len({picture for picture, _ in seen}) == 4
    assert f"{float(arms[1].counts[2]):.1f} routes a filter" in seen[2][1]
    said = int(arms[0].answers[2])
    right = said == int(images.labels[2])
    told = f"answer {images.label_names[said]}, which is {'right' if right else 'wrong'};"
    assert told in seen[3][1]
    marked = "return document.querySelector('[data-fw=summary]').classList.contains('fw-wrong')"
    assert chromium.execute_script(marked) is not right
    assert chromium.execute_script("return document.querySelector('select[data-fw=order]').disabled")
    unnamed = "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).length"
    assert chromium.execute_script(unnamed) == 0
