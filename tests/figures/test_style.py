"""The look: legible on both pages, told apart without full colour vision, no trace left in matplotlib."""

import base64
import itertools
import re

import matplotlib as mpl
import numpy as np
import pytest

from filterwise.figures import book_figure, style

NETWORKS = (
    "vgg6", "vgg8", "vgg11", "vgg13", "vgg14", "vgg16", "avgg6", "avgg8", "avgg13", "avgg14", "avgg16",
    "lenet5", "tree3", "cct", "rodib", "efficientnet_b0", "vgg", "something_else",
)  # fmt: skip

# Machado, Oliveira and Fernandes 2009, full severity, for linear RGB.
VISION = {
    "full": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
NOTICEABLE = 10.0  # CIE76; 2.3 is just noticeable side by side


def lab(color: str, vision: str) -> np.ndarray:
    values = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ seen / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(first: str, second: str, vision: str) -> float:
    return float(np.linalg.norm(lab(first, vision) - lab(second, vision)))


@pytest.mark.parametrize(
    "color", [style.INK, *(style.look(name).color for name in NETWORKS), *style.steps(7)]
)
def test_colors_are_legible_on_light_and_dark_pages(color: str) -> None:
    assert style.contrast(color, style.LIGHT_PAGE) >= 3
    assert style.contrast(color, style.DARK_PAGE) >= 3


@pytest.mark.parametrize("vision", VISION)
def test_what_one_figure_tells_apart_by_colour_differs_for_every_reader(vision: str) -> None:
    kinds = (style.SIGNAL, style.INTERNAL, style.EXTERNAL)
    families = [style.look(name).color for name in ("vgg8", "avgg8", "lenet5")]
    for group in (kinds, families, (style.RED, style.TEAL)):
        for first, second in itertools.combinations(group, 2):
            assert distance(first, second, vision) > NOTICEABLE


def test_networks_of_one_family_differ_in_marker_and_no_two_known_ones_look_alike() -> None:
    looks = {name: style.look(name) for name in NETWORKS[:-1]}
    assert len(set(looks.values())) == len(looks)
    assert len({looks[name].marker for name in NETWORKS[:6]}) == 6


def test_an_unknown_network_keeps_its_look_and_case_does_not_matter() -> None:
    assert style.look("mynet") == style.look("mynet") == style.look("MyNet")


@book_figure.drawn
def line() -> book_figure.BookFigure:
    figure, (ax,) = book_figure.panels()
    ax.plot([1, 2, 4], marker="o")
    figure.alt = "a line that rises"
    return figure


def test_figures_have_no_ground_and_leave_matplotlib_as_it_was() -> None:
    before = {name: value for name, value in mpl.rcParams.items() if name != "backend"}
    figure = line()
    svg = figure.svg()
    assert {name: mpl.rcParams[name] for name in before} == before
    ground = svg.split('<g id="patch_1">')[1].split("</g>")[0]
    assert "fill: none" in ground
    assert "#ffffff" not in svg


def test_the_same_numbers_give_the_same_file_and_the_description_travels_with_it() -> None:
    assert line().svg() == line().svg()
    data = line()._repr_mimebundle_()
    assert 'alt="a line that rises"' in data["text/html"]
    assert data["text/plain"] == "a line that rises"


@book_figure.drawn
def row(count: int = 3) -> book_figure.BookFigure:
    figure, axes = book_figure.panels(count, columns=3, height=2.0, sharey=True)
    for place, ax in enumerate(axes):
        ax.plot([0, 1], [place, 1], label=f"a name of some length, {place}")
    axes[0].set_ylabel("share")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def test_a_phone_gets_the_same_panels_below_each_other_at_a_size_that_can_be_read() -> None:
    page = row()
    assert page.for_phone is not None
    phone = page.for_phone()
    for figure in (page, phone):
        figure.draw_without_rendering()
    beside, below = ([ax.get_position() for ax in figure.axes] for figure in (page, phone))
    assert len({round(place.y0, 3) for place in beside}) == 1
    assert [place.y0 for place in below] == sorted((place.y0 for place in below), reverse=True)
    assert len({round(place.x0, 3) for place in below}) == 1
    assert phone.get_figwidth() == book_figure.PHONE_WIDTH
    assert [ax.get_ylabel() for ax in phone.axes] == ["share"] * 3  # a shared axis is named on each panel
    drawn = [[line.get_ydata().tolist() for line in ax.lines] for ax in page.axes]
    assert drawn == [[line.get_ydata().tolist() for line in ax.lines] for ax in phone.axes]


def test_both_layouts_are_in_the_page_and_keep_their_places_to_a_hundredth_of_a_point() -> None:
    html = row().html("three lines")
    sources = re.findall(r'(?:src|srcset)="data:image/svg\+xml;base64,([^"]+)"', html)
    widths = [float(re.search(r'width="([\d.]+)pt"', base64.b64decode(text).decode())[1]) for text in sources]
    assert widths == pytest.approx([72 * book_figure.PHONE_WIDTH, 72 * book_figure.WIDTH], abs=0.01)
    assert f"(max-width: {book_figure.PHONE_PIXELS}px)" in html
    assert "scale(0.015625)" in base64.b64decode(sources[1]).decode()  # glyphs are not rounded


def test_spare_places_of_a_grid_are_taken_away() -> None:
    assert [len(figure.axes) for figure in (row(4), row(4).for_phone())] == [4, 4]
