"""The task of retrieval: the scores of a whole set against brute force with expected ties, what the
model gets to see, going on after a stop, matrices from files, the binding probe."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.errors import BadInput, HarnessError
from harness.metrics import retrieval as metrics_of_matrices
from harness.tasks import retrieval
from harness.tasks.retrieval import IMAGES, VIDEOS
from harness.tasks.specs import RETRIEVAL, VIDEO_RETRIEVAL
from harness.tasks.targets import RetrievalTarget
from harness.types import CaptionedVisual, Dataset, Json, Metric, Picture, Sample

Matrix = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

KS = (1, 5, 10)


def picture(name: str) -> Picture:
    return Picture(name, lambda: np.zeros((1, 1, 3), dtype=np.uint8))


def a_set(
    counts: Sequence[int], galleries: Sequence[str] = (), foils: Sequence[Sequence[str]] = ()
) -> list[Sample]:
    """An entry with so many captions each: "0.0", "0.1", ... of the first."""
    samples = []
    for i, count in enumerate(counts):
        texts = tuple(f"{i}.{j}" for j in range(count))
        theirs = tuple(foils[i]) if foils else ()
        entry = CaptionedVisual(picture(f"p{i}"), texts, theirs, galleries[i] if galleries else "")
        target = RetrievalTarget(count, sum(text != "" for text in theirs))
        samples.append(Sample(str(i), entry, target, f"p{i}"))
    return samples


def dataset(samples: Sequence[Sample]) -> Dataset:
    return Dataset("set", "test", samples, "")


def metrics(samples: Sequence[Sample]) -> dict[str, Metric]:
    return {metric.name: metric for metric in IMAGES.metrics(dataset(samples), {})}


def value_of(metric: Metric, predictions: Sequence[Json | None], targets: Sequence[Any]) -> float:
    rows = metric.rows(predictions, targets)
    if metric.weighted is not None:
        return float(metric.weighted(np.ones(len(rows)), rows))
    return float(metric.aggregate(rows.sum(axis=0)))


def values(samples: Sequence[Sample], predictions: Sequence[Json | None]) -> dict[str, float]:
    targets = [sample.target for sample in samples]
    return {name: value_of(m, predictions, targets) for name, m in metrics(samples).items()}


class Table:
    """What scores (visuals, captions of `a_set`) say: as an Encoder a visual's embedding is its
    row, a text's is 1 in its own column; and remembers what it was asked."""

    def __init__(self, samples: Sequence[Sample], scores: Matrix) -> None:
        entries = [sample.input for sample in samples]
        self.rows = {entry.visual.id: row for row, entry in enumerate(entries)}
        texts = [text for entry in entries for text in entry.texts]
        self.columns = {text: column for column, text in enumerate(texts)}
        self.scores = scores
        self.visuals: list[str] = []
        self.texts: list[str] = []


class Encoding(Table):
    def embed_visuals(self, visuals: Sequence[Picture]) -> Matrix:
        assert all(type(visual) is Picture for visual in visuals)
        self.visuals += [visual.id for visual in visuals]
        return self.scores[[self.rows[visual.id] for visual in visuals]]

    def embed_texts(self, texts: Sequence[str]) -> Matrix:
        assert all(type(text) is str for text in texts)
        self.texts += texts
        one = np.eye(self.scores.shape[1], dtype=self.scores.dtype)
        return np.asarray(one[[self.columns[text] for text in texts]])


class Pairing(Table):
    def score_pairs(self, visuals: Sequence[Picture], texts: Sequence[str]) -> Matrix:
        assert all(type(visual) is Picture for visual in visuals)
        self.visuals += [visual.id for visual in visuals]
        self.texts += texts
        rows = [self.rows[visual.id] for visual in visuals]
        return self.scores[rows][:, [self.columns[text] for text in texts]]


def predict(model: Any, samples: Sequence[Sample], folder: Path, batch_size: int = 7) -> list[Json]:
    folder.mkdir(exist_ok=True)
    return IMAGES.predict_set(model, samples, folder, batch_size, lambda done, total: None)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    """Empty folders, one after the other."""
    names: Iterator[int] = iter(range(1000))
    return lambda: tmp_path / str(next(names))


