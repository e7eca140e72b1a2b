"""A chapter in a real JupyterLab: all cells run, the prose is set, a slider moves its picture by key."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHAPTER = "4-sfp"
TOKEN = "only-for-this-test"
# All cells are in the page at once, so that what is below the window can be read.
SETTINGS = {"notebook-extension/tracker": {"windowingMode": "none"}}
PROSE = (
    "return [...document.querySelectorAll('.jp-MarkdownCell')].map((cell) =>"
    " (cell.querySelector('.jp-MarkdownOutput, .jp-RenderedMarkdown, .myst') || cell).innerText)"
)
RUN_ALL = (
    "window.fwDone = ''; window.jupyterapp.commands.execute('notebook:run-all-cells')"
    ".then((good) => { window.fwDone = 'ran ' + good; }, (error) => { window.fwDone = 'failed ' + error; })"
)
KERNEL = (
    "const widget = window.jupyterapp && window.jupyterapp.shell.currentWidget;"
    "const session = widget && widget.sessionContext && widget.sessionContext.session;"
    "return session && session.kernel ? session.kernel.status : ''"
)


def wait(what: str, is_so: Callable[[], Any], seconds: float) -> Any:
    """The first true answer of ``is_so``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.2)
    return pytest.fail(f"{what}: not within {seconds:g} s")


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab on a copy of the chapters, with folders of its own but the checkout's runs:
    a run that the book has made is read back, as it is when a reader opens the chapter again."""
    home = tmp_path_factory.mktemp("lab")
    for folder in ("chapters", "book"):
        shutil.copytree(root / folder, home / "work" / folder, ignore=shutil.ignore_patterns(".*"))
    for name, content in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **own}
    environment.pop("FILTERWISE_STATIC", None)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--allow-root", f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={home / 'work'}", f"--LabApp.user_settings_dir={home / 'settings'}",
        f"--LabApp.workspaces_dir={home / 'workspaces'}", "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    with (home / "log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait("JupyterLab answers", lambda: answers() or server.poll() is not None, 60)
            assert server.poll() is None, (home / "log").read_text(encoding="utf-8")[-2000:]
            yield address
        finally:
            server.terminate()  # it ends its kernels
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture(scope="module")
def notebook(lab: str, chromium: Any) -> Any:
    """The browser with the chapter opened and all of its cells run."""
    chromium.get(f"{lab}/lab/tree/chapters/{CHAPTER}.ipynb?token={TOKEN}&reset")
    wait("the kernel is there", lambda: chromium.execute_script(KERNEL) == "idle", 90)
    chromium.execute_script(RUN_ALL)
    limit = 400  # about 50 s on two free cores
    said = wait("all cells have run", lambda: chromium.execute_script("return window.fwDone"), limit)
    wait("the kernel rests", lambda: chromium.execute_script(KERNEL) == "idle", 60)
    assert said == "ran true"
    return chromium


def test_no_cell_fails(notebook: Any) -> None:
    count = "return document.querySelectorAll('{}').length"
    errors = '[data-mime-type="application/vnd.jupyter.error"]'
    assert notebook.execute_script(count.format(errors)) == 0
    assert notebook.execute_script(count.format(".jp-CodeCell .jp-OutputArea-output")) > 10
    blank = (
        "return [...document.querySelectorAll('.jp-OutputArea-output img')]"
        ".filter((i) => !(i.complete && i.naturalWidth)).length"
    )
    assert notebook.execute_script(count.format(".jp-OutputArea-output img")) > 3
    assert notebook.execute_script(blank) == 0


def test_prose_is_set_without_raw_markup(notebook: Any) -> None:
    prose = notebook.execute_script(PROSE)
    assert len(prose) > 10
    raw = re.compile(r"\{(math|cite|eq|ref)\b|:::|```|\$\$|\]\(|\bmath error\b", re.IGNORECASE)
    assert [text for text in prose if raw.search(text)] == []
    for kind in (".katex", "mjx-container"), ("details",):
        found = [notebook.find_elements("css selector", f".jp-MarkdownCell {name}") for name in kind]
        assert any(found), f"no {kind[0]} among the prose"


def test_a_slider_moves_its_picture_by_key(notebook: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    handles = notebook.find_elements("css selector", ".jp-OutputArea-output .noUi-handle")
    assert len(handles) >= 3, "no live sliders"
    read = (
        "return arguments[0].closest('.jp-OutputArea-output').querySelector('.widget-html-content').innerHTML"
    )
    for handle in handles[:3]:  # layer, filter, threshold
        before = notebook.execute_script(read, handle)
        notebook.execute_script(
            "arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", handle
        )
        handle.send_keys(Keys.ARROW_LEFT)  # the layer starts at the last
        wait("the picture follows", lambda h=handle, b=before: notebook.execute_script(read, h) != b, 20)
