"""The shell of every page, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.report import pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TABLE = """<table data-sortable><thead><tr>
<th data-sort="text">name</th><th data-sort="number">score</th></tr></thead><tbody>
<tr><td>b</td><td data-value="2">2</td></tr>
<tr><td>c</td><td data-value="">n/a</td></tr>
<tr><td>a</td><td data-value="10">10</td></tr></tbody></table>"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A page with this content in the shell, in `folder` of a report."""

    def write(content: str, folder: str = ".", **values: object) -> Path:
        source = f"{{% extends 'base.html' %}}{{% block main %}}{content}{{% endblock %}}"
        template = pages._environment().from_string(source)
        root = "../" * len(Path(folder).parts)
        path = tmp_path / folder / "index.html"
        pages.write_text(path, template.render(root=root, policy=pages.POLICY, **values))
        pages.write_assets(tmp_path)
        return path

    return write


@pytest.mark.parametrize("folder", [".", "runs/a/b"])
def test_style_and_scripts_load_from_the_reports_folder(
    write: Callable[..., Path], open_page: Callable[..., Page], tmp_path: Path, folder: str
) -> None:
    page = open_page(write("<h1>Here</h1>", folder), root=tmp_path)
    assert page.locator("#theme").is_visible()  # the script made it so
    family = page.locator("body").evaluate("body => getComputedStyle(body).fontFamily")
    assert family.startswith("system-ui")


def test_a_script_that_got_into_a_page_does_not_run(
    write: Callable[..., Path], chromium: Browser
) -> None:
    """The policy holds in Chromium, with pages that are files."""
    path = write("<script>window.ran = 1</script><img src='assets/none.png' onerror='ran = 1'>")
    page = chromium.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert any("inline script" in text for text in errors)
    page.close()


def test_values_are_shown_as_text(
    write: Callable[..., Path], open_page: Callable[..., Page]
) -> None:
    hostile = "<script>document.title='run'</script><img src=x onerror=alert(1)> \"'&amp; \ud83d"
    page = open_page(write("<p id='it' title='{{ text }}'>{{ text }}</p>", text=hostile))
    shown = page.locator("#it").text_content()
    assert shown == hostile.replace("\ud83d", "\ufffd")
    assert page.locator("script").count() == 1  # the report's own
    assert page.title() == "· harness"


def test_a_table_sorts_by_a_column_and_keeps_what_has_no_value_last(
    write: Callable[..., Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(write(TABLE))
    names = page.locator("tbody td:first-child")
    page.get_by_role("button", name="score").click()
    assert names.all_text_contents() == ["b", "a", "c"]
    page.get_by_role("button", name="score").press("Enter")
    assert names.all_text_contents() == ["a", "b", "c"]
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="name").click()
    assert names.all_text_contents() == ["a", "b", "c"]
    assert page.locator("th").nth(1).get_attribute("aria-sort") is None


def test_the_reader_can_take_the_other_colours(
    write: Callable[..., Path], open_page: Callable[..., Page]
) -> None:
    page = open_page(write("<p>text</p>"), scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
