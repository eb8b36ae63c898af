"""The task of captions: predictions, every metric against pycocoevalcap on the same PTB tokens, its
rules, what needs Java, result files."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.metrics import ptb_tokenizer
from harness.metrics.caption_meteor import meteor_reason
from harness.metrics.java_tokenizer import java_tokenizer_reason
from harness.score import score
from harness.store import Record
from harness.tasks.captioning import MOST_CAPTION_CHARACTERS, TASK
from harness.tasks.specs import CAPTIONING, VIDEO_CAPTIONING
from harness.tasks.targets import CaptionTarget
from harness.types import Clip, Dataset, Json, Metric, Picture, Sample, Uncaptioned

REASON = "the reference implementation, pycocoevalcap, is not installed"
bleu_module = pytest.importorskip("pycocoevalcap.bleu.bleu", reason=REASON)
rouge_module = pytest.importorskip("pycocoevalcap.rouge.rouge", reason=REASON)
cider_module = pytest.importorskip("pycocoevalcap.cider.cider", reason=REASON)

DATASET = Dataset("set", "test", (), "")
BLEUS = tuple(f"BLEU-{order}" for order in (1, 2, 3, 4))
WITHOUT_JAVA = ("CIDEr", *BLEUS, "ROUGE-L")


def metrics(**rules: str) -> dict[str, Metric]:
    given = {name.replace("_", "-"): choice for name, choice in rules.items()}
    return {metric.name: metric for metric in TASK.metrics(DATASET, given)}


def quick(**rules: str) -> dict[str, Metric]:
    """The metrics that need no Java."""
    return {name: metric for name, metric in metrics(**rules).items() if name in WITHOUT_JAVA}


def targets_of(references: Sequence[Sequence[str]]) -> list[CaptionTarget]:
    return [CaptionTarget(tuple(texts)) for texts in references]


def as_json(captions: Sequence[str | None]) -> list[Json | None]:
    return [None if caption is None else {"caption": caption} for caption in captions]


def values(
    captions: Sequence[str | None], references: Sequence[Sequence[str]], **rules: str
) -> dict[str, float]:
    predictions, targets = as_json(captions), targets_of(references)
    return {
        name: float(metric.aggregate(metric.rows(predictions, targets).sum(axis=0)))
        for name, metric in quick(**rules).items()
    }


def picture(name: str) -> Picture:
    return Picture(name, lambda: np.zeros((1, 1, 3), dtype=np.uint8))


# ---------------------------------------------------------------- predictions


class Model:
    def __init__(self, captions: Sequence[Any]) -> None:
        self.captions = captions
        self.visuals: list[Any] = []

    def caption(self, visuals: Sequence[Any]) -> Sequence[Any]:
        self.visuals += visuals
        return self.captions


def test_captions_become_json_objects_in_order_and_the_model_sees_only_visuals() -> None:
    clip = Clip("c", lambda count: np.zeros((count, 1, 1, 3), dtype=np.uint8), 2.0)
    model = Model(["A dog.", ""])
    inputs = [Uncaptioned(picture("p")), Uncaptioned(clip)]
    predictions = TASK.predict(model, inputs)
    assert predictions == [{"caption": "A dog."}, {"caption": ""}]
    assert json.loads(json.dumps(predictions)) == predictions
    assert model.visuals == [inputs[0].visual, clip]


@pytest.mark.parametrize("caption", [None, 3, b"a dog", ["a dog"], {"caption": "a dog"}, 0.5])
def test_what_a_model_gives_that_is_no_text_is_handed_on_to_be_counted(caption: Any) -> None:
    (prediction,) = TASK.predict(Model([caption]), [Uncaptioned(picture("p"))])
    assert TASK.invalid(prediction) == "no text under 'caption'"


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ({"caption": "a dog"}, None),
        ({"caption": ""}, None),
        ({"caption": " \n\u2028\t"}, None),
        ({"caption": "a dog\nruns"}, None),
        ({"caption": "\ud800 \x00 \U0001f600"}, None),
        ({"caption": "x" * MOST_CAPTION_CHARACTERS}, None),
        ({"caption": "x" * (MOST_CAPTION_CHARACTERS + 1)}, "10,001 characters"),
        ({}, "no text"),
        ({"text": "a dog"}, "no text"),
        ({"caption": None}, "no text"),
        ({"caption": 2}, "no text"),
        ({"caption": ["a dog"]}, "no text"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_cannot_be_scored_says_why(prediction: Json, reason: str | None) -> None:
    found = TASK.invalid(prediction)
    if reason is None:
        assert found is None
        for metric in quick().values():
            rows = metric.rows([prediction] * 2, targets_of([["a dog"], ["two dogs"]]))
            assert np.all(np.isfinite(rows))
    else:
        assert found is not None
        assert reason in found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=2, max_size=4))
def test_any_text_is_scored(captions: list[str]) -> None:
    references = [["a dog", caption] for caption in captions]
    for name, value in values(captions, references).items():
        assert 0 <= value <= metrics()[name].high


# ---------------------------------------------------------------- against pycocoevalcap

WORDS = (
    *("a", "the", "dog", "Dog", "dogs", "cat", "man", "runs", "is", "running", "on", "of", "grass"),
    *("can't", "man's", "it's", "white-haired", "U.S.", "T-shirt", "3.5", "1,000", "$5", "(red)"),
    *("...", ",", "--", "!", '"quoted"', "and/or", "'til", "café", "rock'n'roll", ";", "%", "&"),
)


def random_corpus(seed: int) -> tuple[list[str], list[list[str]]]:
    """Untidy captions: capitals, points, clitics, numbers, some empty."""
    draw = random.Random(seed)
    words = draw.sample(WORDS, draw.choice([6, 15, len(WORDS)]))

    def caption() -> str:
        text = " ".join(draw.choices(words, k=draw.randrange(13)))
        return text + draw.choice(["", ".", " .", "\n", "!"])

    references = [
        [caption() for _ in range(draw.randint(1, 5))] for _ in range(draw.randint(2, 40))
    ]
    return [caption() for _ in references], references


def official(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[str, float], dict[str, Sequence[float]]]:
    """What pycocoevalcap makes of the PTB tokens: metric -> value, and its values per sample."""
    said = {i: ptb_tokenizer.tokenize_all([caption]) for i, caption in enumerate(captions)}
    known = {i: ptb_tokenizer.tokenize_all(list(texts)) for i, texts in enumerate(references)}
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, bleu_each = bleu_module.Bleu(4).compute_score(known, said)
        rouge, rouge_each = rouge_module.Rouge().compute_score(known, said)
        cider, cider_each = cider_module.Cider().compute_score(known, said)
    total = dict(zip(BLEUS, bleu, strict=True)) | {"ROUGE-L": rouge, "CIDEr": cider}
    each = dict(zip(BLEUS, bleu_each, strict=True)) | {"ROUGE-L": rouge_each, "CIDEr": cider_each}
    return total, each


def test_1_000_random_captions_score_as_officially_over_all_and_each() -> None:
    captions_in_all = 0
    for seed in range(60):
        captions, references = random_corpus(seed)
        total, each = official(captions, references)
        predictions, targets = as_json(captions), targets_of(references)
        for name, metric in quick().items():
            rows = metric.rows(predictions, targets)
            assert metric.aggregate(rows.sum(axis=0)) == pytest.approx(total[name], abs=1e-9)
            np.testing.assert_allclose(metric.aggregate(rows), each[name], rtol=0, atol=1e-9)
        captions_in_all += len(captions)
    assert captions_in_all > 1000


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_weighted_rows_give_the_metric_of_repeated_samples(seed: int, drawn: list[int]) -> None:
    """CIDEr's document frequencies stay those of the samples as they are."""
    captions, references = random_corpus(seed)
    weights = np.array([1, *drawn][: len(captions)], dtype=np.float64)
    repeated = np.repeat(np.arange(len(captions)), weights.astype(int)).tolist()
    again = [captions[i] for i in repeated], [references[i] for i in repeated]
    expected = values(*again)
    for name, metric in quick().items():
        rows = metric.rows(as_json(captions), targets_of(references))
        if name == "CIDEr":
            expected[name] = float(np.mean([rows[i, 0] for i in repeated]))
        found = metric.aggregate(np.stack([weights, weights]) @ rows)
        np.testing.assert_allclose(found, [expected[name]] * 2, rtol=0, atol=1e-9)


