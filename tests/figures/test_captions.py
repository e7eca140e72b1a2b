"""What stands around figures: numbers, captions, descriptions, tables as readers want them, pictures."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from filterwise import figures
from filterwise.errors import ParameterError
from filterwise.figures.captions import NotYet, Shown
from filterwise.figures.twin import Twin


def cells(html: str) -> list[str]:
    return re.findall(r"<td[^>]*>(.*?)</td>", html)


def test_a_caption_is_seen_and_is_the_description_unless_another_is_given() -> None:
    drawn = figures.cluster_sizes({"vgg6": [1, 2]})
    html = figures.captioned(drawn, "Noise *halves* where a < b.", "fig-noise", "Figure 4.3").html
    assert 'id="fig-noise" data-number="Figure 4.3"' in html
    assert "<strong>Figure 4.3.</strong> Noise <em>halves</em> where a &lt; b.</figcaption>" in html
    assert 'alt="Noise halves where a &lt; b."' in html
    assert 'alt="bars"' in figures.captioned(drawn, "Noise.", alt="bars").html
    assert html.count("<img") == 1
    assert figures.captioned([drawn, drawn], "Two.").html.count("<img") == 2


def test_an_explorer_keeps_its_caption_with_and_without_a_kernel() -> None:
    import ipywidgets as widgets

    twin = Twin(lambda: widgets.IntSlider(), lambda: "<p>twin</p>")
    found = figures.captioned(twin, "Move it.", "fig-move", "Figure 1.1")
    assert isinstance(found, Twin)
    assert found.html().startswith('<figure class="fw-figure"')
    assert "<p>twin</p>" in found.html()
    slider, caption = found.live().children
    assert isinstance(slider, widgets.IntSlider)
    assert "Figure 1.1" in caption.value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"caption": " "}, "caption is empty"),
        ({"caption": "a", "name": "noise"}, "must be fig-"),
        ({"caption": "a", "name": "fig-Noise"}, "must be fig-"),
    ],
)
def test_a_figure_without_caption_or_with_a_bad_name_is_refused(options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        figures.captioned(Shown("<p>", "p"), **options)


def test_tables_have_whole_numbers_whole_and_nothing_where_nothing_is_known() -> None:
    table = pd.DataFrame(
        {"images": [20000.0, np.nan], "lr": [0.0004, 0.1], "late": [True, False], "gain": [-0.0123, None]}
    )
    found = cells(figures.shown(table, digits={"gain": 2}).html)
    assert found == ["20,000", "0.0004", "yes", "−0.01", "", "0.100", "no", ""]
    assert "nan" not in repr(figures.shown(table)).lower()


def test_heads_of_rows_and_columns_are_heads_and_words_are_escaped() -> None:
    table = pd.DataFrame({"a<b": [1]}, index=pd.Index(["x & y"], name="arm"))
    html = figures.shown(table).html
    assert '<th scope="row">x &amp; y</th>' in html
    assert '<th scope="col">arm</th><th scope="col">a&lt;b</th>' in html
    assert "<th" not in re.sub(r'<th scope="(row|col)">[^<]+</th>', "", html).replace("<thead", "")
    levels = pd.DataFrame({"n": [1, 2]}, index=pd.MultiIndex.from_tuples([("V", 1), ("L2", 2)]))
    assert re.findall(r'<th scope="row">(.*?)</th>', figures.shown(levels).html) == ["V", "1", "L2", "2"]
    assert 'scope="row"' not in figures.shown(pd.DataFrame({"n": [1, 2]})).html


def test_what_is_not_recorded_is_a_line() -> None:
    assert repr(NotYet("Run it.")) == "Not recorded yet. Run it."
    assert NotYet("Run `a`.").html == (
        '<p class="fw-not-yet"><em>Not recorded yet. Run <code>a</code>.</em></p>'
    )


def test_every_picture_is_drawn_above_its_name_unsmoothed() -> None:
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    figure = figures.picture_strip(images, ["cat", "dog"])
    assert [ax.get_title() for ax in figure.axes] == ["cat", "dog"]
    for ax, image in zip(figure.axes, images, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), np.moveaxis(image.numpy(), 0, -1))
        assert ax.images[0].get_interpolation() == "nearest"
    with pytest.raises(ParameterError, match="2 images and 1 names"):
        figures.picture_strip(images, ["cat"])
