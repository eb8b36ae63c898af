"""The explorer as a person uses it, in a real browser: sorting, filtering, turning pages, opening
samples, by keyboard too, and text that is not to be trusted. Every page is opened as a file, and
the fixture fails where it says an error or asks for anything beyond its folder."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.report import explorer, pages
from harness.saved import read_run
from harness.types import Json, Sample

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Open = Callable[..., "Page"]
SavedRun = Callable[..., Path]
HOSTILE = (
    "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>\"'`&lt;{{7*7}}"
    " \u202e\u05e9\u05dc\u05d5\u05dd \U0001f600 \u2028 "
)


def write(root: Path, *runs: Path, **options: Any) -> list[Path]:
    """The explorers of runs of the same data in one report."""
    pages.write_assets(root)
    read = [read_run(run) for run in runs]
    homes = [root / "runs" / run.path.name for run in read]
    return [
        explorer.write(
            run,
            home,
            root=root,
            others=[pair for pair in zip(read, homes, strict=True) if pair[1] != home],
            **options,
        )
        for run, home in zip(read, homes, strict=True)
    ]


def settled(page: Page) -> None:
    """Waits until the page shows what its address says."""
    view = "document.getElementById('explorer')?.dataset.view === location.hash.slice(1)"
    for _ in range(300):
        if page.evaluate(view):
            return
        page.wait_for_timeout(50)
    raise AssertionError(page.locator("main").inner_text())


def cards(page: Page) -> Locator:
    settled(page)
    return page.locator("#list > li")


def ids(page: Page) -> list[str]:
    return cards(page).locator(".id").all_text_contents()  # those out of view are not rendered


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).select_option(label=option)
    settled(page)


@pytest.fixture
def answered(saved_run: SavedRun, right: Callable[[Sample], Json]) -> Callable[..., Path]:
    """A run over 120 questions that is wrong on every `step`-th."""

    def run(name: str, step: int, limit: int = 120, **more: Any) -> Path:
        return saved_run(
            name,
            lambda n, s: {"answer": "ghost"} if n % step == 0 else right(s),
            limit=limit,
            model=name,
            **more,
        )

    return run


# ---------------------------------------------------------------- the list


def test_the_worst_come_first_fifty_a_page(
    answered: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    (path,) = write(tmp_path / "site", answered("one", 40))
    page = open_page(path, root=tmp_path / "site")
    assert cards(page).count() == 50
    wrong = ["test-00000-0", "test-00008-0", "test-00016-0"]
    assert ids(page)[:3] == wrong
    assert page.locator("#count").inner_text() == "1 to 50 of 120 samples"
    choose(page, "Order", "as in the data")
    assert ids(page)[:3] == ["test-00000-0", "test-00000-1", "test-00000-2"]
    choose(page, "Order", "best first")
    assert not set(wrong) & set(ids(page))
    for _ in range(2):
        page.get_by_role("button", name="Next", exact=True).click()
        settled(page)
    assert cards(page).count() == 20
    assert set(ids(page)[-3:]) == set(wrong)
    page.go_back()
    settled(page)
    assert page.locator("#count").inner_text() == "51 to 100 of 120 samples"


def test_samples_are_filtered_by_result_and_by_tag(
    answered: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    (path,) = write(tmp_path / "site", answered("one", 4))
    page = open_page(path, root=tmp_path / "site")
    choose(page, "Result", "wrong")
    assert page.locator("#count").inner_text() == "1 to 30 of 30 samples (120 in all)"
    choose(page, "answer type", "yes/no")
    few = cards(page).count()
    assert 0 < few < 30
    assert page.locator(".prediction .said").all_inner_texts() == ["ghost"] * few
    page.get_by_role("button", name="Reset").click()
    assert cards(page).count() == 50


def test_where_two_runs_disagree(
    answered: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    path, _ = write(tmp_path / "site", answered("one", 40), answered("two", 24))
    page = open_page(path, root=tmp_path / "site")
    assert cards(page).count() == 50
    choose(page, "Compare with", "two")
    one, two = {0, 40, 80}, {0, 24, 48, 72, 96}
    assert cards(page).count() == len(one ^ two)
    choose(page, "Show where", "the other is better")
    assert ids(page) == ["test-00008-0", "test-00016-0"]
    said = cards(page).first.locator(".prediction")
    assert "one" in said.nth(0).inner_text()
    assert "ghost" in said.nth(0).inner_text()
    assert "two" in said.nth(1).inner_text()
    assert "ghost" not in said.nth(1).inner_text()
    choose(page, "Show where", "this one is better")
    assert cards(page).count() == 4


def test_samples_without_a_prediction_are_found_by_what_became_of_them(
    saved_run: SavedRun, open_page: Open, tmp_path: Path
) -> None:
    def predict(number: int, sample: Sample) -> Json | None:
        return None if number == 7 else {"answer": 5} if number == 8 else {"answer": "red"}

    run = saved_run("one", predict, limit=60)
    log = run / "samples.jsonl"
    log.write_text("".join(log.read_text("utf-8").splitlines(keepends=True)[:-2]), encoding="utf-8")
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    choose(page, "Coverage", "missing (2)")
    assert ids(page) == ["test-00011-3", "test-00011-4"]
    assert cards(page).first.get_by_text("missing").is_visible()
    choose(page, "Coverage", "failed (1)")
    assert ids(page) == ["test-00001-2"]
    choose(page, "Coverage", "invalid (1)")
    assert "no text under 'answer'" in cards(page).first.inner_text()
    choose(page, "Result", "right")
    assert page.locator("#count").inner_text() == "None of 60 samples is such a one."


def test_a_view_can_be_sent_as_an_address(
    answered: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    (path,) = write(tmp_path / "site", answered("one", 4))
    page = open_page(path, root=tmp_path / "site")
    choose(page, "Result", "wrong")
    cards(page).nth(2).get_by_role("button").click()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("dialog[open]")
    assert page.locator("#sample-title").inner_text() == "test-00001-3"
    assert page.locator("#list > li").count() == 30


# ---------------------------------------------------------------- an opened sample


def test_a_sample_is_opened_and_left_by_keyboard(
    answered: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    (path,) = write(tmp_path / "site", answered("one", 40))
    page = open_page(path, root=tmp_path / "site")
    first = cards(page).first.get_by_role("button")
    first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    title = page.locator("#sample-title")
    assert title.inner_text() == "test-00000-0"
    page.locator("dialog").get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert title.inner_text() == "test-00008-0"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Next"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert page.evaluate("document.activeElement.className") == "open"
    assert "open=" not in page.url


def test_boxes_are_drawn_so_that_no_colour_is_needed_to_tell_them_apart(
    saved_run: SavedRun, open_page: Open, tmp_path: Path
) -> None:
    run = saved_run(
        "one", lambda n, s: {"box": [1, 2, 30, 40]}, task="spatial-localization/toybox", limit=4
    )
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    drawn = cards(page).first.locator("rect.predicted")
    assert [drawn.get_attribute(name) for name in ("x", "y", "width", "height")] == [
        *("1", "2", "29", "38")
    ]
    dashes = [
        cards(page)
        .first.locator(f"rect.{kind}")
        .evaluate("e => getComputedStyle(e).strokeDasharray")
        for kind in ("asked", "predicted")
    ]
    assert dashes[0] == "none"
    assert dashes[1] != "none"
    cards(page).first.get_by_role("button").click()
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog .label").all_inner_texts() == ["right", "predicted"]


def test_moments_lie_under_the_frames_where_they_are(
    saved_run: SavedRun, open_page: Open, tmp_path: Path
) -> None:
    run = saved_run(
        *("one", lambda n, s: {"moments": [[2.0, 4.0], [0.0, 8.0]]}),
        task="temporal-localization/toybox",
        limit=3,
    )
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    cards(page).first.get_by_role("button").click()
    page.wait_for_selector("dialog[open] img")
    frames = page.locator("dialog .strip img").bounding_box()
    bar = page.locator("dialog .bar.predicted").first.bounding_box()
    assert frames is not None
    assert bar is not None
    assert (bar["x"] - frames["x"]) / frames["width"] == pytest.approx(0.25, abs=0.01)
    assert bar["width"] / frames["width"] == pytest.approx(0.25, abs=0.01)
    assert bar["y"] >= frames["y"] + frames["height"]
    assert page.locator("dialog .bar.predicted").count() == 2


def looked(run: Path, *artifacts: Json) -> None:
    (run / "artifacts").mkdir()
    lines = [json.dumps(one) + "\n" for one in artifacts]
    (run / "artifacts" / "attention.jsonl").write_text("".join(lines), encoding="utf-8")


def test_attention_is_followed_word_by_word_with_the_arrow_keys(
    saved_run: SavedRun, open_page: Open, tmp_path: Path
) -> None:
    run = saved_run(
        "one", lambda n, s: {"caption": "a red circle"}, task="captioning/toybox", limit=3
    )
    alphas = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]
    words = ["a", "<b>red", "circle"]
    looked(run, {"id": "test-00000", "words": words, "alphas": alphas, "grid": [2, 2]})
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    page.evaluate("location.hash = 'open=0'")
    page.wait_for_selector("dialog .words")
    tell = page.locator("dialog .looked")

    def clearest() -> int:
        shades = page.locator("dialog .veil").evaluate_all(
            "cells => cells.map(cell => Number(cell.getAttribute('fill-opacity')))"
        )
        assert len(shades) == 4
        return int(min(range(4), key=lambda cell: shades[cell]))

    page.locator("dialog .word").first.focus()
    assert clearest() == 0
    page.keyboard.press("ArrowRight")
    assert clearest() == 1
    assert tell.inner_text().startswith("“<b>red”: most in row 1 of 2, column 2 of 2: 70%")
    page.keyboard.press("End")
    assert clearest() == 3
    page.keyboard.press("Home")
    assert clearest() == 0
    page.keyboard.press("Tab")  # the words are one stop
    assert page.evaluate("document.activeElement.className") != "word"


def test_what_words_of_a_question_attend_to_is_shaded_over_its_regions(
    answered: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    run = answered("one", 2, limit=3)
    part = {
        "words": ["[CLS]", "red", "[MASK]"],
        "weights": [[0.1, 0.2, 0.3], [0.0, 0.6, 0.2], [0.1, 0.1, 0.5]],
        "boxes": [[0, 0, 96, 96], [10, 10, 20, 20], [30, 30, 50, 60]],
    }
    looked(run, {"id": "test-00000-0", "parts": [part]})
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    page.evaluate("location.hash = 'open=0'")
    page.wait_for_selector("dialog .words")
    tell = page.locator("dialog .looked")
    assert tell.inner_text() == "“[MASK]”: 50% on region 2, 10% on the whole, 10% on region 1"
    page.get_by_role("button", name="red", exact=True).click()
    assert tell.inner_text().startswith("“red”: 60% on region 1")
    assert page.locator("dialog .weight").all_inner_texts() == ["1: 60%", "2: 20%"]


def test_windows_and_frames_of_a_clip_are_bars_under_it(
    saved_run: SavedRun, open_page: Open, tmp_path: Path
) -> None:
    run = saved_run(
        *("one", lambda n, s: {"moments": [[2.0, 4.0]]}),
        task="temporal-localization/toybox",
        limit=2,
    )
    spans = [[0, 8], [0, 2], [2, 4], [4, 6], [6, 8]]
    part = {"words": ["moves"], "weights": [[0.2, 0.1, 0.5, 0.1, 0.1]], "spans": spans}
    looked(run, {"id": "test-00000", "parts": [part]})
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    page.evaluate("location.hash = 'open=0'")
    page.wait_for_selector("dialog .heights")
    heights = page.locator("dialog .heights span").evaluate_all(
        "bars => bars.map(bar => parseFloat(bar.style.height))"
    )
    assert len(heights) == 32
    assert [place for place, height in enumerate(heights) if height == 100] == list(range(8, 16))


def test_retrieval_shows_what_it_ranked_first_and_which_is_right(
    saved_run: SavedRun, open_page: Open, tmp_path: Path
) -> None:
    standing = {"visual": [0, 1, 1], "texts": [[0, 1, 1]] * 5}
    run = saved_run("one", lambda n, s: standing, task="retrieval/toybox", limit=6)
    scores = np.full((6, 30), -1.0)
    scores[2, 10:15] = [0.0, 9.0, 1.0, 2.0, 3.0]  # the third picture with its own captions
    scores[4, 11] = 10.0  # another picture with the second of them
    np.save(run / "scores.npy", scores)
    visuals = [f"toybox-1/test/{number}" for number in range(6)]
    (run / "scores.json").write_text(json.dumps({"visuals": visuals}), encoding="utf-8")
    (path,) = write(tmp_path / "site", run)
    page = open_page(path, root=tmp_path / "site")
    page.evaluate("location.hash = 'open=2'")
    page.wait_for_selector("dialog .ranked")
    texts = page.locator("dialog .line dd").all_inner_texts()
    ranked = page.locator("dialog .ranked li")
    assert texts[1] in ranked.first.inner_text()
    marked = ranked.evaluate_all("all => all.map(one => one.className == 'right')")
    assert marked == [True] * 5 + [False] * 5
    second = page.locator("dialog .query").nth(1).locator("li")
    assert "test-00004" in second.nth(0).inner_text()
    assert "right test-00002" in second.nth(1).inner_text()
    assert second.nth(1).locator("img").get_attribute("src") is not None


# ---------------------------------------------------------------- hostile text


def test_hostile_text_is_shown_as_text_and_nothing_runs(
    saved_run: SavedRun, vqav2_folder: Callable[..., Path], open_page: Open, tmp_path: Path
) -> None:
    data = vqav2_folder()
    for file in data.glob("*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        for record in content.get("questions", ()):
            record["question_id"] = f"{record['question_id']}{HOSTILE}"
            record["question"] = HOSTILE + "long " * 2000
        for record in content.get("annotations", ()):
            record["question_id"] = f"{record['question_id']}{HOSTILE}"
            record["question_type"] = HOSTILE + str(record["image_id"])
            record["answers"] = [{"answer": HOSTILE}]
        file.write_text(json.dumps(content), encoding="utf-8")
    run = saved_run(
        *("one", lambda n, s: {"answer": f"{HOSTILE}\ud800"}),
        task="vqa/vqav2",
        split="val",
        data_dir=data,
        model=HOSTILE,
        status="failed",
        reason=HOSTILE,
    )
    looked(
        run,
        {
            "id": f"10{HOSTILE}",
            "parts": [
                {"words": [HOSTILE], "weights": [[1.0, 1.0]], "boxes": [[0, 0, 9, 9], [1, 1, 2, 2]]}
            ],
        },
    )
    path, _ = write(tmp_path / "site", run, _copy_of(run))
    page = open_page(path, root=tmp_path / "site")
    assert cards(page).count() == 12
    assert "<script>window.ran = 1</script>" in cards(page).first.inner_text()
    value = page.locator("select[name='tag.question_type'] option").nth(1).get_attribute("value")
    page.locator("select[name='tag.question_type']").select_option(value=value)
    assert cards(page).count() == 4
    page.locator("select[name='with']").select_option(index=1)
    assert cards(page).count() == 0
    page.evaluate("location.hash = 'open=0'")
    page.wait_for_selector("dialog .word")
    assert "onerror" in page.locator("dialog .word").inner_text()
    assert "onerror" in page.locator("dialog .line dd").first.inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator("main script, main img[src=x]").count() == 0
    width = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0  # nothing makes the page wider than the window


def _copy_of(run: Path) -> Path:
    import shutil

    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    return copy


# ---------------------------------------------------------------- size, and what all can use


def _script(name: str) -> Any:
    path = Path(__file__).parents[2] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_two_thousand_samples_open_at_once_in_pages_of_bounded_size(
    saved_run: SavedRun, chromium: Any, tmp_path: Path
) -> None:
    bench = _script("bench_report")
    data = bench.write_questions(tmp_path / "data", 2000)
    run = saved_run(
        *("one", lambda n, s: {"answer": "yes" if n % 3 else "no"}),
        task="vqa/vqav2",
        split="val",
        data_dir=data,
    )
    (path,) = write(tmp_path / "site", run)
    found = bench.measure(chromium, path, ["", "sort=best", "sort=data&page=9"])
    assert [one.cards for one in found] == [50, 50, 50]
    assert max(one.bytes for one in found) < 2_000_000
    assert found[0].seconds < 2


@pytest.fixture
def axe() -> str:
    """The source of axe-core, as conftest.py finds it."""
    path = Path(os.environ.get("HARNESS_AXE", "node_modules/axe-core/axe.min.js"))
    if not path.is_file():
        pytest.skip("no axe-core: npm pack axe-core, and its axe.min.js named in HARNESS_AXE")
    return path.read_text(encoding="utf-8")


def check(axe: str, page: Page, view: str, ready: str) -> None:
    page.evaluate("view => { location.hash = view; }", view)
    settled(page)
    page.wait_for_selector(ready)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {preload: false, resultTypes: ['violations']})")
    grave = [
        (one["id"], node["target"], node.get("failureSummary"))
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert not grave, grave[:5]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (400, "light")])
def test_axe_finds_nothing_serious_in_the_list_nor_in_what_is_opened(
    answered: Callable[..., Path],
    saved_run: SavedRun,
    open_page: Open,
    axe: str,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    moments = saved_run(
        "moments",
        lambda n, s: None if n == 1 else {"moments": [[2.0, 4.0], [0.0, 8.0]]},
        task="temporal-localization/toybox",
        limit=2,
    )
    part = {"words": ["a", "[SEP]"], "weights": [[0.2, 0.8], [0, 1]], "spans": [[0, 8], [0, 2]]}
    looked(moments, {"id": "test-00000", "parts": [part, part]})
    one = answered("one", 40)
    boxes = {"words": ["a", "[SEP]"], "weights": [[0.2, 0.8], [0, 1]]}
    boxes |= {"boxes": [[0, 0, 96, 96], [0, 0, 20, 20]]}
    looked(one, {"id": "test-00000-0", "parts": [boxes]})
    for path, root in (
        (write(tmp_path / "a", one, answered("two", 24))[0], tmp_path / "a"),
        (write(tmp_path / "b", moments)[0], tmp_path / "b"),
    ):
        page = open_page(path, root, width, scheme)
        check(axe, page, "", "#list > li")
        check(axe, page, "open=0", "dialog .word")


@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_serious_beside_another_run(
    answered: Callable[..., Path], open_page: Open, axe: str, tmp_path: Path, width: int
) -> None:
    path, _ = write(tmp_path / "site", answered("one", 40), answered("two", 24))
    page = open_page(path, tmp_path / "site", width)
    settled(page)
    key = page.locator("select[name='with'] option").nth(1).get_attribute("value")
    check(axe, page, f"with={key}&sort=apart", "#list > li")
    check(axe, page, f"with={key}&open=0", "dialog .prediction")