def test_a_missing_prediction_has_the_worst_row_and_counts() -> None:
    references = [["a dog runs on the grass"], ["two cats sleep here now"], ["a man rides"]]
    right: list[str | None] = [texts[0] for texts in references]
    whole, two_thirds = values(right, references), values([None, *right[1:]], references)
    for name in ("CIDEr", "ROUGE-L"):
        rows = metrics()[name].rows(as_json([None, *right[1:]]), targets_of(references))
        np.testing.assert_array_equal(rows[0], [0, 1])
    assert two_thirds["ROUGE-L"] == pytest.approx(2 / 3 * whole["ROUGE-L"])
    assert two_thirds["CIDEr"] < whole["CIDEr"]
    for name in BLEUS:  # of 14 words 8 are there
        assert two_thirds[name] == pytest.approx(np.exp(1 - 14 / 8) * whole[name], abs=1e-6)
    assert values([None] * 3, references) == pytest.approx(dict.fromkeys(WITHOUT_JAVA, 0), abs=1e-9)


def test_a_line_break_in_a_caption_moves_no_other_caption() -> None:
    references = [["a dog runs"], ["two cats sleep"], ["a man rides a horse"]]
    plain = ["a dog runs", "two cats sleep", "a man rides"]
    for breaks in ("\n", "\r\n", "\u2028", "\x0b", "\n\n"):
        broken = [f"a dog{breaks}runs", *plain[1:]]
        assert values(broken, references) == pytest.approx(values(plain, references), abs=1e-12)


