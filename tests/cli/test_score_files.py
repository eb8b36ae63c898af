"""`harness score` on the field's own result files, with values worked out by hand, and the one line
that a user gets for whatever is wrong with them."""

from __future__ import annotations

import csv
import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., CompletedProcess[str]]
Arguments = tuple[object, ...]
NO_JAVA_METRICS = ("--rule", "java-metrics=off")


def scored(cli: Cli, *arguments: object, code: int = 0) -> dict[str, Any]:
    """run.json of `harness score`."""
    done = cli("score", *arguments, "--json")
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def value(result: dict[str, Any], metric: str) -> Any:
    return result["metrics"][metric]["value"]


def line_of(done: CompletedProcess[str]) -> str:
    """The one line of an error."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("harness: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("harness: ").strip()


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# ---------------------------------------------------------------- captions


@pytest.fixture
def captions(tmp_path: Path) -> Arguments:
    """Two COCO images, as arguments after the results."""
    annotations = {
        "images": [{"id": id, "file_name": f"{id:012d}.jpg"} for id in (1, 2)],
        "annotations": [
            {"id": 1, "image_id": 1, "caption": "A red ball."},
            {"id": 2, "image_id": 1, "caption": "A green dog."},
            {"id": 3, "image_id": 2, "caption": "A blue cube."},
        ],
    }
    path = write(tmp_path / "captions_val2017.json", annotations)
    return "--task", "captioning/coco", "--split", "val2017", "--annotations", path


RIGHT: list[dict[str, Any]] = [
    {"image_id": 1, "caption": "a red ball"},
    {"image_id": 2, "caption": "A blue cube, maybe"},
]


def test_coco_results_get_the_values_worked_out_by_hand(
    cli: Cli, tmp_path: Path, captions: Arguments
) -> None:
    results = write(tmp_path / "results.json", RIGHT)
    result = scored(cli, results, *captions, *NO_JAVA_METRICS)
    # 6 of 7 words, 4 of 5 pairs; the lengths 3 + 4 are those of the references, 3 + 3, or more
    assert value(result, "BLEU-1") == pytest.approx(6 / 7, abs=1e-6)
    assert value(result, "BLEU-2") == pytest.approx((6 / 7 * 4 / 5) ** 0.5, abs=1e-6)
    # precision 3/4, recall 1, beta 1.2; the other image 1
    f = 2.44 * 0.75 / (1 + 1.44 * 0.75)
    assert value(result, "ROUGE-L") == pytest.approx((1 + f) / 2, abs=1e-6)
    assert value(result, "METEOR") is None
    assert result["coverage"]["scored"] == 2
    signature = result["metrics"]["CIDEr"]["signature"]
    for part in ("data:captioning/coco", "split:val2017", "n:2", "tokenizer=ptb"):
        assert part in signature
    assert Path(result["run"]).parts[:3] == ("runs", "captioning--coco", "results")


def test_a_single_captioned_image_has_no_cider(cli: Cli, tmp_path: Path) -> None:
    annotations = write(
        tmp_path / "captions_val2017.json",
        {
            "images": [{"id": 1, "file_name": "1.jpg"}],
            "annotations": [{"id": 1, "image_id": 1, "caption": "a red ball"}],
        },
    )
    results = write(tmp_path / "results.json", RIGHT[:1])
    arguments = ("--task", "captioning/coco", "--split", "val2017", "--annotations", annotations)
    result = scored(cli, results, *arguments, *NO_JAVA_METRICS)
    assert value(result, "CIDEr") is None
    assert value(result, "BLEU-1") == pytest.approx(1)
    table = cli("score", results, *arguments, *NO_JAVA_METRICS).stdout
    assert "n/a" in next(line for line in table.splitlines() if "CIDEr" in line)


def test_the_official_tokenizer_changes_the_signature(
    cli: Cli, tmp_path: Path, captions: Arguments
) -> None:
    from harness.metrics.java_tokenizer import java_tokenizer_reason

    if java_tokenizer_reason():
        pytest.skip(java_tokenizer_reason())
    results = write(tmp_path / "results.json", RIGHT)
    ours = scored(cli, results, *captions, *NO_JAVA_METRICS)
    theirs = scored(cli, results, *captions, *NO_JAVA_METRICS, "--tokenizer", "java")
    for name in ("CIDEr", "BLEU-4", "ROUGE-L"):
        assert value(theirs, name) == pytest.approx(value(ours, name), abs=1e-12)
        own, other = (one["metrics"][name]["signature"] for one in (ours, theirs))
        assert own.replace("tokenizer=ptb", "tokenizer=java") == other != own


# ---------------------------------------------------------------- boxes


@pytest.fixture
def boxes(tmp_path: Path) -> Arguments:
    """Three sentences of RefCOCO's testA about a box of (10, 10) to (30, 30)."""
    sentences = [{"sent_id": id, "sent": "it", "raw": "It", "tokens": ["it"]} for id in (5, 6, 7)]
    about = {"image_id": 9, "category_id": 1}
    refs = [{**about, "ref_id": 1, "ann_id": 100, "split": "testA", "sentences": sentences}]
    refs[0] |= {"sent_ids": [5, 6, 7], "file_name": "COCO_train2014_000000000009_1.jpg"}
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    instances = write(
        tmp_path / "instances.json",
        {
            "images": [{"id": 9, "file_name": "9.jpg", "width": 64, "height": 48}],
            "annotations": [{**about, "id": 100, "bbox": [10, 10, 20, 20]}],
            "categories": [{"id": 1, "name": "person"}],
        },
    )
    files = ("--refs", tmp_path / "refs(unc).p", "--instances", instances)
    return "--task", "spatial-localization/refcoco", *files


