"""The run folder: a log that survives a kill, runs that go on, one process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.store import (
    Record,
    Run,
    append,
    drop_failed,
    locked,
    open_run,
    read_log,
    resume_key,
    write_json,
)

DECIDES: dict[str, Any] = {
    "model": "vlbert",
    "weights_sha256": "ab" * 32,
    "options": {"regions": "segments"},
    "dtype": "float32",
    "task": "vqa",
    "dataset": "toybox",
    "data_sha256": "cd" * 32,
    "split": "test",
    "limit": None,
    "seed": 0,
}


def record(id: str, answer: str = "yes") -> Record:
    return Record(id, "picture", {"answer": answer, "confidence": 0.5})


def write_log(path: Path, *records: Record) -> bytes:
    with path.open("ab") as file:
        append(file, records)
    return path.read_bytes()


def message(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_log(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- the log


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    log = tmp_path / "samples.jsonl"
    written = [record("a"), Record("b", "g", None, False, "failed"), Record("c", "g", {}, False)]
    write_log(log, *written[:2])
    write_log(log, written[2])
    assert read_log(log) == {one.id: one for one in written}


def test_an_absent_log_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path / "samples.jsonl") == {}


def test_a_torn_last_line_is_cut_off_and_the_rest_kept(tmp_path: Path) -> None:
    log = tmp_path / "samples.jsonl"
    whole = write_log(log, record("a"), record("b"))
    log.write_bytes(whole + b'{"id": "c", "gro')
    assert list(read_log(log)) == ["a", "b"]
    assert log.read_bytes() == whole
    write_log(log, record("c"))
    assert list(read_log(log)) == ["a", "b", "c"]


def test_a_log_that_is_one_torn_line_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "samples.jsonl"
    log.write_bytes(b'{"id": "c"')
    assert read_log(log) == {}
    assert log.read_bytes() == b""


@pytest.mark.parametrize(
    "damage",
    [
        b'{"id": "b", "group": "g", "predic\n',  # torn, and written on after
        b"\n",
        b"[]\n",
        b'"b"\n',
        b'{"id": "b"}\n',
        b'{"id": "b", "group": "g", "prediction": {}, "target": "yes"}\n',
        b"\x00\x00\x00\n",
        b'{"id": "b", "group": "g", "prediction": {"answer": "r\xffd"}}\n',
    ],
)
def test_damage_in_the_middle_is_named_by_its_line(tmp_path: Path, damage: bytes) -> None:
    log = tmp_path / "samples.jsonl"
    first = write_log(log, record("a"))
    log.write_bytes(first + damage)
    content = write_log(log, record("c"))
    assert "line 2" in message(log)
    assert log.read_bytes() == content  # nothing is thrown away


def test_an_id_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    log = tmp_path / "samples.jsonl"
    write_log(log, record("a"), record("b"), record("a"))
    text = message(log)
    assert "line 3" in text
    assert "sample a " in text


@given(
    st.text(st.characters(codec=None, categories=None), max_size=20),  # lone surrogates too
    st.text(st.characters(codec=None, categories=None), max_size=20),
)
def test_any_text_survives_the_log(
    tmp_path_factory: pytest.TempPathFactory, id: str, answer: str
) -> None:
    log = tmp_path_factory.mktemp("log") / "samples.jsonl"
    one = Record(id, answer, {"answer": answer}, False, answer)
    write_log(log, one, record(id + "."))
    assert read_log(log)[id] == one


@pytest.mark.parametrize(
    "text", ["a\u2028b\u2029c\x85d", "🦊 ünï", "\ud800 alone", "tab\t\r\n", ""]
)
def test_awkward_text_survives_the_log(tmp_path: Path, text: str) -> None:
    log = tmp_path / "samples.jsonl"
    write_log(log, Record(text, text, {"answer": text}), record("next"))
    assert read_log(log)[text] == Record(text, text, {"answer": text})
    assert log.read_bytes().count(b"\n") == 2


def test_failed_samples_are_taken_out_to_be_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "samples.jsonl"
    failed, invalid = Record("b", "g", None, False, "boom"), Record("c", "g", {}, False, "no text")
    write_log(log, record("a"), failed, invalid)
    assert list(drop_failed(log)) == ["a", "c"]  # an invalid prediction is a prediction
    assert list(read_log(log)) == ["a", "c"]


# ---------------------------------------------------------------- runs


def start(root: Path, **changes: Any) -> Run:
    return open_run(root, "vqa", "toybox", "vlbert", DECIDES | changes)


def finish(run: Run, status: str) -> None:
    run.write("run.json", {"status": status})


def test_a_run_folder_is_named_by_task_data_model_key_and_counter(tmp_path: Path) -> None:
    run = start(tmp_path)
    assert run.path == tmp_path / "vqa--toybox" / "vlbert" / f"{resume_key(DECIDES)}-1"
    assert run.path.is_dir()
    assert not run.resumed


@pytest.mark.parametrize("status", ["started", "failed", None])
def test_an_unfinished_run_goes_on(tmp_path: Path, status: str | None) -> None:
    run = start(tmp_path)
    if status:
        finish(run, status)
    write_log(run.log, record("a"))
    again = start(tmp_path)
    assert again.path == run.path
    assert again.resumed


def test_a_run_whose_run_json_is_torn_goes_on(tmp_path: Path) -> None:
    run = start(tmp_path)
    (run.path / "run.json").write_text('{"status": "comp')
    assert start(tmp_path).path == run.path


def test_after_a_complete_run_a_new_one_starts(tmp_path: Path) -> None:
    names = []
    for _ in range(11):  # the counter is a number: 10 comes after 9
        run = start(tmp_path)
        assert not run.resumed
        names.append(run.path.name.rpartition("-")[2])
        finish(run, "complete")
    assert names == [str(number) for number in range(1, 12)]


def test_runs_of_another_key_are_left_alone(tmp_path: Path) -> None:
    first = start(tmp_path)
    other = start(tmp_path, seed=1)
    assert other.path != first.path
    assert other.path.name.endswith("-1")
    assert start(tmp_path).path == first.path


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be made"):
        start(tmp_path / "file")


@pytest.mark.parametrize("name", sorted(DECIDES))
def test_the_key_depends_on_each_thing_that_decides(name: str) -> None:
    assert resume_key({**DECIDES, name: "other"}) != resume_key(DECIDES)
    assert resume_key({k: v for k, v in DECIDES.items() if k != name}) != resume_key(DECIDES)


def test_the_key_does_not_depend_on_the_order_of_what_decides() -> None:
    assert resume_key(dict(reversed(DECIDES.items()))) == resume_key(DECIDES)


def test_the_key_stands_any_text() -> None:
    keys = {resume_key({"options": text}) for text in ("ü", "u\u0308", "\udcff", "\\udcff")}
    assert len(keys) == 4


# ---------------------------------------------------------------- run.json


def test_what_is_written_is_json_with_any_text(tmp_path: Path) -> None:
    content = {"reason": "ü\u2028🦊", "folder": os.fsdecode(b"/data/\xff")}
    write_json(tmp_path / "run.json", content)
    assert json.loads((tmp_path / "run.json").read_bytes()) == content


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"status": "complete"})
    whole = path.read_bytes()
    write_text = Path.write_text

    def torn(self: Path, data: str, **options: Any) -> int:
        write_text(self, data[:5], **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", torn)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"status": "started"})
    assert path.read_bytes() == whole


def test_a_file_appears_under_its_name_only_when_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append((json.loads(source.read_bytes()), target.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_json(tmp_path / "run.json", {"status": "complete"})
    assert seen == [({"status": "complete"}, False)]
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


# ---------------------------------------------------------------- one process at a time

_TAKE = """
import sys
from pathlib import Path
from harness.store import Run, locked
with locked(Run(Path(sys.argv[1]), "key", False)):
    print("taken")
"""


def test_a_second_process_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    def second() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _TAKE, str(tmp_path)], capture_output=True, text=True, timeout=60
        )

    with locked(Run(tmp_path, "key", False)):
        refused = second()
    assert "taken" not in refused.stdout
    assert "another process is at work" in refused.stderr
    assert second().stdout == "taken\n"
