"""A real browser for the tests of pages: Chromium without a window, its pages opened as files. What
a page must never do fails the test: an error on its console, a request that leaves its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Chromium, once for all tests; skips, with the reason, where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on the path (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a file of a report: (path, root=its folder, width=1280, scheme="light") -> the page.
    When the test ends it fails if a page wrote an error to its console, threw one, or asked for
    anything that is no file below `root`."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def open(
        path: Path, root: Path | None = None, width: int = 1280, scheme: str = "light"
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        contexts.append(context)
        page = context.new_page()
        home = (root or path.parent).resolve()

        def asked(request: Request) -> None:
            parts = urlparse(request.url)
            inside = Path(unquote(parts.path)).resolve().is_relative_to(home)
            if parts.scheme not in ("data", "blob") and not (parts.scheme == "file" and inside):
                wrong.append(f"asked for {request.url}")

        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                wrong.append(f"console: {message.text}")

        page.on("request", asked)
        page.on("requestfailed", lambda request: wrong.append(f"failed to load {request.url}"))
        page.on("pageerror", lambda error: wrong.append(f"threw {error}"))
        page.on("console", said)
        page.goto(path.resolve().as_uri())
        return page

    yield open
    for context in contexts:
        context.close()
    assert not wrong
