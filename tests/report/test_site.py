"""The report as a person uses it, in a real browser: the leaderboard, two runs side by side, and
text that is not to be trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.report.site import Written, write_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

Write = Callable[..., Path]
Some = Callable[..., Any]
Open = Callable[..., "Page"]

HOSTILE = (
    "<script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\">"
    "'\"&amp;{{ 7*7 }} $x^2$ \u202e\u05d0\u05d1 \U0001f600\ud83d\x07\n" + "long " * 2000
)


@pytest.fixture
def three(write_run: Write, answer_some: Some, tmp_path: Path) -> Written:
    """A report of three models of which one is well ahead."""
    write_run("good", answer_some(0.9), limit=150)
    write_run("alike", answer_some(0.88, shift=50), limit=150)
    write_run("poor", answer_some(0.3), limit=150)
    return write_report([tmp_path / "runs"], tmp_path / "report")


@pytest.fixture
def hostile(write_run: Write, answer_some: Some, tmp_path: Path) -> Written:
    """A report of a model whose name, answers and reason are hostile."""
    right = answer_some(0.9)
    write_run("good", right, limit=30)
    wrong = {"answer": HOSTILE}
    write_run("hostile", lambda n, s: wrong if n % 2 else right(n, s), limit=30, model=HOSTILE)
    write_run("failed", right, limit=30, model=HOSTILE, status="failed", reason=HOSTILE)
    (tmp_path / "runs" / "<b>torn").mkdir()
    (tmp_path / "runs" / "<b>torn" / "run.json").write_text("{")
    return write_report([tmp_path / "runs"], tmp_path / "report")


def test_a_table_sorts_and_its_pairs_lead_to_two_runs_side_by_side(
    three: Written, open_page: Open
) -> None:
    page = open_page(three.index)
    models = page.locator("table[data-sortable]").first.locator("tbody th")
    assert [text.strip() for text in models.all_text_contents()] == ["good", "alike", "poor"]
    page.get_by_role("button", name="score").click()
    assert [text.strip() for text in models.all_text_contents()] == ["poor", "alike", "good"]
    page.get_by_text("3 pairs compared").click()
    page.get_by_role("link", name="side by side: good and poor").click()
    assert page.locator("h1").inner_text() == "good against poor"
    assert "good is better." in page.locator(".verdict").inner_text()
    heading = page.locator("h3").first.inner_text()
    cards = page.locator("ul.samples").first.locator("li")
    moved = int(heading.split()[0])
    assert heading == f"{moved} better with good"
    assert moved > cards.count() == 50
    assert "The 50 that moved most; all of them." in page.locator("main").inner_text()
    assert cards.first.locator("img").evaluate("image => image.decode().then(() => true)")
    words = cards.first.inner_text()
    assert "no such thing" in words
    assert "accuracy 0.0 → 100.0" in words
    page.get_by_role("link", name="Leaderboard").first.click()
    assert page.locator("h1").inner_text() == "Leaderboard"


def test_models_that_cannot_be_told_apart_share_a_rank_and_the_page_says_so(
    three: Written, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(three.index)
    rows = page.locator("table[data-sortable]").first.locator("tbody tr")
    assert [rows.nth(i).locator("td").first.inner_text() for i in range(3)] == ["1", "1", "3"]
    page.get_by_text("3 pairs compared").click()
    page.get_by_role("link", name="side by side: good and alike").click()
    assert "No difference can be told." in page.locator(".verdict").inner_text()


def test_the_difference_by_tag_is_drawn_and_told_in_numbers(
    three: Written, open_page: Open, tmp_path: Path
) -> None:
    (path,) = (tmp_path / "report" / "compare").rglob("poor--good-*.html")
    page = open_page(path, root=tmp_path / "report")
    plot = page.locator(".plot .broad svg[role=img]").first
    assert plot.is_visible()
    words = plot.locator("desc").text_content() or ""
    assert "attribute (" in words
    page.get_by_text("The same in numbers").first.click()
    table = page.locator("details[open] table").first
    assert "attribute" in table.inner_text()


def test_a_sample_that_moved_leads_to_it_in_the_explorer(
    three: Written, open_page: Open, tmp_path: Path
) -> None:
    (path,) = (tmp_path / "report" / "compare").rglob("poor--good-*.html")
    page = open_page(path, root=tmp_path / "report")
    link = page.locator("li.card a").first
    id = link.inner_text()
    link.click()
    page.locator("dialog[open]").wait_for()
    assert id in page.locator("dialog[open]").inner_text()
    assert "poor" in page.locator("#tools").inner_text()


def test_hostile_text_is_shown_and_nothing_runs(
    hostile: Written, open_page: Open, tmp_path: Path
) -> None:
    assert not hostile.failed
    page = open_page(hostile.index)
    assert page.title() == "Leaderboard · harness"
    assert "<script>document.title" in page.locator("main").inner_text()
    assert page.locator("main script, main [onerror]").count() == 0
    page.get_by_text("1 pair compared").click()
    page.get_by_role("link", name="side by side").first.click()
    page.locator("li.card").first.wait_for()
    assert "ran" not in page.title().split("·")[0].replace("<script>document.title = 'ran'", "")
    assert "<img src=x" in page.locator("li.card").first.inner_text()
    assert page.locator("main script, main [onerror], main b").count() == 0


def test_no_page_is_wider_than_a_small_screen(
    hostile: Written, open_page: Open, tmp_path: Path
) -> None:
    root = tmp_path / "report"
    for path in (hostile.index, next((root / "compare").rglob("*.html"))):
        page = open_page(path, root=root, width=400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.locator(".plot .narrow").first.is_visible()
        assert not page.locator(".plot .broad").first.is_visible()


def test_nothing_grave_for_who_reads_otherwise(
    hostile: Written, accessible: Callable[..., None], tmp_path: Path
) -> None:
    root = tmp_path / "report"
    accessible(hostile.index)
    accessible(next((root / "compare").rglob("*.html")), root=root, width=400)


def test_the_keyboard_reaches_the_content_and_sorts(three: Written, open_page: Open) -> None:
    page = open_page(three.index)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="model").focus()
    page.keyboard.press("Space")
    header = page.locator("table[data-sortable] th").nth(1)
    assert header.get_attribute("aria-sort") == "ascending"


def test_the_same_report_twice_is_the_same_to_the_byte(three: Written, tmp_path: Path) -> None:
    def pages() -> dict[Path, bytes]:
        folder = tmp_path / "report"
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}

    before = pages()
    write_report([tmp_path / "runs"], tmp_path / "report")
    assert pages() == before


def test_the_command_says_what_it_wrote(
    cli: Callable[..., Any], write_run: Write, answer_some: Some, tmp_path: Path
) -> None:
    write_run("good", answer_some(0.9), limit=20)
    done = cli("report", "runs", "-o", "out", "--no-samples")
    assert done.returncode == 0
    assert "out/index.html" in done.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "assets",
        "index.html",
        "leaderboard.csv",
        "leaderboard.json",
        "leaderboard.md",
    ]
    page = Path("out/index.html").read_text()
    for asset in Path("out/assets").iterdir():  # nothing that no page of it asks for
        assert f"assets/{asset.name}" in page
    done = cli("report", "runs", "-o", "out", "--json")
    assert json.loads(done.stdout)["runs"] == 1
    done = cli("report", "runs", "-o", ".")
    assert done.returncode == 2
    assert "among the runs" in done.stderr
    (tmp_path / "file").write_text("")
    done = cli("report", "runs", "-o", "file")
    assert done.returncode == 2
    assert "file" in done.stderr
    assert done.stderr.count("\n") == 1
