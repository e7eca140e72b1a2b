"""What several folders of tests share: one Chromium a process; and which tests stay in one process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Headless, offline, and able to run as root in a container.
_SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


# What takes minutes starts first, so that the processes end together: the book and all that reads it, then
# the chapters with other parameters (each test by itself), then the chapters as they are.
_LONG = ("tests/book/", "tests/papers/test_pages.py", "tests/papers/test_new_chapter.py", "chapters/")
# These have no fixture that they share with their neighbours.
_APART = ("tests/papers/test_pages.py", "tests/book/test_build.py")
# Of the book's tests this does without its pages and without what its chapters have trained.
_NO_PAGES = ("tests/book/test_lines_of_pages.py",)
# All claims are judged once in the process that runs these, which takes half a minute.
_JUDGED = (
    "tests/book/test_evidence_cost.py", "tests/book/test_five_minutes.py", "tests/book/test_release.py",
    "tests/claims/test_contradictions.py", "tests/cli/test_program.py",
    "lib/filterwise/claims/ledger_pages.py", "lib/filterwise/claims/estimates.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    items.sort(
        key=lambda item: next((k for k, s in enumerate(_LONG) if item.nodeid.startswith(s)), len(_LONG))
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Among processes (``-n``) a file's tests stay together, and so do all that read the built book."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class WholeFiles(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file in _APART:
                return nodeid
            if file in _JUDGED:
                return "judged"
            if file in _NO_PAGES:
                return file
            return "tests/book" if file.startswith("tests/book/") else file

    return WholeFiles(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Selenium driver that writes down every console line and every request."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and its driver (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for switch in (*_SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.set_script_timeout(60)
    yield browser
    browser.quit()


@pytest.fixture
def set_control(chromium: Any, tmp_path: Path) -> Any:
    """``set_control(html)`` opens a twin as a page; what it returns gives a named control a value."""

    def opened(html: str) -> Any:
        page = tmp_path / "page.html"
        page.write_text(
            f"<!doctype html><html><meta charset='utf-8'><body>{html}</body></html>", encoding="utf-8"
        )
        chromium.get(page.as_uri())

        def choose(name: str, value: Any) -> None:
            chromium.execute_script(
                "const e = document.querySelector('[data-fw=' + arguments[0] + ']'); e.value = arguments[1];"
                "e.dispatchEvent(new Event('input', {bubbles: true}));", name, value,
            )  # fmt: skip

        return choose

    return opened
