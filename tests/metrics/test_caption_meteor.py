"""METEOR: the formula against scores that the jar gave; the jar's answers against pycocoevalcap's
class, where there is a Java; and, with a stand-in for Java, what happens when it misbehaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.metrics.caption_meteor import meteor, meteor_aggregate, meteor_reason, meteor_rows
from harness.metrics.java import JavaFailed, java_major_version, java_reason
from harness.metrics.ptb_tokenizer import tokenize

if TYPE_CHECKING:
    from harness.types import FloatArray

FakeJava = Callable[..., Path]
DATA = Path(os.environ.get("HARNESS_DATA", "/nowhere")) / "coco-val2017"

# 23 counts as the jar takes them after EVAL, the score it gives each line, and the one of them all.
RECORDED = [
    ("3 4 0 0 3 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 3 3", 0.4039130360601519),
    ("4 3 0 0 2 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 2 2", 0.30328232509354),
    ("13 8 1 0 3 3 0 0 0 0 0 0 2 2 1 0 4 3 0 0 4 9 8", 0.3674507305756606),
    ("14 15 6 6 0 0 0 0 1 1 3 3 2 2 1 0 3 3 2 3 5 12 12", 0.23831009155776506),
    ("5 5 3 3 2 2 3 3 0 0 0 0 0 0 0 0 0 0 0 0 1 5 5", 1.0),  # the whole reference
]
RECORDED_CORPUS = 0.34187139880120365

WORDS = "a the of in on with man men dog dogs cat car auto runs running ran big large red"


def _random_captions(count: int) -> tuple[list[str], list[list[str]]]:
    """Captions of few words, so that many match by stem, synonym or paraphrase, or wholly."""
    random = np.random.default_rng(7)

    def caption() -> str:
        return " ".join(random.choice(WORDS.split(), size=random.integers(0, 9)))

    references = [[caption() for _ in range(random.integers(1, 5))] for _ in range(count)]
    hypotheses = [caption() if random.random() < 0.8 else refs[-1] for refs in references]
    return hypotheses, references


def _coco_captions(count: int) -> tuple[list[str], list[list[str]]]:
    """Pictures' last captions, and the others; nothing without the data."""
    if not DATA.is_dir():
        return [], []
    captions: dict[int, list[str]] = {}
    for record in json.loads((DATA / "captions_val2017.json").read_text())["annotations"]:
        captions.setdefault(record["image_id"], []).append(tokenize(record["caption"]))
    chosen = [captions[picture] for picture in sorted(captions)[:count]]
    return [texts[-1] for texts in chosen], [texts[:-1] for texts in chosen]


@dataclass(frozen=True)
class Compared:
    """The same captions, random ones and then COCO's, scored here and by pycocoevalcap; and awkward
    ones scored here."""

    rows: FloatArray
    awkward: FloatArray
    official_corpus: float
    official: FloatArray


RANDOM, COCO = 300, 200


AWKWARD: list[tuple[str | None, list[str]]] = [
    (None, ["a cat on a mat", "a dog"]),
    ("", ["a cat on a mat", "a dog"]),
    ("a cat ||| on a mat", ["a cat on ||| a mat"]),
    ("a cat\non a\r\nmat\u2028", ["a\x85cat on\va mat"]),
    ("...", [""]),
    (" ".join(["dog"] * 1000), ["a dog and a dog"]),
    ("a caf\u00e9 \U0001f600 \ud800", ["a caf\u00e9"]),
    ("a cat on a mat", ["a cat on a mat"]),
]

OFFICIAL = """
import json, sys
from pycocoevalcap.meteor.meteor import Meteor
hypotheses, references = json.load(sys.stdin)
corpus, scores = Meteor().compute_score(
    dict(enumerate(references)), {n: [text] for n, text in enumerate(hypotheses)}
)
print(json.dumps([corpus, scores]), flush=True)
"""


