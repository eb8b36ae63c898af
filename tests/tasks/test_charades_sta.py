"""Charades-STA from tiny files, what is dropped and changed, and every fault at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.tasks.datasets import charades_sta
from harness.tasks.datasets.charades_sta import load, load_files, verify

LINES = """3MSZA 24.3 30.4##person turn a light on.
AAAAA 2.0 9.5##a person  sits.
3MSZA 5 1.0##person is holding medicine.
3MSZA 40.0 50.0##person leaves.
"""
TABLE = 'id,script,length\n3MSZA,"says ""no"",\nand goes",30.5\nAAAAA,b,9.0\n'


@pytest.fixture
def data() -> Path:
    root = Path(os.environ.get("HARNESS_DATA", "absent"))
    if not (root / "charades-sta").is_dir():
        pytest.skip("HARNESS_DATA names no folder with charades-sta/")
    return root / "charades-sta"


def write(root: Path, lines: str = LINES, table: str = TABLE, split: str = "test") -> Path:
    (root / f"charades_sta_{split}.txt").write_bytes(lines.encode())
    (root / f"Charades_v1_{split}.csv").write_bytes(table.encode())
    return root


def message_of_loading(root: Path | None, split: str = "test") -> str:
    with pytest.raises(BadInput) as caught:
        load(root, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lines_become_samples_with_the_lengths_of_the_table(tmp_path: Path) -> None:
    dataset = load(write(tmp_path), "test")
    assert (dataset.name, dataset.split) == ("charades-sta", "test")
    first, second = dataset.samples
    assert (first.id, second.id) == ("test-00001", "test-00002")
    assert first.input.text == "person turn a light on."
    assert first.target.moments == ((24.3, 30.4),)
    assert first.input.visual.duration == 30.5
    assert first.group == first.input.visual.id == "charades-sta/3MSZA"
    assert (second.input.text, second.target.moments) == ("a person sits.", ((2.0, 9.0),))


def test_every_dropped_or_changed_line_is_told_by_its_number(tmp_path: Path) -> None:
    assert load(write(tmp_path), "test").notes == (
        "1 of 4 lines dropped: the moment lies outside the video: 4",
        "1 of 4 lines dropped: the moment ends where it starts, or before: 3",
        "1 of 4 lines changed: the moment ends after the video; clipped to the video's end: 2",
        "1 of 4 lines changed: spaces around the text or in a row, or line breaks, removed: 2",
    )


def test_without_the_table_a_clip_lasts_to_its_last_end_and_a_note_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    lines, table = tmp_path / "charades_sta_test.txt", tmp_path / "Charades_v1_test.csv"
    dataset = load_files({"annotations": lines}, "test")
    assert [sample.input.visual.duration for sample in dataset.samples] == [50.0, 9.5, 50.0]
    assert "the lengths of all 2 videos are unknown" in dataset.notes[-1]
    with_table = load_files({"annotations": lines, "durations": table}, "test")
    assert len(with_table.samples) == 2
    assert with_table.sha256 != dataset.sha256
    with pytest.raises(BadInput, match="charades-sta/3MSZA: no folder of videos was given"):
        with_table.samples[0].input.visual.read(4)


def test_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    samples = load(write(tmp_path), "test").samples
    again = load(write(tmp_path, LINES.replace("\n", "\r\n")), "test").samples
    assert [(s.id, s.input.text, s.target) for s in samples] == [
        (s.id, s.input.text, s.target) for s in again
    ]


@pytest.mark.parametrize(
    "line",
    ["", "3MSZA 1 2", "3MSZA 1##text", "3MSZA a 2##text", "3MSZA 1 nan##text", "3MSZA 1 2## "],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    message = message_of_loading(write(tmp_path, f"{line}\n{LINES}"))
    assert "charades_sta_test.txt: line 1 is not 'VIDEO START END##SENTENCE'" in message


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", "line 1 has no columns 'id' and 'length'"),
        ("id,size\n3MSZA,3\n", "line 1 has no columns 'id' and 'length'"),
        ("id,length\n3MSZA,\n", "line 2 has no positive number 'length'"),
        ("id,length\n3MSZA\n", "line 2 has no positive number 'length'"),
        ("id,length\n3MSZA,0.0\n", "line 2 has no positive number 'length'"),
        ("id,length\n3MSZA,3\n3MSZA,4\n", "line 3 has a video that is there twice"),
        ("id,length\n3MSZA,31\n", "line 2 (video 'AAAAA') has no length"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, table: str, complaint: str) -> None:
    assert complaint in message_of_loading(write(tmp_path, table=table))


def test_what_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "charades_sta_test.txt").write_bytes(b"3MSZA 1 2##caf\xe9\n")
    assert "byte 14 is not UTF-8" in message_of_loading(tmp_path)


def test_missing_things_are_refused(tmp_path: Path) -> None:
    assert "train, test" in message_of_loading(tmp_path, "val")
    assert "--data-dir" in message_of_loading(None)
    assert "no such folder" in message_of_loading(tmp_path / "absent")
    assert "charades_sta_test.txt: there is no such file" in message_of_loading(tmp_path)
    write(tmp_path)
    (tmp_path / "Charades_v1_test.csv").unlink()
    assert "Charades_v1_test.csv: there is no such file" in message_of_loading(tmp_path)


def test_verify_tells_everything_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, f"one\ntwo\n{LINES}", split="train")
    write(tmp_path)
    faults, count, videos = verify(tmp_path)
    assert "line 1 is not 'VIDEO START END##SENTENCE' (and 1 more)" in faults
    assert "split 'test' has 2 samples, 3,720 in the official files" in count
    assert videos == "Charades_v1/: there is no such folder; it holds 2 videos"
    write(tmp_path, split="train")
    monkeypatch.setattr(charades_sta, "_SAMPLES", {"train": 2, "test": 2})
    (tmp_path / "Charades_v1_480").mkdir()
    for name in ("3MSZA", "AAAAA"):
        (tmp_path / "Charades_v1_480" / f"{name}.mp4").write_bytes(b"video")
    assert verify(tmp_path) == []


def test_the_official_files_load_whole(data: Path) -> None:
    train, test = load(data, "train"), load(data, "test")
    assert (len(train.samples), len(test.samples)) == (12_404, 3_720)
    assert train.notes[0] == (
        "4 of 12,408 lines dropped: the moment ends where it starts, or before: "
        "8252, 8440, 9623, 9624"
    )
    assert test.notes[0].startswith("562 of 3,720 lines changed: the moment ends after the video")
