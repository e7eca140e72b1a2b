"""The look: legible on both pages, told apart without full colour vision, no trace left in matplotlib."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest

from filterwise.figures import style

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


def test_figures_have_no_ground_and_leave_matplotlib_as_it_was() -> None:
    before = {name: value for name, value in mpl.rcParams.items() if name != "backend"}
    with style.context():
        figure = style.new()
        figure.subplots().plot([0, 1], [0, 1])
    svg = figure.svg()
    assert {name: mpl.rcParams[name] for name in before} == before
    ground = svg.split('<g id="patch_1">')[1].split("</g>")[0]
    assert "fill: none" in ground
    assert "#ffffff" not in svg


def test_the_same_numbers_give_the_same_file_and_the_description_travels_with_it() -> None:
    def draw() -> style.BookFigure:
        with style.context():
            figure = style.new()
            figure.subplots().plot([1, 2, 4], marker="o")
        figure.alt = "a line that rises"
        return figure

    assert draw().svg() == draw().svg()
    data, about = draw()._repr_mimebundle_()
    assert "a line that rises" in data["image/svg+xml"]
    assert about == {"image/svg+xml": {"alt": "a line that rises"}}