@pytest.fixture(scope="module")
def compared() -> Compared:
    """One Java of ours and one of pycocoevalcap's, at the same time: each takes seconds to start.
    Ours starts under settings that make Java speak German."""
    if meteor_reason():
        pytest.skip(meteor_reason())
    hypotheses, references = _random_captions(RANDOM)
    more_hypotheses, more_references = _coco_captions(COCO)
    hypotheses += more_hypotheses
    references += more_references
    official = subprocess.Popen(
        [sys.executable, "-c", OFFICIAL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    assert official.stdin is not None
    try:
        official.stdin.write(json.dumps([hypotheses, references]))
        official.stdin.close()
        official.stdin = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LC_ALL", "de_DE.UTF-8")
            patch.setenv("LANG", "de_DE.UTF-8")
            patch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")
            rows = meteor_rows(
                [*hypotheses, *(hypothesis for hypothesis, _ in AWKWARD)],
                [*references, *(texts for _, texts in AWKWARD)],
            )
        corpus, scores = json.loads(official.communicate(timeout=120)[0])
    finally:
        official.kill()
    samples = len(hypotheses)
    return Compared(rows[:samples], rows[samples:], corpus, np.array(scores))


# ---------------------------------------------------------------- the formula


def test_the_formula_gives_the_scores_that_the_jar_gave(fake_java: FakeJava) -> None:
    """The rows come by way of an answering Java, since that is where perfect matches lose their
    chunk."""
    fake_java(f"print({chr(10).join(line for line, _ in RECORDED)!r})")
    rows = meteor_rows(["a"] * len(RECORDED), [["a"]] * len(RECORDED))
    assert rows[:, 20].tolist() == [1, 1, 4, 5, 0]
    assert meteor_aggregate(rows) == pytest.approx([score for _, score in RECORDED], abs=1e-14)
    assert meteor_aggregate(rows.sum(axis=0)) == pytest.approx(RECORDED_CORPUS, abs=1e-14)


def test_sums_may_have_any_leading_axes_and_weights() -> None:
    rows = np.array([line.split() for line, _ in RECORDED[:4]], dtype=np.float64)
    weights = np.array([[[1.0, 2, 0, 1], [0, 0, 0, 0]], [[0, 0, 3, 0], [0.5, 0.5, 0.5, 0.5]]])
    scores = meteor_aggregate(weights @ rows)
    assert scores.shape == (2, 2)
    assert scores[0, 0] == meteor_aggregate(rows[0] + 2 * rows[1] + rows[3])
    assert scores[0, 1] == 0
    assert scores[1, 0] == pytest.approx(RECORDED[2][1], abs=1e-14)
    assert scores[1, 1] == pytest.approx(float(meteor_aggregate(rows.sum(axis=0))), abs=1e-14)


# ---------------------------------------------------------------- the jar itself


def test_scores_equal_those_of_pycocoevalcap(compared: Compared) -> None:
    assert compared.rows.shape[0] in (RANDOM, RANDOM + COCO)
    assert meteor_aggregate(compared.rows) == pytest.approx(compared.official, abs=1e-12)
    corpus = float(meteor_aggregate(compared.rows.sum(axis=0)))
    assert corpus == pytest.approx(compared.official_corpus, abs=1e-12)
    assert abs(corpus - compared.official.mean()) > 0.01  # the mean of samples is another number


def test_the_random_captions_have_perfect_matches_and_all_stages(compared: Compared) -> None:
    """What the comparison above rests on."""
    rows = compared.rows[:RANDOM]
    assert (rows[:, 4:20].reshape(-1, 4, 4).sum(axis=(0, 2)) > 0).all()
    perfect = (rows[:, 20] == 0) & (rows[:, 21] > 0)
    assert 10 < perfect.sum() < 200
    assert (meteor_aggregate(rows[perfect]) > 0.5).all()


def test_a_missing_hypothesis_leaves_the_length_of_a_reference(compared: Compared) -> None:
    missing, empty = compared.awkward[:2]
    assert missing.tolist() == [0, 5, 0, 3] + [0] * 19
    assert missing.tolist() == empty.tolist()
    both = compared.awkward[7] + missing
    assert 0.3 < meteor_aggregate(both) < 0.6  # recall is halved


def test_bars_and_line_breaks_in_captions_shift_nothing(compared: Compared) -> None:
    bars, breaks, punctuation, repeated, _, plain = compared.awkward[2:]
    assert bars.tolist() == breaks.tolist() == plain.tolist()
    assert meteor_aggregate(plain) == 1
    assert punctuation.sum() <= 2
    assert repeated[0] == 1000


@pytest.mark.skipif(not DATA.is_dir(), reason="HARNESS_DATA has no coco-val2017")
def test_coco_captions_were_among_them(compared: Compared) -> None:
    assert len(compared.rows) == RANDOM + COCO
    coco = meteor_aggregate(compared.rows[RANDOM:].sum(axis=0))
    assert 0.2 < coco < 0.4  # what one human caption gets against four others


# ---------------------------------------------------------------- when Java misbehaves

ANSWERS = """
for line in sys.stdin:
    parts = line.rstrip("\\n").split("|||")
    assert parts[0] == "SCORE " and len(parts) == 3, parts
    assert not set("\\r\\x0b\\x0c\\u2028\\u2029") & set(line), parts
    words = len(parts[2].split())
    print(f"{words} 5 0 0" + " 0" * 19, flush=True)
"""


def test_java_is_called_once_with_the_official_arguments_and_an_english_locale(
    fake_java: FakeJava, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    folder = fake_java(ANSWERS)
    rows = meteor_rows(["a ||| b\nc", None, ""], [["a"], ["a\rb"], ["|||"]])
    assert rows[:, 0].tolist() == [3, 0, 0]
    call = json.loads((folder / "call.json").read_text())
    assert call["LC_ALL"].startswith("C")
    jar = call["arguments"].index("-jar")
    assert "-Duser.language=en" in call["arguments"][:jar]
    assert " ".join(call["arguments"][jar:]) == "-jar meteor-1.5.jar - - -stdio -l en -norm"
    assert Path(call["cwd"]).name == "meteor"


def test_many_captions_neither_block_nor_get_lost(fake_java: FakeJava) -> None:
    """Far more than a pipe holds, both ways."""
    fake_java(ANSWERS)
    hypotheses = [" ".join(["w"] * (number % 50)) for number in range(20_000)]
    rows = meteor_rows(hypotheses, [["a reference"]] * 20_000, timeout=60)
    assert rows[:, 0].tolist() == [number % 50 for number in range(20_000)]


def test_no_samples_need_no_java(no_java: None) -> None:
    assert meteor_rows([], []).shape == (0, 23)
    with pytest.raises(ValueError, match="no captions"):
        meteor([], [])


def test_a_missing_java_is_said(no_java: None) -> None:
    assert meteor_reason() == java_reason() == "no Java: no `java` on the PATH"
    assert java_major_version() is None
    with pytest.raises(JavaFailed, match=r"^METEOR: no Java: no `java` on the PATH$"):
        meteor(["a"], [["a"]])


def test_a_java_that_only_says_where_to_get_one_is_no_java(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\necho No runtime present. >&2\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert java_reason() == f"no Java: {tmp_path}/java does not start (No runtime present.)"


@pytest.mark.parametrize(("said", "major"), [("1.8.0_292", 8), ("17.0.1", 17), ("21", 21)])
def test_the_version_of_java_is_read(fake_java: FakeJava, said: str, major: int) -> None:
    fake_java("", version=said)
    assert java_major_version() == major


def test_the_error_of_a_failing_java_is_one_telling_line(fake_java: FakeJava) -> None:
    fake_java(
        "print('0 ' * 23, flush=True)\n"
        "print('warning', file=sys.stderr)\n"
        "print('Exception in thread \"main\" java.lang.OutOfMemoryError: heap', file=sys.stderr)\n"
        "print('\\tat java.base/java.util.Arrays.copyOf(Arrays.java:3705)', file=sys.stderr)\n"
        "sys.exit(1)"
    )
    with pytest.raises(JavaFailed) as caught:
        meteor(["a", "b b", "c"], [["a"]] * 3)
    assert str(caught.value) == (
        'METEOR: Java ended with code 1: Exception in thread "main" java.lang.OutOfMemoryError: '
        "heap (at sample 1, counted from 0, whose hypothesis has 2 words)"
    )


def test_a_java_that_dies_before_it_reads_is_noticed(fake_java: FakeJava) -> None:
    fake_java("sys.exit(134)")
    with pytest.raises(JavaFailed, match=r"code 134: without a word$"):
        meteor(["a " * 100] * 5000, [["a " * 100]] * 5000)


def test_a_hanging_java_is_stopped_with_what_it_started(fake_java: FakeJava) -> None:
    folder = fake_java(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "(folder / 'child').write_text(str(child.pid))\n"
        "print('0 ' * 23, flush=True)\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    with pytest.raises(JavaFailed, match=r"not done after 1 s .* \(at sample 1, .* 3000 words\)"):
        meteor(["a", "dog " * 3000], [["a"], ["a"]], timeout=1)
    assert time.monotonic() - start < 20
    for name in ("pid", "child"):
        assert not _runs(int((folder / name).read_text()))


def _runs(process: int) -> bool:
    """Whether it is there and no zombie."""
    for _ in range(50):
        stat = Path(f"/proc/{process}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("print('hello')", "sample 0: the jar answered 'hello' instead of 23 numbers"),
        ("print('0 ' * 23); print('1 2 3')", "sample 1: the jar answered '1 2 3' instead"),
        ("print('0 ' * 23)", "1 answers for 2 samples"),
        ("[print('0 ' * 23) for _ in range(3)]", "3 answers for 2 samples"),
        ("sys.stdout.buffer.write(bytes(range(128, 256)))", "sample 0: the jar answered"),
    ],
)
def test_other_answers_than_the_jar_gives_are_an_error(
    fake_java: FakeJava, body: str, complaint: str
) -> None:
    fake_java(body)
    with pytest.raises(JavaFailed, match=complaint):
        meteor(["a", "b"], [["a"], ["b"]])


def test_wrong_arguments_are_refused_before_java_starts(no_java: None) -> None:
    with pytest.raises(ValueError, match="as many hypotheses"):
        meteor_rows(["a"], [])
    with pytest.raises(ValueError, match="sample 0"):
        meteor_rows(["a"], [[]])