# ---------------------------------------------------------------- brute force


def hit_share(above: int, tied: int, right: int, k: int) -> float:
    """The share of all orders of the ties that have a right one among the first k."""
    drawn = min(max(k - above, 0), tied)
    return 1 - math.comb(tied - right, drawn) / math.comb(tied, drawn)


def mean_first(above: int, tied: int, right: int) -> float:
    """The mean place of the first right one: it is at the p-th of the tied where all others lie
    behind it."""
    ways = math.comb(tied, right)
    places = range(1, tied - right + 2)
    return above + sum(p * math.comb(tied - p, right - 1) for p in places) / ways


def brute_force(samples: Sequence[Sample], scores: Matrix) -> dict[str, float]:
    """The metrics of a matrix, query by query."""
    counts = [len(sample.input.texts) for sample in samples]
    owner = np.repeat(np.arange(len(counts)), counts)
    found: dict[str, float] = {}
    recalls = []
    for name in ("text-to-image", "image-to-text"):
        standings = []
        if name == "text-to-image":
            for column in range(scores.shape[1]):
                all_of_it = scores[:, column].tolist()
                own = all_of_it[owner[column]]
                above = sum(score > own for score in all_of_it)
                standings.append((above, all_of_it.count(own), 1))
        else:
            for row in range(len(counts)):
                all_of_it = scores[row].tolist()
                mine = [all_of_it[column] for column in np.flatnonzero(owner == row)]
                best = max(mine)
                above = sum(score > best for score in all_of_it)
                standings.append((above, all_of_it.count(best), mine.count(best)))
        for k in KS:
            recalls.append(sum(hit_share(*one, k) for one in standings) / len(standings))
            found[f"{name} R@{k}"] = recalls[-1]
        ranks = [mean_first(*one) for one in standings]
        found[f"{name} mean rank"] = float(np.mean(ranks))
        found[f"{name} median rank"] = float(np.median(ranks))
    return found | {"rsum": sum(recalls)}