def test_the_order_of_references_does_not_matter() -> None:
    captions, references = random_corpus(3)
    backwards = [texts[::-1] for texts in references]
    assert values(captions, references) == values(captions, backwards)


def test_a_single_picture_has_no_cider() -> None:
    sample = Sample("1", Uncaptioned(picture("p")), CaptionTarget(("a dog runs",)), "p")
    for prediction in ({"caption": "a dog runs"}, None):
        record = Record("1", "p", prediction, prediction is not None, None)
        scored = score(TASK, DATASET, [sample], {"1": record})
        assert scored.values["CIDEr"].value is None
        assert scored.values["CIDEr"].ci95 is None
        expected = 0 if prediction is None else 1
        assert scored.values["ROUGE-L"].value == expected
        assert scored.values["BLEU-1"].value == pytest.approx(expected, abs=1e-6)


def test_no_samples_have_no_rows() -> None:
    for metric in quick().values():
        rows = metric.rows([], [])
        assert len(rows) == 0
        assert metric.aggregate(rows.sum(axis=0)) == 0 or np.isnan(
            metric.aggregate(rows.sum(axis=0))
        )


def test_metrics_of_one_scoring_share_the_tokens_and_those_of_the_next_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    tokenize = ptb_tokenizer.tokenize_all

    def counted(texts: Sequence[str]) -> list[str]:
        calls.append(len(texts))
        return tokenize(texts)

    monkeypatch.setattr(ptb_tokenizer, "tokenize_all", counted)
    targets = targets_of([["a dog", "the dog"], ["a cat"]])
    found = quick()
    first, second = as_json(["a dog", "a cat"]), as_json([None, "a cow"])
    rows = [[metric.rows(p, targets) for metric in found.values()] for p in (first, second, first)]
    assert calls == [5, 4, 5]
    for one, other in zip(rows[0], rows[2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(rows[0][0], rows[1][0])


# ---------------------------------------------------------------- rules and Java


def test_the_metrics_are_those_of_the_specs_and_say_which_tokens() -> None:
    assert tuple(metrics()) == CAPTIONING.metrics == VIDEO_CAPTIONING.metrics
    for rules in ({}, {"tokenizer": "ptb"}, {"tokenizer": "java"}):
        for metric in metrics(**rules).values():
            assert metric.variant.endswith(f",tokenizer={rules.get('tokenizer', 'ptb')}")
    assert "CIDEr-D" in metrics()["CIDEr"].variant
    assert metrics()["CIDEr"].high == 10
    assert {name for name, metric in metrics().items() if metric.slow} == {"METEOR", "SPICE"}


def test_the_java_metrics_can_be_switched_off() -> None:
    found = metrics(java_metrics="off")
    assert {name: m.absent for name, m in found.items() if m.absent} == {
        "METEOR": "switched off",
        "SPICE": "switched off",
    }
    assert metrics(java_metrics="on")["METEOR"].absent == meteor_reason()


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_without_java_meteor_is_absent_for_a_reason_and_the_rest_is_there(no_java: None) -> None:
    captions, references = random_corpus(1)
    samples = [
        Sample(str(i), Uncaptioned(picture(str(i))), target, str(i))
        for i, target in enumerate(targets_of(references))
    ]
    records = {
        str(i): Record(str(i), str(i), {"caption": text}, True, None)
        for i, text in enumerate(captions)
    }
    scored = score(TASK, DATASET, samples, records, slow=True)
    assert scored.absent["METEOR"] == "no Java: no `java` on the PATH"
    assert "SPICE" in scored.absent
    assert tuple(scored.values) == WITHOUT_JAVA
    total, _ = official(captions, references)
    assert scored.values["CIDEr"].value == pytest.approx(total["CIDEr"], abs=1e-9)


@cache
def ordinary() -> tuple[list[str], list[list[str]]]:
    draw = random.Random(0)
    words = [word for word in WORDS if word not in ("'til", "and/or", "rock'n'roll")]

    def caption() -> str:
        return f"{' '.join(draw.choices(words, k=draw.randint(4, 12))).capitalize()} grass."

    return [caption() for _ in range(50)], [[caption() for _ in range(3)] for _ in range(50)]


def test_java_s_tokens_give_the_same_numbers_as_ours() -> None:
    if reason := java_tokenizer_reason():
        pytest.skip(f"the official tokenizer cannot be run here: {reason}")
    assert values(*ordinary(), tokenizer="java") == values(*ordinary(), tokenizer="ptb")


def test_the_rule_for_tokens_decides_which_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "harness.metrics.java_tokenizer.tokenize_all_with_java", lambda texts: ["x y"] * len(texts)
    )
    references = [["a dog runs"], ["two cats sleep"]]
    assert values(["no", "no"], references)["ROUGE-L"] == 0
    assert values(["no", "no"], references, tokenizer="java")["ROUGE-L"] == 1


# ---------------------------------------------------------------- files and people


def results(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "results.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("key", ["image_id", "video_id", "id"])
def test_result_files_in_cocos_form_are_read(tmp_path: Path, key: str) -> None:
    content = [{key: 42, "caption": "A dog.\n"}, {key: "video7", "caption": ""}]
    assert TASK.read_results(results(tmp_path, content), DATASET) == {
        "42": {"caption": "A dog.\n"},
        "video7": {"caption": ""},
    }


def test_the_image_s_id_comes_before_the_record_s(tmp_path: Path) -> None:
    path = results(tmp_path, [{"id": 1, "image_id": 42, "caption": "A dog."}])
    assert list(TASK.read_results(path, DATASET)) == ["42"]


def test_a_mark_of_the_byte_order_is_no_fault(tmp_path: Path) -> None:
    path = results(tmp_path, b'\xef\xbb\xbf[{"image_id": 1, "caption": "a"}]')
    assert TASK.read_results(path, DATASET) == {"1": {"caption": "a"}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (b'["\xff"]', "not UTF-8"),
        ({"42": "a dog"}, "must be a list"),
        (["a dog"], "record 0: needs image_id and caption"),
        ([{"image_id": 1, "caption": "a"}, {"caption": "a"}], "record 1: needs image_id"),
        ([{"image_id": 1}], "record 0: needs image_id and caption"),
        ([{"image_id": 1, "caption": None}], "record 0: caption is no text"),
        ([{"image_id": 1, "caption": ["a dog"]}], "record 0: caption is no text"),
        (
            [{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}],
            "record 1: image_id 1 comes a second time",
        ),
    ],
    ids=lambda value: str(value)[:25],
)
def test_result_files_without_the_form_are_refused(
    tmp_path: Path, content: object, complaint: str
) -> None:
    path = results(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        TASK.read_results(path, DATASET)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_result_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.json"):
        TASK.read_results(tmp_path / "none.json", DATASET)


def test_a_person_sees_the_references() -> None:
    target = CaptionTarget(("a dog", "the dog"))
    shown = TASK.show(Sample("1", Uncaptioned(picture("p")), target, "p"))
    assert list(shown.lines) == [("reference 1", "a dog"), ("reference 2", "the dog")]