BOXES: list[dict[str, Any]] = [
    {"id": 5, "bbox": [10, 10, 20, 20]},  # as the target: 1
    {"id": "6", "box": [10, 10, 30, 20]},  # its upper half: .5
    {"sent_id": 7, "box": [10, 10, 20, 20]},  # its upper left quarter: .25
]


def test_boxes_get_the_values_worked_out_by_hand(
    cli: Cli, tmp_path: Path, boxes: Arguments
) -> None:
    result = scored(cli, write(tmp_path / "boxes.json", BOXES), *boxes)
    assert value(result, "accuracy") == pytest.approx(2 / 3)
    assert value(result, "mean-iou") == pytest.approx(1.75 / 3)
    assert (result["data"]["dataset"], result["data"]["split"]) == ("refcoco", "testA")


def test_rules_of_boxes_change_value_and_signature(
    cli: Cli, tmp_path: Path, boxes: Arguments
) -> None:
    results = write(tmp_path / "boxes.json", BOXES)
    strict = scored(cli, results, *boxes, "--rule", "at-half=fails")
    assert value(strict, "accuracy") == pytest.approx(1 / 3)
    assert "IoU>.5" in strict["metrics"]["accuracy"]["signature"]
    plus_one = scored(cli, results, *boxes, "--rule", "box-convention=plus-one")
    assert value(plus_one, "mean-iou") == pytest.approx((1 + 11 / 21 + 121 / 441) / 3)
    assert "boxes=plus-one" in plus_one["metrics"]["mean-iou"]["signature"]


def test_invalid_boxes_are_counted_and_wrong(cli: Cli, tmp_path: Path, boxes: Arguments) -> None:
    wrong = [BOXES[0], {"id": 6, "box": [30, 30, 10, 10]}, {"id": 7, "box": None}]
    result = scored(cli, write(tmp_path / "boxes.json", wrong), *boxes)
    assert value(result, "accuracy") == pytest.approx(1 / 3)
    assert result["coverage"]["invalid"] == 2
    assert result["metrics"]["accuracy"]["invalid"] == 2


# ---------------------------------------------------------------- moments