def random_set(seed: int, most: int = 60) -> tuple[list[Sample], Matrix]:
    """A set and scores with many ties, few or none, in which right pairs score higher."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 6, generator.integers(1, most)).tolist()
    owner = np.repeat(np.arange(len(counts)), counts)
    right = owner[None] == np.arange(len(counts))[:, None]
    steps = [2, 6, 1000][seed % 3]
    scores = generator.integers(0, steps, right.shape) + right * generator.integers(0, steps // 2)
    return a_set(counts), scores.astype([np.float32, np.float64][seed % 2])


def test_12_000_random_queries_score_as_by_brute_force(fresh: Callable[[], Path]) -> None:
    queries = 0
    for seed in range(110):
        samples, scores = random_set(seed)
        predictions = predict(Encoding(samples, scores), samples, fresh())
        assert json.loads(json.dumps(predictions)) == predictions
        assert all(IMAGES.invalid(prediction) is None for prediction in predictions)
        assert values(samples, predictions) == pytest.approx(brute_force(samples, scores), abs=1e-9)
        queries += sum(scores.shape)
    assert queries > 12_000


def test_a_constant_scorer_gets_what_chance_gets(fresh: Callable[[], Path]) -> None:
    samples = a_set([5] * 20)
    found = values(samples, predict(Encoding(samples, np.ones((20, 100))), samples, fresh()))
    assert found["text-to-image R@1"] == pytest.approx(1 / 20)
    assert found["text-to-image R@10"] == pytest.approx(10 / 20)
    assert found["text-to-image mean rank"] == pytest.approx(10.5)
    assert found["image-to-text R@1"] == pytest.approx(5 / 100)
    assert found["image-to-text R@5"] == pytest.approx(1 - math.comb(95, 5) / math.comb(100, 5))


def test_the_metrics_are_those_of_the_specs_and_say_how_ties_count() -> None:
    samples = a_set([2, 1])
    assert tuple(metrics(samples)) == RETRIEVAL.metrics
    assert tuple(m.name for m in VIDEOS.metrics(dataset(samples), {})) == VIDEO_RETRIEVAL.metrics
    for name, metric in metrics(samples).items():
        assert metric.variant == "expected over ties"
        assert (metric.weighted is not None) == name.endswith("median rank")
        assert metric.higher_is_better != name.endswith("rank")
        assert metric.percent != name.endswith("rank")
    assert metrics(samples)["rsum"].high == 6
    assert metrics(samples)["text-to-image mean rank"].low == 1


def standings(samples: Sequence[Sample], scores: Matrix) -> list[Json]:
    """Predictions for a matrix, counted plainly."""
    predictions: list[Json] = []
    first = 0
    for row, sample in enumerate(samples):
        columns = range(first, first + len(sample.input.texts))
        first = columns.stop
        best = scores[row, columns].max()
        mine = [scores[:, column] for column in columns]
        predictions.append(
            {
                "visual": [
                    int((scores[row] > best).sum()),
                    int((scores[row] == best).sum()),
                    int((scores[row, columns] == best).sum()),
                ],
                "texts": [
                    [int((one > one[row]).sum()), int((one == one[row]).sum()), 1] for one in mine
                ],
            }
        )
    return predictions


def test_a_prediction_of_another_form_is_invalid() -> None:
    assert IMAGES.invalid({"visual": [0, 1, 1], "texts": []}) is not None


def test_a_prediction_says_where_the_right_ones_stand(fresh: Callable[[], Path]) -> None:
    for seed in range(6):
        samples, scores = random_set(seed)
        found = predict(Encoding(samples, scores), samples, fresh())
        assert found == standings(samples, scores)


# ---------------------------------------------------------------- what the model gets and gives


def test_retrieval_cannot_be_predicted_in_batches() -> None:
    with pytest.raises(TypeError, match="predict_set"):
        IMAGES.predict(object(), [])


def test_the_model_gets_every_visual_and_text_once_and_texts_in_another_order(
    fresh: Callable[[], Path],
) -> None:
    samples, scores = random_set(2)
    model = Encoding(samples, scores)
    predict(model, samples, fresh())
    in_order = list(model.columns)
    assert sorted(model.visuals) == sorted(model.rows)
    assert sorted(model.texts) == sorted(in_order)
    assert model.texts != in_order
    places = np.argsort([model.columns[text] for text in model.texts])
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.2


class Cheating:
    """Matches the n-th fifth of the texts that it gets with the n-th visual."""

    def __init__(self, pairs: bool) -> None:
        self.visuals = self.texts = 0
        if pairs:
            self.score_pairs = self.pairs
        else:
            self.embed_visuals, self.embed_texts = self.of_visuals, self.of_texts

    def of_visuals(self, visuals: Sequence[Any]) -> Matrix:
        self.visuals += len(visuals)
        return np.eye(100)[self.visuals - len(visuals) : self.visuals]

    def of_texts(self, texts: Sequence[str]) -> Matrix:
        self.texts += len(texts)
        return np.eye(100)[np.arange(self.texts - len(texts), self.texts) // 5]

    def pairs(self, visuals: Sequence[Any], texts: Sequence[str]) -> Matrix:
        return self.of_visuals(visuals) @ np.eye(100)[np.arange(len(texts)) // 5].T


@pytest.mark.parametrize("pairs", [False, True])
def test_a_model_that_goes_by_places_gets_what_chance_gets(
    pairs: bool, fresh: Callable[[], Path]
) -> None:
    samples = a_set([5] * 100)
    found = values(samples, predict(Cheating(pairs), samples, fresh()))
    assert found["text-to-image R@1"] < 0.05
    assert found["image-to-text R@1"] < 0.15
    assert 40 < found["text-to-image mean rank"] < 60


def test_a_visual_that_comes_several_times_is_embedded_once(fresh: Callable[[], Path]) -> None:
    """As in the control without pictures, where one stands for all."""
    samples = a_set([2] * 10)
    blind = [
        Sample(s.id, CaptionedVisual(picture("grey"), s.input.texts), s.target, s.group)
        for s in samples
    ]
    scores = np.random.default_rng(0).random((10, 20)).astype(np.float32)
    model, pairing = Encoding(blind, scores), Pairing(blind, scores)
    predictions = predict(model, blind, fresh())
    assert model.visuals == ["grey"]
    found = values(blind, predictions)
    assert found["text-to-image R@1"] == pytest.approx(0.1)
    assert found["text-to-image mean rank"] == pytest.approx(5.5)
    assert predict(pairing, blind, fresh()) == predictions
    assert pairing.visuals == ["grey"]


def test_pairs_and_blocks_give_the_same_as_embeddings(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(12):
        samples, scores = random_set(seed)
        expected = predict(Encoding(samples, scores), samples, fresh())
        assert predict(Pairing(samples, scores), samples, fresh()) == expected
        assert predict(Encoding(samples, scores), samples, fresh(), batch_size=1) == expected
        assert predict(Encoding(samples, scores), samples, fresh(), batch_size=999) == expected
        seen: list[str] = []
        both = metrics_of_matrices.both_standings

        def watched(scores: Any, right: Any, both: Any = both, seen: Any = seen) -> Any:
            seen.append(type(scores).__name__)
            return both(scores, right)

        with monkeypatch.context() as patch:
            patch.setattr(retrieval, "_HELD", 16)
            patch.setattr(retrieval, "both_standings", watched)
            assert predict(Encoding(samples, scores), samples, fresh()) == expected
        assert seen == (["ScoreBlocks"] if scores.nbytes > 16 else ["ndarray"])


class Large:
    """1,000 visuals and 9,000 texts have 36 MB of scores in all."""

    def embed_visuals(self, visuals: Sequence[Any]) -> Matrix:
        return np.random.default_rng(len(visuals)).random((len(visuals), 4)).astype(np.float32)

    embed_texts = embed_visuals


class LargePairs:
    def score_pairs(self, visuals: Sequence[Any], texts: Sequence[str]) -> Matrix:
        return np.ones((len(visuals), len(texts)), dtype=np.float32)


MATRIX = 1000 * 9000 * 4  # bytes


@pytest.mark.parametrize(
    ("kind", "held", "most"),
    [
        (Large, MATRIX, 1.5),
        (Large, MATRIX - 1, 0.5),
        (LargePairs, MATRIX, 2.3),
    ],
)
def test_the_scores_are_held_once_or_not_at_all(
    kind: type, held: int, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of a PairScorer stand beside the whole for a moment."""
    monkeypatch.setattr(retrieval, "_HELD", held)
    monkeypatch.setattr(retrieval, "_KEPT", 0)
    monkeypatch.setattr(metrics_of_matrices, "_CELLS", 1 << 18)
    samples = a_set([9] * 1000)
    tracemalloc.start()
    try:
        predict(kind(), samples, tmp_path / "r", batch_size=500)
        assert tracemalloc.get_traced_memory()[1] < most * MATRIX
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- what is no good


