"""Run folders made of any predictions without a model, and a real browser for the tests of pages:
Chromium without a window, its pages opened as files. What a page must never do fails the test: an
error on its console, a request that leaves its folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import pytest

from harness.types import Json, Sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

AXE = "HARNESS_AXE"  # the variable that names axe.min.js, of the npm package axe-core
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

Predict = Callable[[int, Sample], Json | None]


@pytest.fixture
def write_run(saved_run: Callable[..., Path]) -> Callable[..., Path]:
    """As saved_run, below tmp_path/runs, of a model of the run's name, with what else an evaluation
    says of itself."""

    def write(name: str, predict: Predict, **changes: Any) -> Path:
        timing = {"predict_seconds": 2.0, "total_seconds": 3.0, "resumed": False}
        return saved_run(
            *(f"runs/{name}", predict),
            **({"model": name, "device": "cpu", "timing": timing} | changes),
        )

    return write


@pytest.fixture
def answer_some() -> Callable[..., Predict]:
    """Answers to questions of which this share, spread evenly, is right: others by `shift`."""

    def some(share: float, shift: int = 0) -> Predict:
        def answer(number: int, sample: Sample) -> Json:
            answers = list(sample.target.answers)
            right = max(sorted(set(answers)), key=answers.count)
            return {
                "answer": right if (number * 37 + shift) % 100 < 100 * share else "no such thing"
            }

        return answer

    return some


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


@pytest.fixture
def accessible(open_page: Callable[..., Page]) -> Callable[..., None]:
    """Fails where axe-core finds anything serious or critical in a page, light and dark: (path,
    root=its folder, width=1280). Skips, with the reason, where axe-core is not there."""
    path = Path(os.environ.get(AXE, "node_modules/axe-core/axe.min.js"))
    if not path.is_file():
        pytest.skip(f"no axe-core: npm pack axe-core, and its axe.min.js named in {AXE}")
    source = path.read_text(encoding="utf-8")

    def check(path: Path, root: Path | None = None, width: int = 1280) -> None:
        for scheme in ("light", "dark"):
            page = open_page(path, root, width, scheme)
            for summary in page.locator("details > summary").all():
                summary.click()
            page.evaluate(source)
            found = page.evaluate(
                "axe.run(document, {preload: false, resultTypes: ['violations']})"
            )
            grave = [
                (one["id"], one["impact"], node["target"], node.get("failureSummary"))
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
                for node in one["nodes"]
            ]
            assert not grave, (scheme, grave[:5])

    return check
