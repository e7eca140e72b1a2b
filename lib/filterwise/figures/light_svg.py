"""Matplotlib's SVG without what no reader sees: the same picture in about half of the bytes."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter

_UNSEEN = re.compile(
    r"<!--.*?-->|<!DOCTYPE.*?>|<\?xml.*?\?>|<metadata>.*?</metadata>|(?<=[>\n])\s+"
    r"| id=\"(?:[A-Za-z]+_\d+|matplotlib\.axis_\d+)\"| version=\"1\.1\"",
    re.DOTALL,
)
# The ground of a figure or panel that has none: drawn with neither filling nor line.
_GROUND = re.compile(r'<path d="[^"]*" style="fill: none"/>')
_PATH = re.compile(r' d="([^"]*)"')
_STYLE = re.compile(r' style="([^"]*)"')
# Scales are left as they are: glyphs are thousands of units wide before they are scaled.
_LONG = re.compile(r'scale\([^)]*\)|(?<=[ "(])-?\d+\.\d+(?=[ \n"),])')
_SET = re.compile(r'<use xlink:href="#([^"]+)" transform="translate\(([-\d.]+)(?:[ ,]+([-\d.]+))?\)"/>')
_TAG = re.compile(r"<(/?)g( [^>]*?)?(/?)>")
_PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_MOST_COLORS = 256
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lighter(svg: str) -> str:
    """The same picture: no comments, no groups without an effect, places to a hundredth of a point.

    Styles that repeat become classes, names become short, and embedded images of up to 256 colours get a
    palette, which loses nothing.

    >>> lighter('<svg>\\n<g>\\n<path d="M 1.23456 2 \\nL 3 4 \\n" style="stroke: #000000"/>\\n</g>\\n</svg>')
    '<svg><path d="M1.23 2L3 4" style="stroke:#000000"/></svg>'
    """
    text = _GROUND.sub("", _UNSEEN.sub("", svg))
    text = _LONG.sub(lambda found: found[0] if found[0][0] == "s" else _short(found[0]), text)
    text = _PATH.sub(lambda found: f' d="{_path(found[1])}"', text)
    text = _STYLE.sub(lambda found: f' style="{re.sub(r"(?<=[:;]) ", "", found[1])}"', text)
    text = _SET.sub(_placed, text).replace("xlink:href=", "href=")
    text = _PNG.sub(lambda found: f"data:image/png;base64,{_with_palette(found[1])}", text)
    text = _without_bare_groups(text.replace("\n", ""))
    return _with_short_names(_with_classes(text))


def _short(number: str) -> str:
    return f"{float(number):.2f}".rstrip("0").rstrip(".")


def _path(text: str) -> str:
    """A path's letters and numbers with single separators, none beside a letter or before a minus."""
    return re.sub(r" ?([A-Za-z]) ?| (?=-)", r"\1", " ".join(text.split()))


def _placed(found: re.Match[str]) -> str:
    along = f' x="{found[2]}"' if float(found[2]) else ""
    up = f' y="{found[3]}"' if found[3] and float(found[3]) else ""
    return f'<use xlink:href="#{found[1]}"{along}{up}/>'


def _without_bare_groups(text: str) -> str:
    """Take away each ``<g>`` without attributes, together with its end."""
    parts: list[str] = []
    kept: list[bool] = []
    last = 0
    for found in _TAG.finditer(text):
        parts.append(text[last : found.start()])
        last = found.end()
        if found[3]:
            continue  # an empty group draws nothing
        if found[1]:
            parts.append("</g>" if kept.pop() else "")
        else:
            kept.append(bool(found[2]))
            parts.append(found[0] if kept[-1] else "")
    return "".join([*parts, text[last:]])


def _name(place: int) -> str:
    """Names in order: a, b, ..., z, ba, bb, ...

    >>> _name(0), _name(25), _name(26)
    ('a', 'z', 'ba')
    """
    before = _name(place // len(_LETTERS)) if place >= len(_LETTERS) else ""
    return before + _LETTERS[place % len(_LETTERS)]


def _with_classes(text: str) -> str:
    """Styles that stand there at least three times as classes of the figure's own style sheet."""
    often = [style for style, count in Counter(_STYLE.findall(text)).most_common() if count >= 3]
    if "</style>" not in text or not often:
        return text
    names = {style: _name(place) for place, style in enumerate(often)}
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    text = _STYLE.sub(lambda found: f' class="{names[found[1]]}"' if found[1] in names else found[0], text)
    return text.replace("</style>", f"{rules}</style>", 1)


def _with_short_names(text: str) -> str:
    """Identifiers of glyphs, markers and clip paths in one or two letters."""
    found = dict.fromkeys(re.findall(r' id="([^"]+)"', text))
    names = {name: _name(place) for place, name in enumerate(found)}
    text = re.sub(r' id="([^"]+)"', lambda one: f' id="{names[one[1]]}"', text)
    return re.sub(r'(url\(|href=")#([^")]+)', lambda one: f"{one[1]}#{names.get(one[2], one[2])}", text)


def _with_palette(encoded: str) -> str:
    """A PNG, base 64, with a palette where its colours are few enough and it gets shorter."""
    import numpy as np
    from PIL import Image

    given = base64.b64decode(encoded)
    pixels = np.asarray(Image.open(io.BytesIO(given)).convert("RGBA"))
    colors, places = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    shorter = given
    if len(colors) <= _MOST_COLORS:
        height, width = pixels.shape[:2]
        indexed = Image.frombytes("P", (width, height), places.astype(np.uint8).tobytes())
        indexed.putpalette(colors[:, :3].reshape(-1).tolist())
        out = io.BytesIO()
        indexed.save(out, "png", optimize=True, transparency=bytes(colors[:, 3].tolist()))
        shorter = min(given, out.getvalue(), key=len)
    return base64.b64encode(shorter).decode()