def refused(model: Any, samples: Sequence[Sample], folder: Path) -> str:
    with pytest.raises(HarnessError) as caught:
        predict(model, samples, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Giving:
    """An Encoder that gives what these functions say of the number of things."""

    def __init__(self, visuals: Callable[[int], Any], texts: Callable[[int], Any]) -> None:
        self.of_visuals, self.of_texts = visuals, texts

    def embed_visuals(self, visuals: Sequence[Any]) -> Any:
        return self.of_visuals(len(visuals))

    def embed_texts(self, texts: Sequence[str]) -> Any:
        return self.of_texts(len(texts))


def ones(count: int) -> Matrix:
    return np.ones((count, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("visuals", "texts", "complaint"),
    [
        (lambda n: np.ones((n, 4)), ones, "visuals in 4 dimensions and texts in 3"),
        (lambda n: np.ones((n + 1, 3)), ones, "embeds 2 visuals as (3, 3)"),
        (lambda n: np.ones((n - 1, 3)), ones, "embeds 2 visuals as (1, 3)"),
        (lambda n: np.ones(n), ones, "embeds 2 visuals as (2,)"),
        (lambda n: np.ones((n, 3, 1)), ones, "embeds 2 visuals as (2, 3, 1)"),
        (lambda n: None, ones, "embeds 2 visuals as ()"),
        (ones, lambda n: np.ones((1, 3)), "texts as (1, 3)"),
        (ones, lambda n: np.full((n, 3), np.nan), "query 0 and candidate 0 is NaN"),
        (lambda n: np.full((n, 3), np.inf), lambda n: np.zeros((n, 3)), "is NaN"),
        (lambda n: ones(n).astype(complex), ones, "real numbers"),
    ],
)
def test_embeddings_that_are_none_end_with_a_line(
    visuals: Callable[[int], Any], texts: Callable[[int], Any], complaint: str, tmp_path: Path
) -> None:
    with np.errstate(invalid="ignore"):
        assert complaint in refused(Giving(visuals, texts), a_set([2, 1]), tmp_path / "r")


def test_the_nan_of_a_visual_is_named(tmp_path: Path) -> None:
    samples, scores = random_set(4)
    scores[3, 7] = np.nan
    message = refused(Pairing(samples, scores), samples, tmp_path / "r")
    assert "query 3 and candidate 7 is NaN, counted from visual p0" in message


def test_pair_scores_of_another_shape_end_with_a_line(tmp_path: Path) -> None:
    class Wrong:
        def score_pairs(self, visuals: Sequence[Any], texts: Sequence[str]) -> Matrix:
            return np.ones((len(texts), len(visuals)))

    message = refused(Wrong(), a_set([2, 1]), tmp_path / "r")
    assert "scores 2 visuals with 3 texts as (3, 2)" in message


def test_infinite_scores_are_scores(fresh: Callable[[], Path]) -> None:
    samples = a_set([1, 1])
    scores = np.array([[np.inf, -np.inf], [0.0, 1.0]])
    found = values(samples, predict(Pairing(samples, scores), samples, fresh()))
    assert found["rsum"] == 6


@pytest.mark.parametrize("kind", [np.float16, np.int8, np.bool_, np.int64, np.float64])
def test_products_of_small_numbers_neither_overflow_nor_lose_digits(
    kind: type, fresh: Callable[[], Path]
) -> None:
    """1,000 dimensions of 100 are 10 million: more than a float16 or an int8 holds."""
    samples = a_set([1] * 3)
    length = 1 if kind is np.bool_ else 100
    nearer = [np.repeat([length, 0], [900 + place, 100 - place]) for place in range(3)]
    vectors: dict[str, Matrix] = {
        f"{place}.0": vector.astype(kind) for place, vector in enumerate(nearer)
    }

    class Small:
        def embed_visuals(self, visuals: Sequence[Picture]) -> Matrix:
            return np.full((len(visuals), 1000), length, dtype=kind)

        def embed_texts(self, texts: Sequence[str]) -> Matrix:
            return np.stack([vectors[text] for text in texts])

    predictions = predict(Small(), samples, fresh())
    assert [prediction["visual"] for prediction in predictions] == [[2, 1, 1], [1, 1, 1], [0, 1, 1]]


def test_half_a_character_in_a_caption_is_a_caption(fresh: Callable[[], Path]) -> None:
    """As JSON can hold it."""
    entry = CaptionedVisual(picture("p"), ("a dog \ud83d", "a dog"))
    samples = [Sample("0", entry, RetrievalTarget(2), "p")]
    assert predict(Encoding(samples, np.ones((1, 2))), samples, fresh()) == [
        {"visual": [0, 2, 2], "texts": [[0, 1, 1], [0, 1, 1]]}
    ]


# ---------------------------------------------------------------- going on after a stop


@pytest.mark.parametrize("kind", [Encoding, Pairing])
def test_a_second_run_computes_nothing_again(kind: type, tmp_path: Path) -> None:
    samples, scores = random_set(5)
    expected = predict(kind(samples, scores), samples, tmp_path / "r")
    again = kind(samples, scores)
    assert predict(again, samples, tmp_path / "r") == expected
    assert not again.visuals
    assert not again.texts


@pytest.mark.parametrize("kind", [Encoding, Pairing])
@pytest.mark.parametrize("stop", [0, 8, 28])
def test_a_run_that_was_killed_goes_on(kind: type, stop: int, tmp_path: Path) -> None:
    samples, scores = a_set([2] * 30), np.random.default_rng(0).random((30, 60))

    stopping: Any = kind(samples, scores)
    asked = "embed_visuals" if kind is Encoding else "score_pairs"
    ask = getattr(stopping, asked)

    def until_stopped(*batch: Any) -> Matrix:
        if len(stopping.visuals) >= stop:
            raise KeyboardInterrupt
        return np.asarray(ask(*batch))

    setattr(stopping, asked, until_stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(stopping, samples, tmp_path / "r")
    (tmp_path / "r" / "visuals-28-2.part").write_bytes(b"half a file")
    on = kind(samples, scores)
    assert predict(on, samples, tmp_path / "r") == standings(samples, scores)
    assert sorted(stopping.visuals + on.visuals) == sorted(on.rows)
    assert len(stopping.visuals) >= stop


def test_galleries_are_kept_apart(tmp_path: Path) -> None:
    samples = a_set([2] * 6, ["a", "b"] * 3)
    scores = np.random.default_rng(0).integers(0, 3, (6, 12)).astype(np.float64)
    found = predict(Encoding(samples, scores), samples, tmp_path / "r", batch_size=2)
    assert found == galleries_apart(samples, scores)
    again = Encoding(samples, scores)
    assert predict(again, samples, tmp_path / "r", batch_size=2) == found
    assert not again.visuals


def galleries_apart(samples: Sequence[Sample], scores: Matrix) -> list[Json]:
    """Each gallery as a set of its own."""
    names = [sample.input.gallery for sample in samples]
    owner = np.repeat(np.arange(len(samples)), [len(sample.input.texts) for sample in samples])
    found: dict[int, Json] = {}
    for name in dict.fromkeys(names):
        rows = [row for row in range(len(samples)) if names[row] == name]
        part = scores[rows][:, np.isin(owner, rows)]
        found |= dict(zip(rows, standings([samples[row] for row in rows], part), strict=True))
    return [found[row] for row in range(len(samples))]


def test_progress_ends_with_all_visuals(tmp_path: Path) -> None:
    samples, scores = a_set([1] * 10), np.eye(10)
    for kind in (Encoding, Pairing):
        calls: list[tuple[int, int]] = []
        folder = tmp_path / kind.__name__
        folder.mkdir()
        IMAGES.predict_set(
            kind(samples, scores), samples, folder, 4, lambda *at, calls=calls: calls.append(at)
        )
        assert calls == [(4, 10), (8, 10), (10, 10)]


# ---------------------------------------------------------------- matrices from files


def saved(tmp_path: Path, scores: Any) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, scores, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    "kind", [np.float64, np.float32, np.float16, np.int8, np.uint8, np.int64, np.bool_]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_matrix_of_any_real_numbers_is_read(kind: type, order: Any, tmp_path: Path) -> None:
    samples, scores = random_set(0)
    scores = np.asarray(scores.astype(kind), order=order)
    read = IMAGES.read_results(saved(tmp_path, scores), dataset(samples))
    assert list(read) == [sample.id for sample in samples]
    assert list(read.values()) == standings(samples, scores)


def test_bytes_do_not_overflow_where_they_are_compared(tmp_path: Path) -> None:
    samples = a_set([1, 1])
    scores = np.array([[127, -128], [-128, 127]], dtype=np.int8)
    read = IMAGES.read_results(saved(tmp_path, scores), dataset(samples))
    assert values(samples, list(read.values()))["rsum"] == 6


def test_galleries_are_cut_out_of_the_matrix(tmp_path: Path) -> None:
    for names in (["1", "1", "2", "2", "3", "3"], ["1", "2", "3"] * 2, ["all"] * 6):
        samples = a_set([1, 2, 3, 1, 2, 3], names)
        scores = np.random.default_rng(1).integers(0, 3, (6, 12))
        read = IMAGES.read_results(saved(tmp_path, scores), dataset(samples))
        assert [read[sample.id] for sample in samples] == galleries_apart(samples, scores)


def refused_file(path: Path, samples: Sequence[Sample]) -> str:
    with pytest.raises(BadInput) as caught:
        IMAGES.read_results(path, dataset(samples))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        (np.ones((3, 2)), "shape (3, 2), but set test has 2 visuals and 3 captions"),
        (np.ones((2, 4)), "shape (2, 4)"),
        (np.ones(6), "shape (6,)"),
        (np.ones((2, 3, 1)), "shape (2, 3, 1)"),
        (np.array(1.0), "shape ()"),
        (np.ones((2, 3), dtype=object), "cannot be read as a matrix"),
        (np.ones((2, 3), dtype=complex), "real numbers"),
        (np.ones((2, 3), dtype="datetime64[s]"), "real numbers"),
        (np.array([[1, 2, 3], [4, np.nan, 6]]), "query 1 and candidate 1 is NaN"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_what_is_no_matrix_of_the_set_is_refused(
    scores: Any, complaint: str, tmp_path: Path
) -> None:
    assert complaint in refused_file(saved(tmp_path, scores), a_set([2, 1]))


def test_the_nan_of_a_gallery_is_counted_from_its_first_visual(tmp_path: Path) -> None:
    scores = np.zeros((4, 4))
    scores[3, 2] = np.nan
    message = refused_file(saved(tmp_path, scores), a_set([1] * 4, ["1", "1", "2", "2"]))
    assert "query 1 and candidate 0 is NaN, counted from visual p2" in message


def test_what_is_no_npy_file_is_refused(tmp_path: Path) -> None:
    samples = a_set([2, 1])
    assert "cannot be read" in refused_file(tmp_path / "none.npy", samples)
    for content in (b"", b"1 2 3", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x76\x00{'descr'"):
        (tmp_path / "bad.npy").write_bytes(content)
        assert "cannot be read" in refused_file(tmp_path / "bad.npy", samples)
    whole = saved(tmp_path, np.ones((2, 3))).read_bytes()
    (tmp_path / "bad.npy").write_bytes(whole[:-8])
    assert "cannot be read" in refused_file(tmp_path / "bad.npy", samples)


def test_an_archive_of_matrices_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "scores.npz", scores=np.ones((2, 3)))
    refused_file(tmp_path / "scores.npz", a_set([2, 1]))


@pytest.mark.parametrize("scores", [np.full((2, 3), "1"), np.zeros((2, 3), dtype=[("a", "f4")])])
def test_a_matrix_of_no_numbers_is_refused(scores: Any, tmp_path: Path) -> None:
    refused_file(saved(tmp_path, scores), a_set([2, 1]))


# ---------------------------------------------------------------- the binding probe


class Words:
    """Scores a visual "p3" with a text by the text's number after "=", 0 without."""

    def embed_visuals(self, visuals: Sequence[Picture]) -> Matrix:
        return np.ones((len(visuals), 1), dtype=np.float32)

    def embed_texts(self, texts: Sequence[str]) -> Matrix:
        return np.array([[float(text.partition("=")[2] or 0)] for text in texts], np.float32)


class PairsOfWords:
    def score_pairs(self, visuals: Sequence[Picture], texts: Sequence[str]) -> Matrix:
        return Words().embed_visuals(visuals) @ Words().embed_texts(texts).T


@pytest.mark.parametrize("kind", [Words, PairsOfWords])
def test_captions_are_scored_with_their_foils_and_those_without_left_out(
    kind: type, fresh: Callable[[], Path]
) -> None:
    samples = a_set([3, 2, 1], foils=[["f=-1", "", "f=2"], ["f", "f=0.25"], [""]])
    predictions = predict(kind(), samples, fresh())
    assert predictions[0]["binding"] == [[0, -1], [0, 2]]
    assert predictions[1]["binding"] == [[0, 0], [0, 0.25]]
    assert "binding" not in predictions[2]
    assert json.loads(json.dumps(predictions)) == predictions
    assert list(metrics(samples))[-1] == "binding"
    assert values(samples, predictions)["binding"] == pytest.approx((1 + 0.5) / 4)
    rows = metrics(samples)["binding"].rows(predictions, [sample.target for sample in samples])
    np.testing.assert_array_equal(rows, [[1, 2], [0.5, 2], [0, 0]])


def test_without_foils_there_is_no_probe() -> None:
    assert "binding" not in metrics(a_set([2, 2]))


def test_the_probe_is_not_available_where_no_foil_was_scored(tmp_path: Path) -> None:
    """A matrix has no scores of foils: "n/a", not 0."""
    samples = a_set([2, 1], foils=[["f", "f"], ["f"]])
    read = IMAGES.read_results(saved(tmp_path, np.ones((2, 3))), dataset(samples))
    assert np.isnan(values(samples, list(read.values()))["binding"])
    assert values(samples, [None, None])["binding"] == 0


def test_the_probe_is_there_if_any_caption_has_a_foil() -> None:
    assert "binding" in metrics(a_set([1, 1], foils=[[""], ["f"]]))


def test_foils_too_are_not_scored_again(tmp_path: Path) -> None:
    samples = a_set([2, 1], foils=[["f", "f=1"], ["f=3"]])
    expected = predict(Words(), samples, tmp_path / "r")
    assert predict(Giving(lambda n: 1 / 0, lambda n: 1 / 0), samples, tmp_path / "r") == expected


# ---------------------------------------------------------------- people


def test_a_person_sees_captions_and_foils() -> None:
    (sample,) = a_set([2], foils=[["", "not so"]])
    shown = IMAGES.show(sample)
    assert list(shown.lines) == [("caption 1", "0.0"), ("caption 2", "0.1"), ("foil 2", "not so")]
    assert not shown.boxes


# ---------------------------------------------------------------- scores that are known


def shuffled(samples: Sequence[Sample]) -> list[Sample]:
    dealt = [*samples[1:], samples[0]]
    return [
        Sample(
            one.id,
            CaptionedVisual(other.input.visual, one.input.texts, one.input.foils),
            one.target,
            one.group,
        )
        for one, other in zip(samples, dealt, strict=True)
    ]


@pytest.mark.parametrize("kind", [Encoding, Pairing])
def test_dealt_visuals_are_not_scored_again(kind: type[Table], tmp_path: Path) -> None:
    samples = a_set([2, 1, 3])
    scores = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    predict(kind(samples, scores), samples, tmp_path)  # the run folder keeps its scores
    dealt, own = shuffled(samples), tmp_path / "dealt"
    own.mkdir()
    fresh = predict(kind(samples, scores), dealt, tmp_path / "fresh")
    model = kind(samples, scores)
    found = IMAGES.predict_set(model, dealt, own, 7, lambda done, total: None, tmp_path)
    assert found == fresh
    assert model.visuals == model.texts == []


def test_scores_of_other_visuals_or_captions_are_not_taken_for_known(tmp_path: Path) -> None:
    samples = a_set([2, 1, 3])
    scores = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    predict(Encoding(samples[:2], scores[:2, :3]), samples[:2], tmp_path)
    model = Encoding(samples, scores)
    (tmp_path / "own").mkdir()
    found = IMAGES.predict_set(model, samples, tmp_path / "own", 7, lambda d, n: None, tmp_path)
    assert found == predict(Encoding(samples, scores), samples, tmp_path / "fresh")
    assert sorted(model.visuals) == ["p0", "p1", "p2"]
