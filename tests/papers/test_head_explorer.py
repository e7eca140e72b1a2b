"""The head explorer: a head's matrix beside a random group's, the same in the page as in the library."""

import json
import re
import time

import numpy as np
import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.figures.matrices import EXTERNAL, INTERNAL, SHOWN, SIGNAL, classify
from filterwise.measure.clustering import clusters, noise, permutation
from filterwise.measure.fields import clip
from filterwise.measure.head_groups import group_fields, own_groups, random_groups
from filterwise.measure.head_training import generator_for
from filterwise.measure.token_heads import Reading, TokenHead
from filterwise.papers.vit_shp import head_explorer

K, D, HEADS = 24, 20, 4
NAMES = [f"</{label}>" for label in range(K)]
SIDES = ("own", "random")


def reading(seed, labels=K, d=D):
    """Weights that follow the class means, as after training, so that matrices have clusters and noise."""
    generator = torch.Generator().manual_seed(seed)
    mu = torch.randn(labels, d, generator=generator)
    weight = 0.4 * mu + 0.3 * torch.randn(labels, d, generator=generator)
    if labels >= 6:
        mu[:3], weight[:3] = mu[3:6], weight[3:6]  # pairs of labels that all nodes treat alike
    head = TokenHead("heads", torch.ones(d), torch.zeros(d), torch.zeros(d), weight)
    return Reading(head, mu, torch.arange(labels), mu, 0.5, torch.ones(labels))


@pytest.fixture(scope="module")
def readings():
    return {4: reading(4), 1: reading(1), 2: reading(2)}


@pytest.fixture(scope="module")
def view(readings):
    return head_explorer.view_of(readings, HEADS, NAMES, seed=5)


def content(html):
    return json.loads(re.search(r'start\("\w+", (.*)\);\n</script>', html)[1].replace("<\\/", "</"))


def test_the_view_has_heads_and_the_regrouping_that_records_keep(readings, view):
    drawn = random_groups(D, HEADS, generator_for(5, "shown groups"))
    assert list(view.mu) == [1, 2, 4]
    bound = D // HEADS * 1.01 / head_explorer.LEVELS
    for m, one in readings.items():
        scale = one.mu.abs().max() * one.weight.abs().max()
        for side, groups in (("own", own_groups(D, HEADS)), ("random", drawn)):
            measured = group_fields(one, groups) / scale
            for h in range(HEADS):
                shown = view.fields(m, h, side) / head_explorer.LEVELS**2
                assert float((shown - measured[h]).abs().max()) < bound
    own = torch.stack([view.fields(1, h) for h in range(HEADS)]).sum(0)
    dealt = torch.stack([view.fields(1, h, "random") for h in range(HEADS)]).sum(0)
    torch.testing.assert_close(own, dealt, rtol=0, atol=0)  # the same nodes, each in one group
    assert not torch.equal(view.fields(1, 0), view.fields(1, 0, "random"))


@pytest.mark.parametrize("side", SIDES)
def test_the_sentence_counts_what_is_in_the_matrix(view, side):
    B = clip(view.fields(2, 3, side), 0.5)
    found = clusters(B)
    inside = [label for label in range(K) if B[label, label]]
    named = ", ".join(NAMES[label] for label in inside[:6])
    more = f" and {len(inside) - 6} more" if len(inside) > 6 else ""
    assert 1 < len(found) < len(inside)
    who = {"own": "Head", "random": "Random group"}[side]
    assert view.says(2, 3, 0.5, side) == (
        f"{who} 3 of encoder 2 at threshold 0.50: {len(found)} clusters with {len(inside)} labels, noise "
        f"{noise(B).n}; stands for {named}{more}."
    )


