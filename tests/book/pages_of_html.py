"""Links, anchors and what a page loads, read out of its HTML."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class Page(HTMLParser):
    """One parsed page: its anchors, its links, and the addresses that a browser fetches by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.anchors += [value for name in ("id", "name") if (value := given.get(name))]
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in {"script", "img", "source", "iframe", "video", "audio"} and given.get("src"):
            self.loaded.append(str(given["src"]))
        if tag == "link" and given.get("href"):
            # these name pages; everything else is fetched
            named = given.get("rel") in {"index", "search", "next", "prev", "canonical"}
            (self.links if named else self.loaded).append(str(given["href"]))
        if tag == "img":
            self.images.append(given)


@cache
def parsed(path: Path) -> Page:
    """The page, parsed once."""
    return Page(path)


def is_outside(address: str) -> bool:
    """Whether an address leaves the book."""
    return bool(urlsplit(address).scheme or urlsplit(address).netloc)


def broken(page: Page) -> list[str]:
    """Links into the book that lead nowhere: no such file, or no such anchor in it."""
    found = []
    for link in page.links:
        if is_outside(link):
            continue
        address, anchor = urldefrag(link)
        target = (page.path.parent / unquote(urlsplit(address).path)).resolve() if address else page.path
        if not target.is_file() or (
            anchor and target.suffix == ".html" and unquote(anchor) not in parsed(target).anchors
        ):
            found.append(link)
    return found