@pytest.fixture
def charades(tmp_path: Path) -> Arguments:
    path = tmp_path / "charades_sta_test.txt"
    path.write_text("AAAAA 0.0 10.0##person turns a light on.\nBBBBB 5.0 9.0##person sits.\n")
    return "--task", "temporal-localization/charades-sta", "--annotations", path


MOMENTS = {"test-00001": [[0, 5]], "test-00002": [[5, 9]]}
R1 = "R@1, IoU=0.5"


@pytest.mark.parametrize(("rule", "expected"), [("plain", 1), ("tall", 1), ("2d-tan", 0.5)])
def test_moments_get_the_values_of_the_named_protocol(
    cli: Cli, tmp_path: Path, charades: Arguments, rule: str, expected: float
) -> None:
    results = write(tmp_path / "moments.json", MOMENTS)
    result = scored(cli, results, *charades, "--rule", f"moments={rule}")
    assert value(result, R1) == expected  # [0, 5] against [0, 10] is .5
    assert value(result, "mIoU") == pytest.approx(0.75)
    assert value(result, "R@5, IoU=0.5") is None
    assert f"protocol={rule}" in result["metrics"][R1]["signature"]


def test_durations_end_a_moment_and_change_the_data(
    cli: Cli, tmp_path: Path, charades: Arguments
) -> None:
    (tmp_path / "Charades_v1_test.csv").write_text("id,length\nAAAAA,5.0\nBBBBB,20.0\n")
    results = write(tmp_path / "moments.json", MOMENTS)
    without = scored(cli, results, *charades)
    arguments = (*charades, "--durations", tmp_path / "Charades_v1_test.csv")
    result = scored(cli, results, *arguments)
    assert value(result, "mIoU") == 1  # the first moment ends with its video, at 5 s
    assert result["data"]["sha256"] != without["data"]["sha256"]
    assert any("unknown" in note for note in without["data"]["notes"])
    assert not any("unknown" in note for note in result["data"]["notes"])


@pytest.fixture
def didemo(tmp_path: Path) -> Arguments:
    record = {"description": "the dog jumps", "video": "a.mp4", "num_segments": 6}
    records = [
        record | {"annotation_id": 7, "times": [[0, 0]] * 3 + [[5, 5]]},
        record | {"annotation_id": 8, "times": [[1, 2]] * 4},
    ]
    path = write(tmp_path / "test_data.json", records)
    return "--task", "temporal-localization/didemo", "--annotations", path


def test_didemo_gets_the_values_worked_out_by_hand(
    cli: Cli, tmp_path: Path, didemo: Arguments
) -> None:
    first = [[0, 0], [0, 1], [1, 1], [2, 2], [3, 3]]
    second = [[1, 1], [0, 1], [2, 2], [1, 2], [5, 5]]
    results = [{"annotation_id": 7, "times": first}, {"annotation_id": 8, "times": second}]
    result = scored(cli, write(tmp_path / "moments.json", results), *didemo)
    assert value(result, "rank@1") == 0.5  # the second stands at 4
    assert value(result, "rank@5") == 1
    assert value(result, "mIoU") == pytest.approx(0.75)  # 1 and .5
    assert result["primary"] == "rank@1"


# ---------------------------------------------------------------- VCR


@pytest.fixture
def vcr(tmp_path: Path) -> Arguments:
    """Two items whose right answer is 1 and right reason 3."""
    entry = {
        "objects": ["person"],
        "img_fn": "a/a.jpg",
        "metadata_fn": "a/a.json",
        "question": ["Why", "?"],
        "answer_choices": [["a"], ["b"], ["c"], ["d"]],
        "answer_label": 1,
        "rationale_choices": [["e"], ["f"], ["g"], ["h"]],
        "rationale_label": 3,
    }
    lines = [json.dumps(entry | {"annot_id": f"val-{i}", "img_id": "val-0"}) for i in (0, 1)]
    (tmp_path / "val.jsonl").write_text("\n".join(lines) + "\n")
    return "--task", "vqa/vcr", "--annotations", tmp_path / "val.jsonl"