def test_a_head_that_raises_nothing_stands_for_no_label():
    silent = reading(0, 3, 2)
    silent.mu[:] = torch.tensor([[1.0, 0.0]])
    silent.weight[:] = torch.tensor([[-1.0, 1.0]])
    said = head_explorer.view_of({1: silent}, 2).says(1, 0, 0.3)
    assert said.endswith("0 clusters with 0 labels, noise 0; stands for no label.")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda r: head_explorer.view_of({}, HEADS), "readings is empty"),
        (lambda r: head_explorer.view_of(r | {3: reading(3, K, 8)}, HEADS), "3: (24, 8)"),
        (lambda r: head_explorer.view_of(r, HEADS, NAMES[1:]), "23 names for 24 labels"),
        (lambda r: head_explorer.view_of(r, 3), "20"),
        (lambda r: head_explorer.view_of(r, HEADS).fields(3, 0), "encoder=3"),
        (lambda r: head_explorer.view_of(r, HEADS).fields(1, 4), "head=4"),
        (lambda r: head_explorer.explore_heads(head_explorer.view_of(r, HEADS), 1.0), "threshold=1.0"),
        (lambda r: head_explorer.head_and_group(head_explorer.view_of(r, HEADS), 1, 0, 0.3, "raw"), "how="),
        (lambda r: head_explorer.shown_heads({}, 0.3), "at least one row"),
        (lambda r: head_explorer.shown_heads({"head": torch.eye(3)}, 0.3), "(H, K, K)"),
    ],
)
def test_bad_input_is_named(readings, broken, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        broken(readings)


def test_values_that_are_not_finite_are_refused():
    broken = reading(0)
    broken.mu[3, 4] = torch.nan
    with pytest.raises(ParameterError, match="mu of encoder 2 holds values that are not finite"):
        head_explorer.view_of({1: reading(1), 2: broken}, HEADS)


def kinds_first(M, threshold):
    """What each entry is, clusters first; by the library's parts."""
    B = clip(M, threshold).numpy()
    found = clusters(B)
    order = permutation(found, len(B))
    return classify(B, found)[np.ix_(order, order)]


def test_six_heads_at_most_stand_above_six_groups(view):
    rows = {
        "head": torch.cat([torch.stack([view.fields(m, h) for h in range(HEADS)]) for m in (1, 2)]),
        "random group": torch.cat(
            [torch.stack([view.fields(m, h, "random") for h in range(HEADS)]) for m in (1, 2)]
        ),
    }
    figure = head_explorer.shown_heads(rows, 0.5)
    assert len(figure.axes) == 12
    for ax, M in zip(figure.axes, [*rows["head"][:6], *rows["random group"][:6]], strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), kinds_first(M.float(), 0.5))
        B = clip(M, 0.5)
        assert ax.get_title("left") == f"{len(clusters(B))} clusters\nnoise {noise(B).n}"
    assert [ax.get_ylabel() for ax in figure.axes[::6]] == ["head", "random group"]
    narrow = [ax.get_ylabel() for ax in figure.for_phone().axes]
    assert narrow == ["head", "", ""] * 2 + ["random group", "", ""] * 2


def test_both_panels_are_drawn_in_each_way(view):
    for how in SHOWN:
        figure = head_explorer.head_and_group(view, 4, 2, 0.4, how)
        for ax, side in zip(figure.axes, SIDES, strict=True):
            M = view.fields(4, 2, side)
            B = clip(M, 0.4).numpy()
            expected = {"fields": M / M.max(), "clipped": classify(B, clusters(B))}
            shown = np.asarray(ax.images[0].get_array())
            np.testing.assert_allclose(shown, expected.get(how, kinds_first(M, 0.4)))
        assert len({ax.images[0].get_clim() for ax in figure.axes}) == 1


def test_the_widgets_follow_every_control(view):
    *controls, picture, caption = head_explorer.explore_heads(view, 0.4).live().children
    encoder, head, threshold, how = controls
    assert (encoder.value, head.value, threshold.value, how.value) == (4, 0, 0.4, "clusters first")
    seen = [picture.value]
    for control, value in ((encoder, 2), (head, 3), (threshold, 0.7), (how, "fields")):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 5
    assert "Random group 3 of encoder 2 at threshold 0.70" in caption.value
    assert "&lt;/" in caption.value


