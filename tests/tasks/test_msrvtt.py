"""MSR-VTT from tiny files in the official format, and the ways in which they can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.tasks.datasets import msrvtt
from harness.tasks.targets import CaptionTarget, RetrievalTarget
from harness.types import Dataset

ONE_KA = "MSRVTT_JSFUSION_test.csv"


def info(splits: dict[str, str]) -> dict[str, Any]:
    return {
        "videos": [
            {"video_id": id, "split": split, "start time": 10.5, "end time": 22.0, "category": 9}
            for id, split in splits.items()
        ],
        "sentences": [
            {"video_id": id, "caption": f"caption {place} of {id}", "sen_id": place}
            for place in range(2)
            for id in reversed(splits)
        ],
    }


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    train_val = {"video0": "train", "video2": "validate", "video1": "train"}
    write(tmp_path / "train_val_videodatainfo.json", info(train_val))
    test = {"video7": "test", "video8": "test", "video9": "test"}
    write(tmp_path / "test_videodatainfo.json", info(test))
    (tmp_path / ONE_KA).write_text(
        "key,vid_key,video_id,sentence\n"
        "ret0,msr9,video9,a person connects something\n"
        'ret1,msr7,video7,"a ""quoted"" man, running"\n'
    )
    return tmp_path


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


def message(load: Callable[..., Dataset], *arguments: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_splits_are_those_of_the_videos_in_their_order(root: Path) -> None:
    assert ids(msrvtt.load_captioning(root, "train")) == ["video0", "video1"]
    assert ids(msrvtt.load_captioning(root, "val")) == ["video2"]
    assert ids(msrvtt.load_captioning(root, "test")) == ["video7", "video8", "video9"]


def test_a_video_has_its_captions_and_its_duration(root: Path) -> None:
    sample = msrvtt.load_captioning(root, "val").samples[0]
    assert sample.target == CaptionTarget(("caption 0 of video2", "caption 1 of video2"))
    assert sample.group == sample.input.visual.id == "msrvtt/video2"
    assert sample.input.visual.duration == 11.5


def test_retrieval_searches_all_captions_of_an_official_split(root: Path) -> None:
    sample = msrvtt.load_retrieval(root, "test").samples[0]
    assert sample.target == RetrievalTarget(2)
    assert sample.input.texts == ("caption 0 of video7", "caption 1 of video7")


def test_1ka_has_one_caption_a_video_and_official_durations(root: Path) -> None:
    dataset = msrvtt.load_retrieval(root, "1ka")
    assert ids(dataset) == ["video9", "video7"]
    assert dataset.samples[1].input.texts == ('a "quoted" man, running',)
    assert {sample.target for sample in dataset.samples} == {RetrievalTarget(1)}
    assert {sample.input.visual.duration for sample in dataset.samples} == {11.5}
    assert dataset.notes == ()


def test_1ka_is_for_retrieval_only(root: Path) -> None:
    assert "use one of: train, val, test" in message(msrvtt.load_captioning, root, "1ka")
    assert "use one of: train, val, test, 1ka" in message(msrvtt.load_retrieval, root, "dev")


@pytest.mark.parametrize("name", ["videodatainfo.json", "MSRVTT_data.json"])
def test_one_file_with_everything_will_do(tmp_path: Path, name: str) -> None:
    content = info({"video0": "train", "video1": "validate", "video2": "test"})
    write(tmp_path / name, content)
    found = {s: ids(msrvtt.load_captioning(tmp_path, s)) for s in ("train", "val", "test")}
    assert found == {"train": ["video0"], "val": ["video1"], "test": ["video2"]}


@pytest.mark.parametrize("folder", ["videos", "TrainValVideo", "TestVideo", "all"])
def test_videos_are_found_in_any_of_the_usual_folders(root: Path, folder: str) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    with pytest.raises(BadInput, match=r"videos.video2\.mp4: there is no such video"):
        msrvtt.load_captioning(root, "val").samples[0].input.visual.read(2)
    (root / folder).mkdir()
    (root / folder / "video2.mp4").write_text("no video")
    with pytest.raises(BadInput, match=rf"{folder}.video2\.mp4: this is not a video"):
        msrvtt.load_captioning(root, "val").samples[0].input.visual.read(2)


@pytest.mark.parametrize(("split", "name"), [("test", "test_videodatainfo.json"), ("1ka", ONE_KA)])
def test_the_annotation_file_alone_gives_the_same_samples(
    root: Path, split: str, name: str
) -> None:
    whole = msrvtt.load_retrieval(root, split)
    alone = msrvtt.load_retrieval_files({"annotations": root / name}, split)
    assert [s.input.texts for s in whole.samples] == [s.input.texts for s in alone.samples]
    assert whole.sha256 == alone.sha256
    assert bool(alone.notes) == (split == "1ka")  # the csv file has no durations
    with pytest.raises(BadInput, match="no folder of videos was given"):
        alone.samples[0].input.visual.read(2)


def test_captioning_from_the_annotation_file_alone(root: Path) -> None:
    files = {"annotations": root / "train_val_videodatainfo.json"}
    alone = msrvtt.load_captioning_files(files, "val")
    whole = msrvtt.load_captioning(root, "val")
    assert [s.target for s in alone.samples] == [s.target for s in whole.samples]
    assert "no caption of the split 'test'" in message(msrvtt.load_captioning_files, files, "test")


@pytest.mark.parametrize(
    ("part", "change", "complaint"),
    [
        ("videos", {"video_id": 3}, "videos[1] has no text 'video_id'"),
        ("videos", {"video_id": "video0"}, "video 'video0' is there twice"),
        ("videos", {"split": None}, "videos[1] has no text 'split'"),
        ("videos", {"end time": "22"}, "videos[1] has no number 'end time'"),
        ("videos", {"end time": float("nan")}, "videos[1] has no number 'end time'"),
        ("videos", {"end time": 10.5}, "videos[1] ends at 10.5 s"),
        ("sentences", {"video_id": "video5"}, "sentences[1] is about video 'video5'"),
        ("sentences", {"caption": None}, "sentences[1] has no text 'caption'"),
    ],
)
def test_wrong_records_are_named(
    tmp_path: Path, part: str, change: dict[str, Any], complaint: str
) -> None:
    content = info({"video0": "test", "video1": "test"})
    content[part][1] |= change
    path = write(tmp_path / "a.json", content)
    said = message(msrvtt.load_captioning_files, {"annotations": path}, "test")
    assert str(path) in said
    assert complaint in said


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "this is not a table"),
        ("key,video_id,sentence\n", "the columns are not key,vid_key,video_id,sentence"),
        ("key,vid_key,video_id,sentence\nret0,msr9,video9\n", "row 1 has 3 columns"),
        ('key,vid_key,video_id,sentence\nret0,msr9,video9,"a\n', "this is not a table"),
        ("key,vid_key,video_id,sentence\na,b,video9,c\na,b,video9,d\n", "is there twice"),
        ("key,vid_key,video_id,sentence\na,b,video99,c\n", "the duration of video 'video99'"),
        ("key,vid_key,video_id,sentence\n", "there is no caption of the split '1ka'"),
    ],
)
def test_a_wrong_table_is_named(root: Path, content: str, complaint: str) -> None:
    (root / ONE_KA).write_text(content)
    said = message(msrvtt.load_retrieval, root, "1ka")
    assert str(root / ONE_KA) in said
    assert complaint in said


def test_missing_files_are_named(tmp_path: Path) -> None:
    said = message(msrvtt.load_captioning, tmp_path, "test")
    assert f"{tmp_path / 'test_videodatainfo.json'}: there is no such file" in said
    assert "--data-dir" in message(msrvtt.load_captioning, None, "test")


def test_verify_tells_everything_at_once(root: Path) -> None:
    for folder, names in {"TrainValVideo": (0, 1, 2), "TestVideo": (7, 8, 9)}.items():
        (root / folder).mkdir()
        for number in names:
            (root / folder / f"video{number}.mp4").write_text("some bytes")
    assert msrvtt.verify(root) == []
    (root / "TestVideo" / "video8.mp4").write_text("")
    (root / "train_val_videodatainfo.json").write_text("{")
    problems = msrvtt.verify(root)
    assert problems[0].startswith("train_val_videodatainfo.json: this is not JSON")
    assert problems[1:] == ["TestVideo/video8.mp4: empty; fetch it again"]
    assert "missing, as are all other annotation files" in msrvtt.verify(root / "TestVideo")[0]
