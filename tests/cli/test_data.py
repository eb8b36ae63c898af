"""`harness data`: samples as a person sees them, and what is wrong with a folder of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from PIL import Image

Cli = Callable[..., CompletedProcess[str]]

FORMS = (
    ("toybox", "vqa"),
    ("toybox-vcr", "vqa"),
    ("toybox", "captioning"),
    ("toybox", "video-captioning"),
    ("toybox", "retrieval"),
    ("toybox", "video-retrieval"),
    ("toybox", "spatial-localization"),
    ("toybox", "temporal-localization"),
)
OF_CLIPS = ("video-captioning", "video-retrieval", "temporal-localization")


def line_of(done: CompletedProcess[str]) -> str:
    """The one line of an error."""
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert done.stderr.startswith("harness: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("harness: ").strip()


def sample_of(dataset: str, task: str, index: int, split: str = "test") -> Any:
    from harness.registry import find_task, load_attribute

    return load_attribute(find_task(f"{task}/{dataset}")[1].load)(None, split).samples[index]


def targets_of(sample: Any) -> list[str]:
    """What is right, as the text of `data show` must have it."""
    entry, target = sample.input, sample.target
    kind = type(target).__name__
    if kind == "VqaTarget":
        return [entry.text, *(f"{answer} (" for answer in target.answers)]
    if kind == "VcrTarget":
        right = f"answer {target.answer} (right): {entry.answers[target.answer]}"
        reason = f"reason {target.reason} (right): {entry.reasons[target.reason]}"
        return [entry.text, right, reason, *entry.answers, *entry.reasons]
    if kind == "CaptionTarget":
        return list(target.references)
    if kind == "RetrievalTarget":
        return [*entry.texts, *(foil for foil in entry.foils if foil)]
    if kind == "BoxTarget":
        return [entry.text, f"right: box {', '.join(f'{n:g}' for n in target.box)}"]
    return [entry.text, *(f"right: {start:g} to {end:g} s of " for start, end in target.moments)]


# ---------------------------------------------------------------- show


@pytest.mark.parametrize(("dataset", "task"), FORMS)
def test_a_sample_of_every_form_is_shown_with_what_is_right(
    cli: Cli, tmp_path: Path, dataset: str, task: str
) -> None:
    shown = cli("data", "show", dataset, "--task", task, "--index", 3, "-o", "out/x.png")
    assert shown.returncode == 0, shown.stderr
    sample = sample_of(dataset, task, 3)
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{task}/{dataset} test, sample {sample.id}"
    for target in targets_of(sample):
        assert any(target in line for line in lines), target
    with Image.open(tmp_path / "out" / "x.png") as picture:
        picture.load()
        assert min(picture.size) >= 96
    assert (tmp_path / "out" / "x.gif").exists() == (task in OF_CLIPS)


@pytest.mark.parametrize("task", OF_CLIPS)
def test_a_clip_is_animated_for_as_long_as_it_lasts(cli: Cli, tmp_path: Path, task: str) -> None:
    shown = cli("data", "show", "toybox", "--task", task, "--index", 1, "-o", "x.png")
    assert f"wrote {Path('x.gif')}" in shown.stdout
    milliseconds = 0.0
    with Image.open(tmp_path / "x.gif") as animation:
        for frame in range(animation.n_frames):  # type: ignore[attr-defined]
            animation.seek(frame)
            milliseconds += animation.info["duration"]
    duration = sample_of("toybox", task, 1).input.visual.duration
    assert milliseconds / 1000 == pytest.approx(duration, rel=0.02)


def test_without_o_nothing_is_written(cli: Cli, tmp_path: Path) -> None:
    assert cli("data", "show", "toybox", "--task", "vqa").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_an_id_shows_the_sample_of_that_id(cli: Cli) -> None:
    id = sample_of("toybox", "vqa", 7, "val").id
    by_id = cli("data", "show", "toybox", "--task", "vqa", "--split", "val", "--id", id)
    by_index = cli("data", "show", "toybox", "--task", "vqa", "--split", "val", "--index", 7)
    assert by_id.stdout == by_index.stdout
    assert f"sample {id}" in by_id.stdout


def test_the_task_may_be_named_with_its_data_set(cli: Cli) -> None:
    long = cli("data", "show", "toybox-vcr", "--task", "vqa/toybox-vcr")
    assert long.stdout == cli("data", "show", "toybox-vcr", "--task", "vqa").stdout


SHOW = ("data", "show")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*SHOW, "toybox", "--task", "vqa", "--index", 5000), "test has 5,000 samples, from 0 on"),
        ((*SHOW, "toybox", "--task", "vqa", "--index", -1), "--index"),
        ((*SHOW, "toybox", "--task", "vqa", "--id", "gone"), "has no sample 'gone'"),
        ((*SHOW, "toybox", "--task", "vqa", "--split", "tset"), "it has train, val, test"),
        ((*SHOW, "toybx", "--task", "vqa"), "did you mean toybox?"),
        ((*SHOW, "toybox", "--task", "captionning"), "did you mean captioning?"),
        ((*SHOW, "toybox"), "--task"),
        ((*SHOW, "didemo", "--task", "temporal-localization"), "--data-dir"),
        (
            (*SHOW, "didemo", "--task", "temporal-localization", "--data-dir", "gone"),
            "gone: no such folder",
        ),
        ((*SHOW, "toybox", "--task", "vqa", "-o", "x.nopicture"), "x.nopicture"),
        (("data", "verify", "didem", "--data-dir", "."), "did you mean didemo?"),
        (("data", "verify", "nonsense", "--data-dir", "."), "there are: activitynet-captions"),
        (("data", "verify", "didemo"), "--data-dir"),
        (("data", "verify", "didemo", "--data-dir", "gone"), "gone: no such folder"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_wrong_arguments_get_one_line(cli: Cli, arguments: tuple[Any, ...], said: str) -> None:
    done = cli(*arguments)
    if "x.nopicture" in arguments:  # by then the sample is shown
        done.stdout = ""
    assert said in line_of(done)


# ---------------------------------------------------------------- verify


def problems_of(done: CompletedProcess[str]) -> list[str]:
    """The lines of `problem:`, which the last line counts."""
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("problem: ")]
    assert done.stdout.splitlines()[-1] == (f"{len(lines)} problems" if lines else "no problems")
    assert done.returncode == (2 if lines else 0)
    return [line.removeprefix("problem: ") for line in lines]


def has(problems: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in problems)


@pytest.fixture
def flickr8k(tmp_path: Path) -> Path:
    root = tmp_path / "flickr8k"
    (root / "images").mkdir(parents=True)
    names = {"train": "a.jpg", "dev": "b.jpg", "test": "c.jpg"}
    lines = [f"{name}#{i}\tA dog runs {i} times ." for name in names.values() for i in range(5)]
    (root / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for split, name in names.items():
        (root / f"Flickr_8k.{split}Images.txt").write_text(f"{name}\n")
        (root / "images" / name).write_bytes(b"a picture")
    return root


def test_a_whole_flickr8k_has_no_problems(cli: Cli, flickr8k: Path) -> None:
    done = cli("data", "verify", "flickr8k", "--data-dir", flickr8k)
    assert problems_of(done) == []
    assert "captioning/flickr8k" in done.stdout
    assert "retrieval/flickr8k" in done.stdout
    assert "1 samples, 1 visuals" in done.stdout


def test_all_that_is_wrong_with_flickr8k_is_told_at_once(cli: Cli, flickr8k: Path) -> None:
    (flickr8k / "images" / "a.jpg").unlink()
    (flickr8k / "images" / "b.jpg").write_bytes(b"")
    (flickr8k / "Flickr_8k.testImages.txt").unlink()
    problems = problems_of(cli("data", "verify", "flickr8k", "--data-dir", flickr8k))
    assert has(problems, "images/a.jpg", "missing")
    assert has(problems, "images/b.jpg", "empty")
    assert has(problems, "Flickr_8k.testImages.txt", "no such file")
    assert len(problems) == 3  # once each, though two tasks share the files


def test_one_task_s_form_alone_can_be_verified(cli: Cli, flickr8k: Path) -> None:
    done = cli("data", "verify", "retrieval/flickr8k", "--data-dir", flickr8k)
    assert problems_of(done) == []
    assert "captioning" not in done.stdout


@pytest.fixture
def didemo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of as many descriptions as the official files are said to have."""
    official = {"train": 1, "val": 1, "test": 1}
    monkeypatch.setattr("harness.tasks.datasets.didemo._SAMPLES", official)
    root = tmp_path / "didemo"
    (root / "videos").mkdir(parents=True)
    for place, split in enumerate(official):
        record = {
            "annotation_id": place,
            "description": "the dog jumps",
            "video": f"{split}.mp4",
            "num_segments": 6,
            "times": [[0, 0]] * 4,
        }
        (root / f"{split}_data.json").write_text(json.dumps([record]))
        (root / "videos" / f"{split}.mp4").write_bytes(b"a video")
    return root