def write_vcr_csv(path: Path, rows: Sequence[tuple[str, Any, Any]]) -> Path:
    """Rows of (annot_id, four answer scores, four reason scores by the answer given)."""
    reasons = [f"rationale_conditioned_on_a{i}_{j}" for i in range(4) for j in range(4)]
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["annot_id", *(f"answer_{i}" for i in range(4)), *reasons])
        for id, answers, given in rows:
            out.writerow([id, *answers, *np.asarray(given).ravel()])
    return path


def test_a_vcr_csv_gets_the_values_worked_out_by_hand(
    cli: Cli, tmp_path: Path, vcr: Arguments
) -> None:
    right_given_1 = np.eye(4)[[0, 3, 0, 0]]  # the right reason only where answer 1 is given
    rows = [("val-0", [0, 1, 1, 0], right_given_1), ("val-1", [0.1, 0.9, 0, 0], right_given_1)]
    result = scored(cli, write_vcr_csv(tmp_path / "vcr.csv", rows), *vcr)
    assert value(result, "Q->A") == 0.75  # one of two tied, and one right
    assert value(result, "QA->R") == 1
    assert value(result, "Q->AR") == 0.75


# ---------------------------------------------------------------- retrieval, our lines


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train": 20, "val": 4, "test": 4, "test-comp": 4}
    monkeypatch.setattr("harness.tasks.datasets.toybox.retrieval.PICTURES", few)
    monkeypatch.setattr("harness.tasks.datasets.toybox.captions.PICTURES", few)


RETRIEVAL = ("--task", "retrieval/toybox", "--split", "val")


@pytest.mark.usefixtures("few_pictures")
def test_a_matrix_of_scores_gets_the_values_worked_out_by_hand(cli: Cli, tmp_path: Path) -> None:
    scores = np.kron(np.eye(4), np.ones(5))  # (4 pictures, 20 captions), five of each in order
    np.save(tmp_path / "scores.npy", scores)
    result = scored(cli, tmp_path / "scores.npy", *RETRIEVAL)
    assert value(result, "rsum") == 6
    assert value(result, "image-to-text median rank") == 1
    scores[0, 0] = 0  # that caption now ties with nothing but zeros
    np.save(tmp_path / "scores.npy", scores)
    result = scored(cli, tmp_path / "scores.npy", *RETRIEVAL)
    assert value(result, "text-to-image R@1") == pytest.approx((19 + 1 / 4) / 20)
    assert value(result, "text-to-image mean rank") == pytest.approx((19 + 2.5) / 20)
    np.save(tmp_path / "scores.npy", np.zeros((4, 20), dtype=np.float32))
    result = scored(cli, tmp_path / "scores.npy", *RETRIEVAL)
    assert value(result, "text-to-image R@1") == pytest.approx(1 / 4)
    assert value(result, "image-to-text R@1") == pytest.approx(5 / 20)


@pytest.mark.usefixtures("few_pictures")
@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (np.zeros((20, 4)), "shape (20, 4)"),
        (np.full((4, 20), np.nan), "NaN"),
        (np.zeros(80), "shape (80,)"),
        (np.array([["a"] * 20] * 4), "real numbers"),
        (np.array([None]), "matrix"),
    ],
    ids=["transposed", "NaN", "one row", "texts", "objects"],
)
def test_a_matrix_that_does_not_fit_gets_one_line(
    cli: Cli, tmp_path: Path, scores: Any, said: str
) -> None:
    np.save(tmp_path / "scores.npy", scores)
    line = line_of(cli("score", tmp_path / "scores.npy", *RETRIEVAL))
    assert said in line
    assert "scores.npy" in line


@pytest.mark.usefixtures("few_pictures")
def test_our_lines_are_scored_for_any_task(cli: Cli, tmp_path: Path) -> None:
    from harness.tasks.datasets.toybox.captions import load

    samples = load(None, "val").samples
    lines = [
        {"id": sample.id, "prediction": {"caption": sample.target.references[0]}}
        for sample in samples
    ]
    log = tmp_path / "samples.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = ("--task", "captioning/toybox", "--split", "val")
    result = scored(cli, log, *task, *NO_JAVA_METRICS, "--name", "copy")
    assert value(result, "BLEU-4") == pytest.approx(1)
    assert value(result, "ROUGE-L") == pytest.approx(1)
    assert Path(result["run"]).parts[:3] == ("runs", "captioning--toybox", "copy")


