"""Caption metrics against pycocoevalcap on the same tokens: random captions, awkward ones, and, if
present, those of COCO val2017 in the folder named by HARNESS_DATA."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.caption import (
    Captions,
    bleu,
    bleu_aggregate,
    bleu_rows,
    cider,
    cider_aggregate,
    cider_rows,
    rouge_l,
    rouge_l_aggregate,
    rouge_l_rows,
)

if TYPE_CHECKING:
    from harness.types import FloatArray

REASON = "the reference implementation, pycocoevalcap, is not installed"
bleu_module = pytest.importorskip("pycocoevalcap.bleu.bleu", reason=REASON)
rouge_module = pytest.importorskip("pycocoevalcap.rouge.rouge", reason=REASON)
cider_module = pytest.importorskip("pycocoevalcap.cider.cider", reason=REASON)
cider_scorer_module = pytest.importorskip("pycocoevalcap.cider.cider_scorer", reason=REASON)

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("HARNESS_DATA", REPOSITORY.parent / "shared" / "data"))
TOLERANCE = 1e-9

Hypotheses = list[str]
References = list[list[str]]

# ---------------------------------------------------------------- the two sides


def official(scorer: Any, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Any:
    """(corpus score, scores of the samples) by a class of pycocoevalcap."""
    with contextlib.redirect_stdout(io.StringIO()):
        return scorer().compute_score(
            {id: list(texts) for id, texts in enumerate(references)},
            {id: [text] for id, text in enumerate(hypotheses)},
        )


def assert_bleu_is_official(hypotheses: Hypotheses, references: References) -> None:
    corpus, samples = official(bleu_module.Bleu, hypotheses, references)
    assert bleu(hypotheses, references) == pytest.approx(corpus, abs=TOLERANCE)
    rows = bleu_rows(Captions(hypotheses, references))
    ours = [bleu_aggregate(rows, order) for order in (1, 2, 3, 4)]
    np.testing.assert_allclose(ours, samples, rtol=0, atol=TOLERANCE)


def assert_rouge_is_official(hypotheses: Hypotheses, references: References) -> None:
    corpus, samples = official(rouge_module.Rouge, hypotheses, references)
    assert rouge_l(hypotheses, references) == pytest.approx(corpus, abs=TOLERANCE)
    rows = rouge_l_rows(Captions(hypotheses, references))
    np.testing.assert_allclose(rouge_l_aggregate(rows), samples, rtol=0, atol=TOLERANCE)


def assert_cider_is_official(hypotheses: Hypotheses, references: References) -> None:
    if not any(text.split() for texts in references for text in texts):
        assert cider(hypotheses, references) == 0  # where the official code raises
        return
    corpus, samples = official(cider_module.Cider, hypotheses, references)
    assert cider(hypotheses, references) == pytest.approx(corpus, abs=TOLERANCE)
    rows = cider_rows(Captions(hypotheses, references))
    np.testing.assert_allclose(cider_aggregate(rows), samples, rtol=0, atol=TOLERANCE)


def assert_all_are_official(hypotheses: Hypotheses, references: References) -> None:
    assert_bleu_is_official(hypotheses, references)
    assert_rouge_is_official(hypotheses, references)
    if len(hypotheses) > 1:
        assert_cider_is_official(hypotheses, references)


def random_corpus(
    seed: int, samples: int, words: int = 5, longest: int = 12
) -> tuple[Hypotheses, References]:
    draw = random.Random(seed)

    def caption() -> str:
        return " ".join(f"w{draw.randrange(words)}" for _ in range(draw.randint(0, longest)))

    references = [[caption() for _ in range(draw.randint(1, 5))] for _ in range(samples)]
    return [caption() for _ in range(samples)], references


def all_rows(captions: Captions) -> list[FloatArray]:
    return [bleu_rows(captions), rouge_l_rows(captions), cider_rows(captions)]


# ---------------------------------------------------------------- equal to pycocoevalcap


@pytest.mark.parametrize("words", [1, 2, 5, 30])
@pytest.mark.parametrize("seed", range(100))
def test_random_corpora_score_as_officially(seed: int, words: int) -> None:
    samples = random.Random(-seed).randint(1, 40)
    assert_all_are_official(*random_corpus(seed, samples, words))


CAPTION = st.lists(st.sampled_from(["a", "b", "c", "dog", "é"]), max_size=9).map(" ".join)
UNTIDY = st.text(alphabet="ab \t\u00a0\u2028\x1c\n", max_size=9)


def corpora(captions: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, list[str]]]]:
    sample = st.tuples(captions, st.lists(captions, min_size=1, max_size=4))
    return st.lists(sample, min_size=1, max_size=6)


@settings(max_examples=500, deadline=None)
@given(corpora(CAPTION))
def test_any_captions_score_as_officially(corpus: list[tuple[str, list[str]]]) -> None:
    assert_all_are_official([text for text, _ in corpus], [texts for _, texts in corpus])


@settings(max_examples=300, deadline=None)
@given(corpora(UNTIDY))
def test_odd_white_space_separates_tokens_as_it_does_officially(
    corpus: list[tuple[str, list[str]]],
) -> None:
    assert_all_are_official([text for text, _ in corpus], [texts for _, texts in corpus])


@pytest.mark.parametrize("length", [63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("words", [2, 40])
def test_captions_of_many_tokens_score_as_officially(length: int, words: int) -> None:
    draw = random.Random(length)

    def caption(tokens: int) -> str:
        return " ".join(f"w{draw.randrange(words)}" for _ in range(tokens))

    hypotheses = [caption(length), caption(7), caption(length), caption(64)]
    references = [[caption(length), caption(9)], [caption(length)], [caption(70)], [caption(64)]]
    assert_all_are_official(hypotheses, [*references[:3], [hypotheses[3], *references[3]]])


def test_a_caption_of_3000_equal_words_scores_as_officially() -> None:
    long = " ".join(["very"] * 3000)
    assert rouge_l([long], [[f"{long} long"]]) == pytest.approx(
        2.44 * (3000 / 3001) / (3000 / 3001 + 1.44), abs=TOLERANCE
    )
    assert_bleu_is_official([long, "a dog"], [[f"{long} long"], ["a dog", long]])
    assert_cider_is_official([long, "a dog"], [[f"{long} long"], ["a dog", long]])


def coco_captions() -> References:
    path = DATA / "coco-val2017" / "captions_val2017.json"
    if not path.is_file():
        pytest.skip(f"no captions {path}; name the folder of data sets in HARNESS_DATA")
    by_image: dict[int, list[str]] = {}
    for entry in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(
            " ".join(entry["caption"].lower().split())
        )
    return list(by_image.values())


def test_cocos_first_captions_against_the_others_score_as_officially() -> None:
    captions = coco_captions()
    assert len(captions) == 5000
    assert_all_are_official([texts[0] for texts in captions], [texts[1:] for texts in captions])


# ---------------------------------------------------------------- weighted rows


def drawn(seed: int, samples: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(samples) for _ in range(samples)]


@pytest.mark.parametrize("seed", range(20))
def test_bleu_and_rouge_of_weighted_rows_are_those_of_the_samples_drawn(seed: int) -> None:
    hypotheses, references = random_corpus(seed, samples=30)
    draws = [drawn(seed * 10 + resample, 30) for resample in range(8)]
    weights = np.array([np.bincount(draw, minlength=30) for draw in draws])
    captions = Captions(hypotheses, references)
    sums = weights @ bleu_rows(captions)
    by_order = [bleu_aggregate(sums, order) for order in (1, 2, 3, 4)]
    rouge = rouge_l_aggregate(weights @ rouge_l_rows(captions))
    assert rouge.shape == by_order[0].shape == (8,)
    for number, draw in enumerate(draws):
        ours, theirs = [hypotheses[i] for i in draw], [references[i] for i in draw]
        recounted = bleu_rows(Captions(ours, theirs)).sum(axis=0)
        np.testing.assert_array_equal(sums[number], recounted)
        assert [scores[number] for scores in by_order] == pytest.approx(
            bleu(ours, theirs), rel=1e-14
        )
        assert rouge[number] == pytest.approx(rouge_l(ours, theirs), abs=1e-14)
        assert_bleu_is_official(ours, theirs)


@pytest.mark.parametrize("seed", range(20))
def test_cider_of_weighted_rows_keeps_the_document_frequencies_of_the_whole_set(seed: int) -> None:
    hypotheses, references = random_corpus(seed, samples=30, words=8)
    draw = drawn(seed, 30)
    weights = np.bincount(draw, minlength=30)
    ours = cider_aggregate(weights @ cider_rows(Captions(hypotheses, references)))

    whole, resampled = cider_scorer_module.CiderScorer(), cider_scorer_module.CiderScorer()
    for hypothesis, texts in zip(hypotheses, references, strict=True):
        whole += (hypothesis, texts)
    for i in draw:
        resampled += (hypotheses[i], references[i])
    whole.compute_doc_freq()
    resampled.document_frequency = whole.document_frequency
    assert float(ours) == pytest.approx(np.mean(resampled.compute_cider()), abs=TOLERANCE)


def test_rows_have_documented_shapes_and_aggregate_over_any_leading_axes() -> None:
    captions = Captions(["a dog", "a cat"], [["a dog runs"], ["a cat", "cat"]])
    assert [rows.shape for rows in all_rows(captions)] == [(2, 10), (2, 2), (2, 2)]
    assert [rows.dtype for rows in all_rows(captions)] == [np.float64] * 3
    assert bleu_rows(captions).tolist() == [
        [2, 1, 0, 0, 2, 1, 0, 0, 2, 3],
        [2, 1, 0, 0, 2, 1, 0, 0, 2, 2],
    ]
    for rows, aggregate in zip(
        all_rows(captions), (bleu_aggregate, rouge_l_aggregate, cider_aggregate), strict=True
    ):
        assert aggregate(np.ones((4, 3, 2)) @ rows).shape == (4, 3)


def test_nothing_drawn_is_no_mean_and_no_bleu() -> None:
    assert bleu_aggregate(np.zeros(10)) == 0
    assert np.isnan(rouge_l_aggregate(np.zeros(2)))
    assert np.isnan(cider_aggregate(np.zeros(2)))


@pytest.mark.parametrize("order", [0, 5])
def test_bleu_of_an_unknown_order_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="orders 1 to 4"):
        bleu_aggregate(np.zeros(10), order)


# ---------------------------------------------------------------- order, missing, empty, single


def test_neither_the_order_of_references_nor_of_samples_changes_a_bit() -> None:
    hypotheses, references = random_corpus(1, samples=200, words=9)
    expected = all_rows(Captions(hypotheses, references))
    draw = random.Random(2)
    order = draw.sample(range(200), 200)
    shuffled = Captions(
        [hypotheses[i] for i in order],
        [draw.sample(references[i], len(references[i])) for i in order],
    )
    for rows, unshuffled in zip(all_rows(shuffled), expected, strict=True):
        np.testing.assert_array_equal(rows, unshuffled[order])


def test_of_two_closest_references_the_shorter_counts_whichever_comes_first() -> None:
    for references in (["a b", "a b c d"], ["a b c d", "a b"]):
        assert bleu_rows(Captions(["a b c"], [references]))[0, -1] == 2
        assert bleu(["a b c"], [references])[0] == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("absent", [None, ""])
def test_a_missing_or_empty_hypothesis_scores_0_and_still_counts(absent: str | None) -> None:
    references = [["a dog runs fast", "dog"], ["a cat sits there now"], ["two birds"]]
    captions = Captions([absent, "a cat sits there now", "two birds"], references)
    rows = all_rows(captions)
    assert bleu_aggregate(rows[0])[0] == rouge_l_aggregate(rows[1])[0] == 0
    assert cider_aggregate(rows[2])[0] == 0
    assert rows[0][0].tolist() == [0] * 9 + [1]  # of the closest, so of the shortest reference
    assert rouge_l([absent, *("a cat sits there now", "two birds")], references) == 2 / 3
    assert cider_aggregate(rows[2].sum(axis=0)) == cider_aggregate(rows[2][1:].sum(axis=0)) * 2 / 3


def test_empty_against_empty_is_a_match_for_rouge_alone_and_missing_never_is() -> None:
    references = [[""], ["a"]]
    assert_all_are_official(["", "a"], references)
    assert rouge_l_rows(Captions(["", "a"], references))[:, 0] == pytest.approx([1, 1])
    assert rouge_l_rows(Captions([None, "a"], references))[:, 0] == pytest.approx([0, 1])


def test_captions_all_empty_or_missing_score_without_a_warning() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert bleu(["", None], [[""], ["", ""]]) == (0, 0, 0, 0)
        assert cider(["", None], [[""], ["", ""]]) == 0
        assert rouge_l([None, None], [["a"], ["b"]]) == 0
        assert cider([None, None], [["a"], ["b"]]) == 0


def test_cider_of_one_sample_is_refused_where_officially_it_is_0() -> None:
    score, _ = official(cider_module.Cider, ["a dog"], [["a dog", "dog"]])
    assert score == 0
    with pytest.raises(ValueError, match="single sample is 0 whatever"):
        cider(["a dog"], [["a dog", "dog"]])
    with pytest.raises(ValueError, match="whole set at once"):
        cider_rows(Captions([None], [["a dog"]]))


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider])
def test_unusable_captions_are_refused(metric: Any) -> None:
    with pytest.raises(ValueError, match="sample 1: references must be"):
        metric(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="sample 0: references must be"):
        metric(["a", "b"], ["a", ["b"]])
    with pytest.raises(ValueError, match="2 for 1"):
        metric(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="a bare string for 2"):
        metric("ab", [["a"], ["b"]])
    with pytest.raises(ValueError, match="no captions"):
        metric([], [])


def test_no_samples_have_no_rows() -> None:
    assert [rows.shape for rows in all_rows(Captions([], []))] == [(0, 10), (0, 2), (0, 2)]


@settings(max_examples=200, deadline=None)
@given(corpora(CAPTION))
def test_scores_stay_in_their_ranges(corpus: list[tuple[str, list[str]]]) -> None:
    pairs = [*corpus, ("a b", ["a b"])]
    hypotheses, references = [text for text, _ in pairs], [texts for _, texts in pairs]
    assert all(0 <= score <= 1 for score in bleu(hypotheses, references))
    assert 0 <= rouge_l(hypotheses, references) <= 1
    assert 0 <= cider(hypotheses, references) <= 10 + 1e-12


def test_keys_too_large_for_one_integer_are_sorted_all_the_same() -> None:
    from harness.metrics.caption_ngrams import _argsort_pairs

    captions = np.repeat(np.arange(50), 4)
    keys = np.random.default_rng(0).integers(0, 9, 200)
    expected = np.lexsort((captions, keys))
    for scale in (1, 2**58):
        order = _argsort_pairs(keys * scale, captions, 50)
        np.testing.assert_array_equal(keys[order], keys[expected])
        np.testing.assert_array_equal(captions[order], captions[expected])
