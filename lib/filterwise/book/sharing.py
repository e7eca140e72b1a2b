"""What search engines and links elsewhere show of a page: its description, and a picture of the book."""

from __future__ import annotations

import re
from html import escape, unescape

LONGEST = 160  # letters, about what search engines show
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_QUESTION = re.compile(r">question</th><td[^>]*>(.*?)</td>", re.DOTALL)


def description(body: str) -> str:
    """The page's question and its first paragraph, in at most 160 letters.

    >>> description("<h1>One</h1><p><em>Seven papers</em>, re-run&amp;measured with all their controls.</p>")
    'Seven papers, re-run&measured with all their controls.'
    """
    found = [*_QUESTION.findall(body)[:1], *_PARAGRAPH.findall(body)]
    texts = [" ".join(unescape(re.sub(r"<[^>]+>|\\[()]", "", text)).split()) for text in found]
    said = ""
    for text in texts:
        if len(text) < 20 or (said and len(said) > LONGEST // 2):
            continue
        said = f"{said} {text}".strip()
        if len(said) >= LONGEST // 2:
            break
    if len(said) <= LONGEST:
        return said
    return said[: LONGEST - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"


def tags(title: str, body: str, book: str, picture: str = "", address: str = "") -> str:
    """HTML for a page's head; no address of a host is made up.

    Parameters
    ----------
    title, body : of the page, as HTML.
    book : title of the book.
    picture, address : of the book and of the page, whole, as who reads these has no page that they could be
        relative to; empty where it is not known where the book stands.
    """
    plain = " ".join(unescape(re.sub(r"<[^>]+>", "", title)).split())
    said = description(body)
    named = {"og:type": "article", "og:site_name": book, "og:title": plain}
    named |= {"og:url": address, "og:image": picture}
    lines = [
        f'<meta property="{name}" content="{escape(value)}" />' for name, value in named.items() if value
    ]
    if said:
        lines.insert(0, f'<meta name="description" content="{escape(said)}" />')
        lines.append(f'<meta property="og:description" content="{escape(said)}" />')
    card = "summary_large_image" if picture else "summary"
    lines.append(f'<meta name="twitter:card" content="{card}" />')
    return "\n".join(lines) + "\n"
