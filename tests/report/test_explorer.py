"""What the explorer writes of a run: nothing is left out, nothing is dangerous, nothing too large,
whatever state the run and its data set are in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.report import explorer
from harness.saved import read_run
from harness.types import Json, Sample

SavedRun = Callable[..., Path]
SCRIPT = "</script><script>window.ran = 1</script>"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """(run folder, **options) -> the folder of its explorer, which is a report of its own."""

    def write(run: Path, name: str = "site", **options: Any) -> Path:
        root = tmp_path / name
        return explorer.write(read_run(run), root, root=root, **options).parent

    return write


def arguments(path: Path) -> list[Any]:
    """What a script hands to the page."""
    text = path.read_text(encoding="ascii")
    found: list[Any] = json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")
    return found


def index_of(folder: Path) -> Json:
    index: Json = arguments(folder / "data" / "index.js")[1]
    return index


def entries(folder: Path) -> list[Json]:
    """Of a folder of chunks, in order."""
    paths = sorted(folder.glob("*.js"), key=lambda path: int(path.stem))
    return [entry for path in paths for entry in arguments(path)[2]]


def asked(folder: Path) -> list[Json]:
    return entries(next((folder / "asked").iterdir()))


def said(folder: Path) -> list[Json]:
    return entries(folder / "data" / "said")


def answering(answer: str) -> Callable[[int, Sample], Json]:
    return lambda number, sample: {"answer": answer}


# ---------------------------------------------------------------- what is there


def test_every_sample_is_there_once_with_what_was_asked_and_said(
    saved_run: SavedRun, written: Callable[..., Path], right: Callable[[Sample], Json]
) -> None:
    run = saved_run("run", lambda n, s: right(s) if n % 3 else {"answer": "ghost"}, limit=70)
    folder = written(run)
    questions, answers = asked(folder), said(folder)
    assert len(questions) == len(answers) == 70
    assert [one["id"] for one in questions[:3]] == ["test-00000-0", "test-00000-1", "test-00000-2"]
    assert questions[0]["lines"][0][0] == "question"
    assert answers[0]["lines"] == [["answer", "ghost"]]
    assert answers[0]["scores"][0] == 0.0
    assert answers[1]["scores"][0] > 0.9
    tags = arguments(folder / "data" / "tags.js")[1]
    assert {tag["name"] for tag in tags} == {"question_type", "answer_type"}


def test_a_run_whose_rows_stand_otherwise_is_in_the_datas_order(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    def predict(number: int, sample: Sample) -> Json:
        return {"answer": sample.id}

    folder = written(saved_run("run", predict, limit=30, backwards=True))
    for question, answer in zip(asked(folder), said(folder), strict=True):
        assert answer["lines"] == [["answer", question["id"]]]


def test_a_picture_is_drawn_once_for_its_questions_and_no_more_than_asked_for(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    run = saved_run("run", answering("red"), limit=40)  # eight pictures
    few = written(run, "few", visuals=2)
    assert len(list((few / "visuals").rglob("*.webp"))) == 2
    assert 0 < sum("drawn" in one for one in said(few)) < 40
    every = written(run, "every", visuals=None)
    assert len(list((every / "visuals").rglob("*.webp"))) == 8
    assert all(one["drawn"]["width"] == 96 for one in said(every))


def test_thumbnails_are_those_of_the_worst_samples(
    saved_run: SavedRun, written: Callable[..., Path], right: Callable[[Sample], Json]
) -> None:
    run = saved_run("run", lambda n, s: {"answer": "ghost"} if n == 33 else right(s), limit=40)
    folder = written(run, visuals=1)
    assert "drawn" in said(folder)[33]


def test_a_small_picture_is_kept_pixel_by_pixel(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    from PIL import Image

    from harness.tasks.datasets.toybox import vqa

    folder = written(saved_run("run", answering("red"), limit=1))
    file = said(folder)[0]["drawn"]["file"]
    with Image.open(folder / "visuals" / file) as image:
        drawn = np.array(image.convert("RGB"))
    assert (drawn == vqa.load(None, "test").samples[0].input.visual.read()).all()


def test_two_runs_of_the_same_data_keep_questions_and_pictures_once(
    saved_run: SavedRun, tmp_path: Path
) -> None:
    runs = [read_run(saved_run(name, answering(name), limit=20)) for name in ("red", "blue")]
    homes = [tmp_path / "site" / "runs" / name for name in ("red", "blue")]
    root = tmp_path / "site"
    for one, home, other, away in zip(runs, homes, runs[::-1], homes[::-1], strict=True):
        explorer.write(one, home, root=root, others=[(other, away)])
    assert len(list((root / "asked").iterdir())) == 1
    assert len(list((root / "visuals").rglob("*.webp"))) == 4
    first, second = index_of(homes[0]), index_of(homes[1])
    assert first["ids"] == second["ids"]
    assert first["others"][0]["at"] == "../blue/"
    assert first["others"][0]["key"] == arguments(homes[1] / "data" / "index.js")[0]


def test_what_a_retrieval_run_ranked_first_is_there(
    cli: Callable[..., Any], small_toybox: None, tmp_path: Path, written: Callable[..., Path]
) -> None:
    command = ("eval", "--task", "retrieval", "--model", "oracle", "--limit", 12, "-o", "runs")
    assert cli(*command, "--controls", "none").returncode == 0
    folder = written(next((tmp_path / "runs").rglob("run.json")).parent)
    assert index_of(folder)["more"] == "all"
    more = arguments(folder / "data" / "more" / "3.js")[2]
    assert len(more["captions"]) == 10
    assert more["captions"][0][0] is True  # the oracle's best is right
    assert [len(ranked) for _, ranked in more["visuals"]] == [5] * 5
    right, _, id, file = more["visuals"][0][1][0]
    assert (right, id) == (True, asked(folder)[3]["id"])
    assert (folder / "visuals" / file).is_file()


def test_where_a_model_looked_is_there(saved_run: SavedRun, written: Callable[..., Path]) -> None:
    run = saved_run("run", answering("red"), limit=3)
    looked = {"parts": [{"words": ["a"], "weights": [[1.0]], "boxes": [[0, 0, 96, 96]]}]}
    (run / "artifacts").mkdir()
    line = json.dumps({"id": "test-00000-1", **looked})
    (run / "artifacts" / "attention.jsonl").write_text(f"{line}\nnot json\n", encoding="utf-8")
    folder = written(run)
    assert index_of(folder)["more"] == [1]
    assert arguments(folder / "data" / "more" / "1.js")[2]["attention"]["parts"] == looked["parts"]


# ---------------------------------------------------------------- runs in any state


def test_missing_failed_and_invalid_samples_are_counted_as_such(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    def predict(number: int, sample: Sample) -> Json | None:
        return None if number == 1 else {"answer": 5} if number == 2 else {"answer": "red"}

    run = saved_run("run", predict, limit=10)
    log = run / "samples.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[:-2]) + lines[-2][:30], encoding="utf-8")  # one torn, one gone
    folder = written(run)
    import base64

    codes = list(base64.b64decode(index_of(folder)["status"]["codes"]))
    assert codes == [0, 2, 3, 0, 0, 0, 0, 0, 1, 1]
    assert said(folder)[1]["reason"] == "failed"
    assert "no text" in said(folder)[2]["reason"]
    assert "lines" not in said(folder)[8]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "2 missing" in page
    assert "1 failed" in page
    assert "1 invalid" in page
    assert "damaged" in page
    assert (log.stat().st_size) == len("".join(lines[:-2])) + 30  # it was only read


def test_a_run_that_failed_before_it_was_scored_shows_what_it_predicted(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    run = saved_run("run", answering("red"), limit=10, status="failed", reason="the disk is full")
    (run / "rows.parquet").unlink()
    result = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for name in ("metrics", "primary", "coverage", "breakdowns"):
        del result[name]
    (run / "run.json").write_text(json.dumps(result), encoding="utf-8")
    folder = written(run)
    assert len(said(folder)) == 10
    assert index_of(folder)["score"] is None
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "the disk is full" in page
    assert "there are no scores" in page


def test_another_version_of_the_data_is_said_and_not_shown(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    run = saved_run("run", answering("red"), limit=10)
    result = json.loads((run / "run.json").read_text(encoding="utf-8"))
    result["data"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(result), encoding="utf-8")
    folder = written(run)
    assert "the run was made on 000000000000" in (folder / "index.html").read_text("utf-8")
    assert not (folder / "visuals").exists()
    assert all("lines" not in one for one in asked(folder))
    assert said(folder)[0]["lines"] == [["answer", "red"]]
    assert len(said(folder)) == 10


def test_pictures_that_are_not_there_are_said_to_be_lost(
    saved_run: SavedRun, vqav2_folder: Callable[..., Path], written: Callable[..., Path]
) -> None:
    data = vqav2_folder()
    run = saved_run("run", answering("yes"), task="vqa/vqav2", split="val", data_dir=data)
    shutil.rmtree(data / "val2014")
    folder = written(run)
    assert "there is no such picture" in said(folder)[0]["drawn"]["lost"]
    assert "Not every picture can be shown" in (folder / "index.html").read_text(encoding="utf-8")


def test_files_that_moved_are_found_where_they_are_said_to_be(
    saved_run: SavedRun, vqav2_folder: Callable[..., Path], written: Callable[..., Path]
) -> None:
    data = vqav2_folder()
    run = saved_run("run", answering("yes"), task="vqa/vqav2", split="val", data_dir=data)
    moved = data.rename(data.with_name("elsewhere"))
    assert "lines" not in asked(written(run, "lost"))[0]
    folder = written(run, "found", data_dir=moved)
    assert asked(folder)[0]["lines"][0] == ["question", "Is this 0?"]
    assert said(folder)[0]["drawn"]["width"] == 32


def test_a_run_can_be_made_a_page_of_again(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    run = saved_run("run", answering("red"), limit=10)
    first = {path: path.stat().st_size for path in written(run).rglob("*")}
    assert {path: path.stat().st_size for path in written(run).rglob("*")} == first


# ---------------------------------------------------------------- hostile and long texts


def test_no_text_can_end_a_script_or_tear_a_line(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    odd = f"{SCRIPT}\u2028\u2029\ud800 \u05d0\u202e 😀 \" ' \\"
    run = saved_run("run", lambda n, s: {"caption": odd}, task="captioning/toybox", limit=3)
    folder = written(run)
    for path in folder.rglob("*.js"):
        text = path.read_text(encoding="ascii")  # and nothing but ASCII
        assert "<" not in text
    assert said(folder)[0]["lines"] == [["caption", odd]]


def test_a_text_of_ten_thousand_characters_is_there_whole(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    long = "wort " * 2000
    run = saved_run("run", lambda n, s: {"caption": long}, task="captioning/toybox", limit=3)
    assert said(written(run))[0]["lines"] == [["caption", long]]


def test_what_is_too_long_is_cut_and_says_by_how_much(
    saved_run: SavedRun, written: Callable[..., Path]
) -> None:
    wide = "😀" * 4000  # 12 bytes each in a script
    run = saved_run("run", lambda n, s: {"caption": wide}, task="captioning/toybox", limit=30)
    folder = written(run)
    _, text, cut = said(folder)[0]["lines"][0]
    assert len(text) + cut == 4000
    assert text
    assert max(path.stat().st_size for path in (folder / "data" / "said").iterdir()) < 15_000


def test_a_plug_in_that_cannot_show_a_sample_stops_nothing(
    saved_run: SavedRun, written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.tasks.vqa import VqaTask

    def broken(*given: object) -> None:
        raise RuntimeError("cannot")

    run = saved_run("run", answering("red"), limit=3)
    monkeypatch.setattr(VqaTask, "show", broken)
    monkeypatch.setattr(VqaTask, "show_prediction", broken)
    folder = written(run)
    assert "cannot" in asked(folder)[0]["lines"][0][1]
    assert "red" in said(folder)[0]["lines"][0][1]