def test_a_whole_didemo_has_no_problems(cli: Cli, didemo: Path) -> None:
    assert problems_of(cli("data", "verify", "didemo", "--data-dir", didemo)) == []


def test_all_that_is_wrong_with_didemo_is_told_at_once(cli: Cli, didemo: Path) -> None:
    (didemo / "train_data.json").unlink()
    record = json.loads((didemo / "val_data.json").read_text())[0]
    wrong = [record | {"times": [[0, 9]] * 4}, record | {"annotation_id": 7, "num_segments": 8}]
    (didemo / "val_data.json").write_text(json.dumps(wrong))
    (didemo / "videos" / "test.mp4").unlink()
    done = cli("data", "verify", "didemo", "--data-dir", didemo)
    problems = problems_of(done)
    assert has(problems, "train_data.json", "no such file")
    assert has(problems, "record 0", "'times'")
    assert has(problems, "record 1", "'num_segments'")
    assert has(problems, "videos/test.mp4", "missing")
    assert "train     not here:" in done.stdout
    assert "test      1 samples, 1 visuals" in done.stdout


def test_a_whole_vqav2_has_no_problems(
    cli: Cli, vqav2_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"train": 12, "val": 12}
    monkeypatch.setattr("harness.tasks.datasets.vqav2._QUESTIONS", counts)
    root = vqav2_folder(train=True)
    assert problems_of(cli("data", "verify", "vqav2", "--data-dir", root)) == []


def test_all_that_is_wrong_with_vqav2_is_told_at_once(
    cli: Cli, vqav2_folder: Callable[..., Path]
) -> None:
    root = vqav2_folder()
    (root / "val2014" / "COCO_val2014_000000000002.jpg").unlink()
    problems = problems_of(cli("data", "verify", "vqav2", "--data-dir", root))
    assert has(problems, "v2_OpenEnded_mscoco_train2014_questions.json", "no such file")
    assert has(problems, "v2_mscoco_train2014_annotations.json", "no such file")
    assert has(problems, "val2014/COCO_val2014_000000000002.jpg", "missing")
    assert has(problems, "12 questions, 214,354 in the official file")


@pytest.mark.parametrize("dataset", ["flickr8k", "didemo", "vqav2", "refcoco", "msvd", "coco"])
def test_an_empty_folder_has_problems_and_no_traceback(
    cli: Cli, tmp_path: Path, dataset: str
) -> None:
    done = cli("data", "verify", dataset, "--data-dir", tmp_path)
    assert has(problems_of(done), "no part can be read")


def test_toybox_has_no_files_that_could_be_wrong(
    cli: Cli, small_toybox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli("data", "verify", "vqa/toybox")
    assert problems_of(done) == []
    assert "train" in done.stdout
