"""One look for every figure: readable on light and on dark pages, safe for colour-blind readers.

Figures have no ground of their own. Text and axes are a grey whose contrast is at least 3 : 1 on white and
on the dark page, and every colour lies between the two in lightness. A network has the same colour and marker
in all chapters, so that no figure tells networks apart by colour alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

# Pages that figures are shown on: the theme's light and dark grounds.
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#121212"

INK = "#6e6e6e"
BLUE, ORANGE, GREEN, MAGENTA = "#0f7fc0", "#cc7a00", "#0d8f63", "#bb5494"
OCHRE, TEAL, RED = "#95812a", "#1b8f9e", "#cf4f3c"

#: What a 1 of a clipped matrix is: in a cluster, internal noise, external noise.
SIGNAL, INTERNAL, EXTERNAL = BLUE, ORANGE, MAGENTA

# Two families differ in hue, depth within a family in lightness and marker.
_FAMILIES = {"vgg": ("#4596d8", "#1d68b3"), "avgg": ("#d47a44", "#b34c16")}
_DEPTHS = {"6": "o", "8": "s", "11": "v", "13": "D", "14": "^", "16": "P"}
_SINGLE = {
    "lenet5": (GREEN, ">"),
    "lenet5d18": (TEAL, "v"),
    "lenet5d111": (BLUE, "^"),
    "tree3": (RED, "D"),
    "tree3616": (RED, "D"),
    "tree31516": (ORANGE, "s"),
    "tree31580": (MAGENTA, "o"),
    "tentree31580": (OCHRE, "P"),
    "cct": (MAGENTA, "s"),
    "rodib": (OCHRE, "^"),
    "efficientnet_b0": (TEAL, "v"),
    "vgg": (BLUE, "X"),
    "vggsix": (BLUE, "o"),
    "vggmini": (BLUE, "o"),
}
_SPARE = ((RED, "<"), (BLUE, "8"), (GREEN, "p"), (OCHRE, "h"), (TEAL, "d"), (MAGENTA, "*"))

#: Matplotlib's settings of the book.
PARAMETERS: dict[str, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "svg.fonttype": "path",
    "svg.hashsalt": "filterwise",  # the same numbers give the same file
}


class Look(NamedTuple):
    """How a network is drawn."""

    color: str
    marker: str


def look(network: str) -> Look:
    """Colour and marker of a network, the same in every chapter.

    Networks that the book knows have a place of their own; any other name gets one of six spare looks, always
    the same one.

    >>> look("vgg16").color == look("VGG-16").color
    True
    >>> look("vgg6").marker == look("avgg6").marker, look("vgg6").color == look("avgg6").color
    (True, False)
    """
    name = re.sub(r"[^a-z0-9_]", "", network.lower())
    name = re.sub(r"^tree3\d+$", lambda found: found[0] if found[0] in _SINGLE else "tree3", name)
    if name in _SINGLE:
        return Look(*_SINGLE[name])
    found = re.fullmatch(r"(a?vgg)m?(\d+)", name)
    if found and found[2] in _DEPTHS:
        light, dark = _FAMILIES[found[1]]
        share = list(_DEPTHS).index(found[2]) / (len(_DEPTHS) - 1)
        return Look(_between(light, dark, share), _DEPTHS[found[2]])
    digest = hashlib.sha256(name.encode()).digest()
    return Look(*_SPARE[digest[0] % len(_SPARE)])


def looks(networks: Sequence[str]) -> list[Look]:
    """The looks of the networks of one picture: as :func:`look`, but no colour twice while there are others.

    >>> names = ["net a", "net b", "net c", "net d", "net e", "net f", "net g"]
    >>> len({one.color for one in looks(names)})
    7
    >>> looks(["vgg6", "avgg6"]) == [look("vgg6"), look("avgg6")]
    True
    """
    found: list[Look] = []
    for own in map(look, networks):
        taken = {other.color for other in found}
        free = [color for color in (RED, BLUE, GREEN, OCHRE, TEAL, MAGENTA, ORANGE) if color not in taken]
        found.append(Look(free[0], own.marker) if own.color in taken and free else own)
    return found


def contrast(color: str, page: str) -> float:
    """Contrast ratio of two colours as the Web Content Accessibility Guidelines define it, 1 to 21.

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    bright, dim = sorted((_luminance(color), _luminance(page)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def steps(count: int) -> list[str]:
    """``count`` colours for an ordered quantity such as the layer, first to last, legible on both pages.

    >>> len(steps(6))
    6
    """
    stops = ("#b3862b", "#b8567c", "#4b63b8")  # ochre, magenta, blue: ordered in hue, alike in lightness
    if count == 1:
        return [stops[-1]]
    places = [2 * index / (count - 1) for index in range(count)]
    return [_between(stops[min(int(x), 1)], stops[min(int(x), 1) + 1], x - min(int(x), 1)) for x in places]


def marked(count: int) -> list[Look]:
    """Looks for ``count`` lines of an ordered quantity: a colour of :func:`steps` and a marker each.

    >>> len(set(marked(9)))
    9
    """
    return [Look(color, "osD^vPX"[place % 7]) for place, color in enumerate(steps(count))]


def _luminance(color: str) -> float:
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in _rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _between(first: str, last: str, share: float) -> str:
    mixed = (a + (b - a) * share for a, b in zip(_rgb(first), _rgb(last), strict=True))
    return "#" + "".join(f"{round(255 * value):02x}" for value in mixed)