def test_the_threshold_goes_as_far_as_the_one_that_is_given(view):
    for given, expected in ((0.3, (0.3, 0.1, 0.9)), (0.05, (0.05, 0.05, 0.9)), (0.999, (0.99, 0.1, 0.99))):
        explorer = head_explorer.explore_heads(view, given)
        slider = explorer.live().children[2]
        assert (slider.value, slider.min, slider.max) == expected
        held = content(explorer.html())
        assert tuple(held[end] / 100 for end in ("threshold", "least", "most")) == expected


def test_the_page_asks_for_nothing_and_is_small():
    wide = {m: reading(m, 100, 64) for m in (1, 2, 3, 4)}
    html = head_explorer.explore_heads(head_explorer.view_of(wide, HEADS)).html()
    assert len(html) < 250_000
    assert not re.search(r"https?://|//cdn|@import|\bsrc=|\bfetch\(", html)
    assert [one["number"] for one in content(html)["encoders"]] == [1, 2, 3, 4]


@pytest.fixture
def opened(chromium, set_control, view):
    html = head_explorer.explore_heads(view, 0.4).html()
    control = set_control(html)
    chromium.execute_script("window.view = window.filterwiseHeads.read(arguments[0])", content(html))
    return chromium, control


ANALYSE = """
const found = window.filterwiseHeads.analyse(window.view, ...arguments);
return [found.found, found.order, Array.from(found.kinds), Array.from(found.M)];
"""


@pytest.mark.browser
def test_matrices_clusters_and_noise_in_the_page_are_the_librarys(opened, view):
    page, _ = opened
    sizes = set()
    for at, m in enumerate(view.mu):
        for h in range(HEADS):
            for side in SIDES:
                M = view.fields(m, h, side)
                for step in (10, 29, 30, 57, 90):
                    found, order, kinds, fields = page.execute_script(ANALYSE, side, at, h, step)
                    B = clip(M, step / 100).numpy()
                    here = clusters(B)
                    assert fields == M.flatten().tolist()
                    assert [tuple(members) for members in found] == here
                    assert order == permutation(here, K)
                    assert kinds == classify(B, here).ravel().tolist()
                    sizes |= {len(members) for members in here}
    assert {1, 2} < sizes


@pytest.mark.browser
def test_an_entry_at_the_threshold_is_no_one_in_the_page_as_in_the_library(opened):
    page, _ = opened
    even = reading(0, 2, 10)
    even.mu[:], even.weight[:] = 1.0, 1.0
    even.mu[1, 3:] = 0.0  # the second row has 3 tenths of the first
    view = head_explorer.view_of({1: even}, 1)
    page.execute_script(
        "window.view = window.filterwiseHeads.read(arguments[0])", content(head_explorer.twin_html(view))
    )
    for step, expected in ((29, [(0, 1)]), (30, [(0,)])):
        assert clusters(clip(view.fields(1, 0), step / 100)) == expected
        found, *_ = page.execute_script(ANALYSE, "own", 0, 0, step)
        assert [tuple(members) for members in found] == expected


COLOURS = """
const c = document.querySelector('canvas[data-fw=' + arguments[0] + ']'), g = c.getContext('2d');
const labels = arguments[1], cell = (c.clientWidth - 16) / labels, scale = c.width / c.clientWidth;
const found = [];
for (let i = 0; i < labels; i++) for (let j = 0; j < labels; j++) {
  const at = (place) => Math.floor(scale * (14 + (place + 0.5) * cell));
  found.push(Array.from(g.getImageData(at(j), at(i), 1, 1).data));
}
return found;
"""
KINDS = {(15, 127, 192): SIGNAL, (204, 122, 0): INTERNAL, (187, 84, 148): EXTERNAL}


