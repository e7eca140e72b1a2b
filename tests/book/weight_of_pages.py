"""What a page loads from the disk, as a browser reports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

#: Bytes a page may load: itself, scripts, styles, fonts, and the pictures that it shows.
BUDGET = 2_000_000


def files_of(events: list[dict[str, Any]]) -> dict[Path, int]:
    """File -> bytes, of the network's events of one visit."""
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    paths = {Path(unquote(urlsplit(address).path)) for address in asked if address.startswith("file:")}
    return {path: path.stat().st_size for path in paths if path.is_file()}


def events_of(browser: Any) -> list[dict[str, Any]]:
    """The network's events since they were last asked for."""
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
