"""Light SVG draws the same picture."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.light_svg import lighter


@drawn
def figure() -> BookFigure:
    made, (left, right) = panels(2, columns=2)
    left.errorbar([1, 2, 3], [0.12345, 0.2, 0.3], [0.01, 0.02, 0.03], marker="o", label="one (−1)")
    left.legend()
    image = right.imshow(np.arange(9).reshape(3, 3), interpolation="none")
    made.colorbar(image, ax=right, ticks=[])
    right.fill_between([0, 1], [0, 1], alpha=0.3)
    right.fill_between([], [])  # leaves an empty group
    made.alt = "Two panels."
    return made


def numbers(path: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", path)]


def test_every_path_is_there_with_the_same_numbers_to_a_hundredth() -> None:
    before, after = figure().svg(), lighter(figure().svg())
    assert len(after) < 0.75 * len(before)
    drawings = [
        one for one in re.findall(r'<path\b[^>]*? d="([^"]*)"([^>]*)', before) if 'fill: none"/' not in one[1]
    ]
    kept = re.findall(r'<path\b[^>]*? d="([^"]*)"', after)
    assert len(kept) == len(drawings)
    for (old, _), new in zip(drawings, kept, strict=True):
        assert numbers(new) == pytest.approx(numbers(old), abs=0.0051)
        assert re.sub(r"[^A-Za-z]", "", new) == re.sub(r"[^A-Za-z]", "", re.sub(r"e-?\d+", "", old))


def test_it_is_whole_and_every_name_and_class_that_is_used_is_there() -> None:
    text = lighter(figure().svg())
    assert re.search(r"<g[^>]*/>", figure().svg())  # an empty group, which must not be taken for an open one
    ET.fromstring(text)
    names = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= names
    rules = set(re.findall(r"\.([a-z]+)\{", text))
    assert set(re.findall(r' class="([^"]+)"', text)) == rules
    assert "<title>Two panels.</title>" in text


def test_scales_of_glyphs_are_not_rounded() -> None:
    text = lighter(figure().svg())
    assert "scale(0.015625)" in text
    assert "scale(0.095 -0.095)" in text


@pytest.mark.parametrize("colors", [2, 200, 5000])
def test_embedded_images_keep_every_pixel(colors: int) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (colors, 4), dtype=np.uint8)
    pixels = palette[rng.integers(0, colors, (64, 80))]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    found = re.search(r"base64,([^\"]+)", lighter(f'<image href="data:image/png;base64,{encoded}"/>'))
    assert found is not None
    after = base64.b64decode(found[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(after)).convert("RGBA")), pixels)
    assert len(after) <= len(buffer.getvalue())