# ---------------------------------------------------------------- what is refused

# what is scored -> a result file without faults, as records, and the key of a record's id
GOOD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "captions": (RIGHT, "image_id"),
    "boxes": ([{"id": 7, **box} for box in BOXES], "id"),
    "charades": ([{"id": id, "moments": moments} for id, moments in MOMENTS.items()], "id"),
    "didemo": ([{"annotation_id": id, "times": [[0, 0]]} for id in (7, 8)], "annotation_id"),
}
KINDS = pytest.mark.parametrize("kind", list(GOOD))


def refused(cli: Cli, request: pytest.FixtureRequest, kind: str, path: Path, *more: object) -> str:
    """The one line for the results in `path`."""
    line = line_of(cli("score", path, *request.getfixturevalue(kind), *more))
    assert not (path.parent / "runs").exists()
    return line


@KINDS
def test_an_unknown_id_gets_one_line(
    cli: Cli, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    records, key = GOOD[kind]
    path = write(tmp_path / "results.json", [*records, {**records[0], key: 999}])
    line = refused(cli, request, kind, path)
    assert "results.json: 1 of " in line
    assert "ids are not in" in line
    assert "'999'" in line
    assert "--split" in line


@KINDS
def test_a_missing_id_gets_one_line_or_is_counted(
    cli: Cli, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    records, key = GOOD[kind]
    path = write(tmp_path / "results.json", records[1:])
    line = refused(cli, request, kind, path)
    assert f"results.json: 1 of {len(records)} ids have no prediction" in line
    assert repr(str(records[0][key])) in line
    assert "--allow-missing" in line
    java = NO_JAVA_METRICS if kind == "captions" else ()
    arguments = request.getfixturevalue(kind)
    result = scored(cli, path, *arguments, *java, "--allow-missing", code=4)
    assert result["coverage"]["missing"] == 1
    assert result["status"] == "failed"
    assert "1 samples have no prediction" in result["reason"]


@KINDS
def test_an_id_that_comes_twice_gets_one_line(
    cli: Cli, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    records, key = GOOD[kind]
    path = write(tmp_path / "results.json", [*records, records[0]])
    line = refused(cli, request, kind, path)
    assert f"results.json: record {len(records)}" in line
    assert str(records[0][key]) in line
    assert "keep one" in line


@KINDS
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe[]", b"3", b'[{"caption": "a"}]', b"[3]", b"null", b"[]"],
    ids=lambda content: repr(content)[:20],
)
def test_a_file_that_cannot_be_read_gets_one_line(
    cli: Cli, tmp_path: Path, request: pytest.FixtureRequest, kind: str, content: bytes
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    line = refused(cli, request, kind, path)
    assert "results.json: " in line or "results.json has" in line
    assert "; " in line  # what is wrong, then what to do


@KINDS
@pytest.mark.parametrize("name", ["results.csv", "results.npy", "results.txt", "results"])
def test_a_file_of_another_kind_gets_one_line(
    cli: Cli, tmp_path: Path, request: pytest.FixtureRequest, kind: str, name: str
) -> None:
    (tmp_path / name).write_bytes(b"\x93NUMPY\x01\x00")
    assert name in refused(cli, request, kind, tmp_path / name)


def test_a_csv_of_vcr_with_faults_gets_one_line(cli: Cli, tmp_path: Path, vcr: Arguments) -> None:
    even, path = np.ones((4, 4)), tmp_path / "vcr.csv"
    good = [("val-0", [1] * 4, even), ("val-1", [1] * 4, even)]
    for rows, said in (
        (good[:1], "1 of 2 ids have no prediction, the first is 'val-1'"),
        ([*good, good[0]], "line 4: annot_id 'val-0' is there twice"),
        ([*good, ("val-9", [1] * 4, even)], "'val-9'"),
        ([good[0], ("val-1", [1, 1, 1, np.nan], even)], "line 3: answer_3"),
    ):
        line = line_of(cli("score", write_vcr_csv(path, rows), *vcr))
        assert said in line
        assert "vcr.csv" in line


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("captions", ("--questions", "q.json"), "takes --annotations; leave out --questions"),
        ("captions", ("--durations", "d.csv"), "leave out --durations"),
        ("boxes", ("--annotations", "a.json"), "takes --refs, --instances"),
        ("charades", ("--mapping", "m.txt"), "takes --annotations, --durations"),
        ("didemo", ("--durations", "d.csv"), "takes --annotations; leave out --durations"),
        ("captions", ("--rule", "moments=tall"), "captioning has no rule 'moments'"),
        ("boxes", ("--tokenizer", "java"), "has no rule 'tokenizer'"),
        ("didemo", ("--rule", "moments=tall"), "has no rule 'moments'; its rules: none"),
        ("charades", ("--rule", "moments=talll"), "choose plain, tall, 2d-tan"),
        ("charades", ("--rule", "moments"), "--rule moments: must be NAME=CHOICE"),
        ("captions", ("--split", "val2018"), "val2017"),
        ("boxes", ("--split", "test"), "testA"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_of_another_task_get_one_line(
    cli: Cli,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
    more: tuple[str, ...],
    said: str,
) -> None:
    path = write(tmp_path / "results.json", GOOD[kind][0])
    assert said in refused(cli, request, kind, path, *more)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "captioning", "--refs", "r.p"), "takes --annotations"),
        (("--task", "spatial-localization/refcoco", "--refs", "r.p"), "also needs --instances"),
        (("--task", "captioning/toybox", "--annotations", "a.json"), "not read from separate"),
        (("--task", "captioning/coco", "--annotations", "gone.json"), "gone.json"),
        (("--task", "captioning/coco"), "--data-dir"),
        (("--task", "captioning/coco", "--data-dir", "gone"), "gone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_files_that_are_not_given_get_one_line(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in line_of(cli("score", write(tmp_path / "results.json", RIGHT), *arguments))


# ---------------------------------------------------------------- real data


def coco_folder() -> Path:
    folder = Path(os.environ.get("HARNESS_DATA", ""), "coco-val2017")
    if "HARNESS_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("HARNESS_DATA is unset or has no coco-val2017/")
    return folder


def test_coco_val2017_gets_what_pycocoevalcap_gives_for_the_same_tokens(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """11 of the 5,000 images have no caption. They count as empty ones: pycocoevalcap is given ""
    for them, because it takes no set with gaps."""
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    from harness.metrics.ptb_tokenizer import tokenize

    folder = coco_folder()
    annotations = folder / "captions_val2017.json"
    results = folder / "captions_val2017_fakecap_results.json"
    references: dict[int, list[str]] = {}
    for record in json.loads(annotations.read_bytes())["annotations"]:
        references.setdefault(record["image_id"], []).append(tokenize(record["caption"]))
    said = {one["image_id"]: one["caption"] for one in json.loads(results.read_bytes())}
    hypotheses = {id: [tokenize(said.get(id, ""))] for id in references}
    bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
    expected = {f"BLEU-{order + 1}": score for order, score in enumerate(bleu)}
    expected["CIDEr"] = Cider().compute_score(references, hypotheses)[0]
    expected["ROUGE-L"] = Rouge().compute_score(references, hypotheses)[0]

    arguments = ("--task", "captioning/coco", "--split", "val2017", "--annotations", annotations)
    result = scored(cli, results, *arguments, "--allow-missing", *NO_JAVA_METRICS, code=4)
    assert result["coverage"]["missing"] == 11
    assert result["coverage"]["scored"] == 4989
    for name, score in expected.items():
        assert value(result, name) == pytest.approx(score, abs=1e-9), name
