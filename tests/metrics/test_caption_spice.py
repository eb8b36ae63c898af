"""SPICE against a stand-in for its jar, which reads and writes as the jar's source says. The real
program, which needs models of half a gigabyte, is not tested."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.metrics.caption_spice import spice, spice_aggregate, spice_reason, spice_rows
from harness.metrics.java import JavaFailed

FakeJava = Callable[..., Path]

# The score is the share of the test caption's words that the first reference has.
SCORES = """
items = json.loads(Path(sys.argv[sys.argv.index("-jar") + 2]).read_text())
(folder / "items.json").write_text(json.dumps(items))
assert Path(sys.argv[sys.argv.index("-cache") + 1]).is_dir()
results = []
for item in reversed(items):
    words = item["test"].split()
    f = sum(word in item["refs"][0].split() for word in words) / len(words)
    all_tuples = {"tp": 1, "fp": 0, "fn": 0, "f": f, "pr": 1.0, "re": 1.0, "numImages": 1}
    color = {"tp": 0, "fp": 0, "fn": 0, "f": None, "pr": None, "re": None, "numImages": 1}
    scores = {"All": all_tuples, "Color": color}
    results.append({"image_id": item["image_id"], "scores": scores})
out = Path(sys.argv[sys.argv.index("-out") + 1])
"""
WRITE = (
    SCORES + "out.write_text(json.dumps(results, indent=2))\nprint('SPICE evaluation took: 1 s')"
)


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with SPICE's jars, empty ones, that HARNESS_SPICE names."""
    folder = tmp_path / "spice jars"
    (folder / "lib").mkdir(parents=True)
    (folder / "spice-1.0.jar").touch()
    (folder / "lib" / "stanford-corenlp-3.6.0.jar").touch()
    (folder / "lib" / "stanford-corenlp-3.6.0-models.jar").touch()
    monkeypatch.setenv("HARNESS_SPICE", str(folder))
    return folder


def test_rows_are_the_f_of_each_sample_and_one(
    fake_java: FakeJava, jars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    folder = fake_java(WRITE, version="1.8.0_292")
    assert spice_reason() == ""
    hypotheses = ["a red dog", None, 'a "caf\u00e9"\n||| cat', " ", "a b c d"]
    references = [["a dog", "x"], ["a"], ["a"], ["a"], ["a b c d"]]
    rows = spice_rows(hypotheses, references)
    assert rows == pytest.approx(np.array([[2 / 3, 1], [0, 1], [1 / 4, 1], [0, 1], [1, 1]]))
    assert spice(hypotheses, references) == pytest.approx((2 / 3 + 1 / 4 + 1) / 5)
    items = json.loads((folder / "items.json").read_text())
    assert [item["image_id"] for item in items] == [0, 2, 4]
    assert items[1] == {"image_id": 2, "test": hypotheses[2], "refs": ["a"]}
    call = json.loads((folder / "call.json").read_text())
    assert call["LC_ALL"].startswith("C")
    assert "-Duser.language=en" in call["arguments"]
    arguments = call["arguments"][call["arguments"].index("-Xmx8G") :]
    assert arguments[1:3] == ["-jar", str(jars / "spice-1.0.jar")]
    assert arguments[4::2] == ["-cache", "-out", "-subset"]
    assert arguments[-1] == "-silent"
    assert not Path(arguments[3]).exists()  # its files are gone


def test_sums_may_have_any_leading_axes_and_weights() -> None:
    rows = np.array([[0.5, 1.0], [0.25, 1.0]])
    assert spice_aggregate(np.array([[2.0, 1.0], [0.0, 4.0]]) @ rows).tolist() == [1.25 / 3, 0.25]
    assert np.isnan(spice_aggregate(np.zeros(2)))


def test_without_a_word_to_score_java_is_not_needed(no_java: None) -> None:
    assert spice_rows([], []).shape == (0, 2)
    assert spice_rows([None, ""], [["a"], ["b"]]).tolist() == [[0, 1], [0, 1]]


def test_missing_jars_are_named(jars: Path, fake_java: FakeJava) -> None:
    fake_java(WRITE, version="1.8.0_292")
    (jars / "lib" / "stanford-corenlp-3.6.0-models.jar").unlink()
    assert "no lib/stanford-corenlp-3.6.0-models.jar" in spice_reason()
    with pytest.raises(JavaFailed, match=r"^SPICE: no SPICE jars: no lib/stanford"):
        spice(["a"], [["a"]])


def test_pycocoevalcaps_own_folder_is_looked_at_without_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HARNESS_SPICE", raising=False)
    monkeypatch.setattr("harness.metrics.caption_spice.coco_folder", lambda: Path("/nowhere"))
    assert spice_reason().startswith("no SPICE jars: no spice-1.0.jar")
    monkeypatch.setattr("harness.metrics.caption_spice.coco_folder", lambda: None)
    assert spice_reason().startswith("no SPICE jars: pycocoevalcap is not installed")


def test_a_missing_java_is_said(jars: Path, no_java: None) -> None:
    assert spice_reason() == "no Java: no `java` on the PATH"


def test_a_java_too_new_for_the_jar_is_refused(jars: Path, fake_java: FakeJava) -> None:
    fake_java(WRITE, version="17.0.1")
    assert "the `java` on the PATH is 17" in spice_reason()


def test_a_failing_java_is_noticed(jars: Path, fake_java: FakeJava) -> None:
    fake_java("print('Error: no heap', file=sys.stderr); sys.exit(1)", version="11.0.2")
    with pytest.raises(JavaFailed, match=r"^SPICE: Java ended with code 1: Error: no heap$"):
        spice(["a"], [["a"]])


def test_a_hanging_java_is_stopped(jars: Path, fake_java: FakeJava) -> None:
    fake_java("time.sleep(60)", version="11.0.2")
    start = time.monotonic()
    with pytest.raises(JavaFailed, match=r"not done after 0.5 s"):
        spice(["a"], [["a"]], timeout=0.5)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("pass", "wrote no scores"),
        ("out.write_text('garbage')", "cannot be read: JSONDecodeError"),
        ("out.write_bytes(bytes([200, 201]))", "cannot be read: UnicodeDecodeError"),
        ("out.write_text('[1]')", "cannot be read: TypeError"),
        ("out.write_text(json.dumps([{'image_id': 0, 'scores': {}}]))", "cannot be read: KeyError"),
        ("out.write_text(json.dumps(results[1:]))", "sample 1: the jar's F is None"),
        (
            "results[1]['scores']['All']['f'] = 'NaN'; out.write_text(json.dumps(results))",
            "sample 0: the jar's F is 'NaN'",
        ),
        (
            "results[0]['scores']['All']['f'] = 1.5; out.write_text(json.dumps(results))",
            "sample 1: the jar's F is 1.5",
        ),
    ],
)
def test_other_scores_than_the_jar_writes_are_an_error(
    jars: Path, fake_java: FakeJava, body: str, complaint: str
) -> None:
    fake_java(SCORES + body, version="11.0.2")
    with pytest.raises(JavaFailed, match=complaint):
        spice(["a", "b"], [["a"], ["b"]])