@pytest.mark.browser
def test_what_is_drawn_and_said_is_what_the_library_finds(opened, view):
    page, control = opened
    page.execute_script("delete document.documentElement.dataset.theme")
    for at, m, h, step in ((0, 1, 3, 30), (2, 4, 0, 55)):
        for name, value in (("encoder", at), ("head", h), ("threshold", step)):
            control(name, value)
        for side in SIDES:
            M = view.fields(m, h, side)
            B = clip(M, step / 100).numpy()
            control("how", "clusters first")
            drawn = [
                KINDS[tuple(rgb)] if alpha == 255 else 0
                for *rgb, alpha in page.execute_script(COLOURS, side, K)
            ]
            assert drawn == kinds_first(M, step / 100).ravel().tolist()
            assert set(drawn) >= {0, SIGNAL}
            control("how", "clipped")
            drawn = page.execute_script(COLOURS, side, K)
            assert [alpha == 255 for *_, alpha in drawn] == B.ravel().tolist()
            control("how", "fields")
            *_, alpha = np.array(page.execute_script(COLOURS, side, K)).T
            share = (M.abs() / M.max()).clamp(max=1).ravel().numpy()
            np.testing.assert_allclose(alpha / 255, share, atol=0.005)
            says = f"return document.querySelector('[data-fw={side}-says]').textContent"
            assert page.execute_script(says) == view.says(m, h, step / 100, side)
            label = f"return document.querySelector('[data-fw={side}]').getAttribute('aria-label')"
            assert page.execute_script(label) == f"Label matrix, fields. {view.says(m, h, step / 100, side)}"


@pytest.mark.browser
def test_keys_move_the_sliders_and_every_control_has_a_name(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page, control = opened
    ends = "const e = document.querySelector('input[data-fw=threshold]'); return [e.min, e.value, e.max]"
    assert page.execute_script(ends) == ["10", "40", "90"]
    for name, key, spoken in (
        ("encoder", Keys.ARROW_LEFT, "2"),
        ("head", Keys.ARROW_RIGHT, "1"),
        ("threshold", Keys.ARROW_RIGHT, "0.41"),
    ):
        slider = page.find_element(By.CSS_SELECTOR, f"input[data-fw={name}]")
        slider.send_keys(key)
        assert slider.get_attribute("aria-valuetext") == spoken
    says = page.find_element(By.CSS_SELECTOR, "[data-fw=own-says]").text
    assert says.startswith("Head 1 of encoder 2 at threshold 0.41")
    unnamed = "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).length"
    assert page.execute_script(unnamed) == 0
    shown = "return [...document.querySelectorAll('.fw-legend')].map((e) => e.checkVisibility())"
    assert page.execute_script(shown) == [True, False]
    control("how", "fields")
    assert page.execute_script(shown) == [False, True]


@pytest.mark.browser
def test_keys_read_an_entry_on_both_sides(opened, view):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page, control = opened
    for name, value in (("encoder", 0), ("head", 3), ("threshold", 30), ("how", "clusters first")):
        control(name, value)
    canvas = page.find_element(By.CSS_SELECTOR, "canvas[data-fw=random]")
    canvas.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    M = {side: view.fields(1, 3, side) for side in SIDES}
    order = permutation(clusters(clip(M["random"], 0.3)), K)
    i, j = order[2], order[1]
    own, random = (float(M[side][i, j] / M[side].max()) for side in SIDES)
    said = page.execute_script("return document.querySelector('[data-fw=cell]').textContent")
    assert said.startswith(f"Input {NAMES[i]}, output {NAMES[j]}: head {own:.2f} of the largest, ")
    assert f"; random group {random:.2f} of the largest, " in said


@pytest.mark.browser
def test_a_dark_page_has_its_own_colours(opened):
    page, _ = opened
    page.execute_script("document.documentElement.dataset.theme = 'dark'")
    for side in SIDES:
        for _ in range(50):
            colours = {tuple(rgb) for *rgb, alpha in page.execute_script(COLOURS, side, K) if alpha == 255}
            if (59, 163, 230) in colours:
                break
            time.sleep(0.05)
        assert (59, 163, 230) in colours
        assert not colours & set(KINDS)
