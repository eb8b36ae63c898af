"""Where files are looked for under --data-dir, and how missing ones are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.tasks.datasets.folders import (
    data_folder,
    first_file,
    first_folder,
    known_split,
    missing_files,
    video_paths,
    videos_in,
)


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_folder_that_is_not_there_is_refused_and_says_what_mends_it(tmp_path: Path) -> None:
    assert data_folder(tmp_path, "some", "take it") == tmp_path
    with pytest.raises(BadInput, match=r"some needs --data-dir, .*; take it"):
        data_folder(None, "some", "take it")
    with pytest.raises(BadInput, match="absent: there is no such folder"):
        data_folder(tmp_path / "absent", "some", "take it")


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    known_split("some", "val", ("train", "val"))
    with pytest.raises(BadInput, match="some has no split 'dev'; use one of: train, val"):
        known_split("some", "dev", ("train", "val"))


def test_the_first_that_is_there_is_taken_else_the_first_of_all(tmp_path: Path) -> None:
    assert first_file(tmp_path, ("a", "b/c")) == tmp_path / "a"
    assert first_folder(tmp_path, ("a", "b")) == tmp_path / "a"
    put(tmp_path / "b" / "c")
    assert first_file(tmp_path, ("a", "b/c")) == tmp_path / "b" / "c"
    assert first_folder(tmp_path, ("a", "b")) == tmp_path / "b"


def test_a_video_that_comes_twice_is_that_of_the_earlier_folder_then_suffix(tmp_path: Path) -> None:
    for name in ("two/v.avi", "two/v.mp4", "one/v.webm", "two/w.webm", "two/w.AVI"):
        put(tmp_path / name)
    found = videos_in(tmp_path, ("one", "two", "absent"), (".avi", ".mp4", ".webm"))
    assert found == {"v": tmp_path / "one" / "v.webm", "w": tmp_path / "two" / "w.AVI"}


def test_the_empty_suffix_fits_any_name(tmp_path: Path) -> None:
    put(tmp_path / "one" / "v.mpg")
    assert set(videos_in(tmp_path, ("one",), ("", ".mpg"))) == {"v.mpg", "v"}


def test_a_missing_video_belongs_into_the_folder_that_is_there(tmp_path: Path) -> None:
    put(tmp_path / "two" / "v.avi")
    paths = video_paths(tmp_path, ["v", "w"], ("one", "two"), (".mp4", ".avi"))
    assert paths == {"v": tmp_path / "two" / "v.avi", "w": tmp_path / "two" / "w.mp4"}
    assert video_paths(None, ["v"], ("one",), (".mp4",)) == {"v": None}


def test_few_missing_files_are_named_and_many_counted(tmp_path: Path) -> None:
    there = [put(tmp_path / "a" / f"{i}.jpg") for i in range(5)]
    empty = put(tmp_path / "a" / "deep" / "e.jpg", b"")
    few = [tmp_path / "a" / f"missing {i}.jpg" for i in range(3)]
    assert missing_files(tmp_path, there, "pictures") == []
    assert missing_files(tmp_path, [*there, empty, *few], "pictures") == [
        *(f"a/missing {i}.jpg: missing; fetch it again" for i in range(3)),
        "a/deep/e.jpg: empty; fetch it again",
    ]
    many = [tmp_path / "a" / "absent" / f"{i}.jpg" for i in range(4)]
    assert missing_files(tmp_path, [*there, *many], "pictures") == [
        "4 of 9 pictures missing in a/, the first is absent/0.jpg"
    ]


def test_a_missing_folder_is_told_once_however_much_it_should_hold(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / f"{i}" / "v.mp4" for i in range(9)]
    assert missing_files(tmp_path, paths, "videos") == [
        "a/: there is no such folder; it holds 9 videos"
    ]
    assert missing_files(tmp_path, [], "videos") == []
    assert missing_files(tmp_path, [], "videos", "b") == [
        "b/: there is no such folder; it holds the videos"
    ]


def test_a_name_that_leads_out_of_the_folder_is_told_in_full(tmp_path: Path) -> None:
    (line,) = missing_files(tmp_path / "root", [tmp_path / "other.jpg"], "pictures")
    assert str(tmp_path / "other.jpg") in line
