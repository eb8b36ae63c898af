"""Retrieval in both directions: a model's scores of every caption with every visual, and where they
place the right ones; the binding probe. Knows no data set, and not how standings become metrics
(retrieval_metrics.py).

A prediction says where an entry's right candidates stand: {"visual": [above, tied, right],
"texts": [[above, tied, right], ...]}: how many captions score higher than the visual's best, how
many the same, how many of those are its own; then for each of its captions the same among the
visuals. {"binding": [[score, score of the foil], ...]} where captions have foils.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from harness.errors import BadInput
from harness.metrics.retrieval import ScoreBlocks, Standing, both_standings
from harness.types import CaptionedVisual, Dataset, Json, Metric, Sample, Shown, Visual

from .retrieval_metrics import Ties, binding_metric, standing_metrics, why_invalid

if TYPE_CHECKING:
    from harness.types import FloatArray

    Progress = Callable[[int, int], None]

_HELD = 2**30  # bytes of a score matrix that is held whole; a larger one is made twice, in blocks
_KEPT = 64 * 2**20  # bytes of a score matrix that the run folder keeps


class RetrievalTask:
    """A SetTask: asks an Encoder or a PairScorer for the scores of all pairs.

    `visual` is what a visual is called in the metrics' names: "image" or "video". Rule `ties`:
    where a right candidate stands among others that score the same, "expected" (anywhere),
    "first" or "last".
    """

    form = '{"visual": [above, tied, right], "texts": [[above, tied, right], ...]}'

    def __init__(self, visual: str) -> None:
        self._visual = visual

    def predict(self, model: Any, inputs: Sequence[CaptionedVisual]) -> list[Json]:
        raise TypeError("retrieval is predicted as a whole: predict_set")

    def predict_set(
        self,
        model: Any,
        samples: Sequence[Sample],
        folder: Path,
        batch_size: int,
        progress: Progress,
        known: Path | None = None,
    ) -> list[Json]:
        entries: list[CaptionedVisual] = [sample.input for sample in samples]
        predictions: list[Json] = [{} for _ in entries]
        for number, (name, members) in enumerate(_galleries(entries).items()):
            score = _Scoring(model, folder, f"{number}-", batch_size, progress, known)
            here = [entries[place] for place in members]
            scores = score.matrix([entry.visual for entry in here], _texts(here))
            found = _standings(scores, here)
            if isinstance(scores, np.ndarray) and scores.nbytes <= _KEPT and not name:
                _keep(scores, [entry.visual.id for entry in here], folder)
            foiled = score.against_foils(here)
            for place, prediction, pairs in zip(members, found, foiled, strict=True):
                predictions[place] = prediction | ({"binding": pairs} if pairs else {})
        return predictions

    def invalid(self, prediction: Json) -> str | None:
        return why_invalid(prediction)

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        foils = any(sample.target.foils for sample in dataset.samples)
        ties = cast(Ties, rules.get("ties", "expected"))
        metrics = standing_metrics(f"text-to-{self._visual}", f"{self._visual}-to-text", ties)
        return metrics + ([binding_metric(ties)] if foils else [])

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """A matrix of scores (visuals, captions) as .npy, both in the data set's order."""
        samples = dataset.samples[:]
        entries: list[CaptionedVisual] = [sample.input for sample in samples]
        try:
            scores = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise BadInput(
                f"{path}: cannot be read as a matrix of scores; write it with numpy.save"
            ) from None
        if not isinstance(scores, np.ndarray):
            raise BadInput(f"{path}: is an archive, not a matrix; write it with numpy.save")
        if scores.dtype.kind not in "fiub":
            raise BadInput(f"{path}: holds {scores.dtype}, not real numbers; write scores")
        shape = len(entries), sum(len(entry.texts) for entry in entries)
        if scores.shape != shape:
            raise BadInput(
                f"{path}: has the shape {scores.shape}, but {dataset.name} {dataset.split} has "
                f"{shape[0]:,} visuals and {shape[1]:,} captions; score every pair"
            )
        columns = np.cumsum([0, *(len(entry.texts) for entry in entries)])
        predictions: dict[str, Json] = {}
        for members in _galleries(entries).values():
            ours = np.concatenate([np.arange(columns[i], columns[i + 1]) for i in members])
            whole = len(members) == len(entries)
            part = scores if whole else np.asarray(scores[members][:, ours])
            here = [entries[place] for place in members]
            try:
                found = _standings(part, here)
            except BadInput as error:
                raise BadInput(f"{path}: {error}") from None
            predictions |= {samples[i].id: one for i, one in zip(members, found, strict=True)}
        return predictions

    def show(self, sample: Sample) -> Shown:
        entry: CaptionedVisual = sample.input
        lines = [(f"caption {i + 1}", text) for i, text in enumerate(entry.texts)]
        lines += [(f"foil {i + 1}", text) for i, text in enumerate(entry.foils) if text]
        return Shown(lines)

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        ranks = ", ".join(_rank(one) for one in prediction["texts"])
        return Shown(
            [
                (f"best caption of this {self._visual}", f"rank {_rank(prediction['visual'])}"),
                (f"this {self._visual} for its captions", f"ranks {ranks}"),
            ]
        )


def _rank(standing: Sequence[int]) -> str:
    """ "3", or "3 to 5" where others have the same score."""
    above, tied, right = standing
    last = above + tied - right + 1
    return f"{above + 1}" if last == above + 1 else f"{above + 1} to {last}"


IMAGES = RetrievalTask("image")
VIDEOS = RetrievalTask("video")


# ---------------------------------------------------------------- the set as matrices


def _galleries(entries: Sequence[CaptionedVisual]) -> dict[str, list[int]]:
    """Gallery -> the places of its entries."""
    members: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        members.setdefault(entry.gallery, []).append(place)
    return members


def _texts(entries: Sequence[CaptionedVisual]) -> list[str]:
    return [text for entry in entries for text in entry.texts]


def _standings(scores: Any, entries: Sequence[CaptionedVisual]) -> list[Json]:
    """Where the right candidates stand, of each entry; scores (entries, captions)."""
    ends = np.cumsum([0, *(len(entry.texts) for entry in entries)])
    right = [range(ends[i], ends[i + 1]) for i in range(len(entries))]
    try:
        visuals, texts = both_standings(scores, right)
    except ValueError as error:
        raise BadInput(f"{error}, counted from visual {entries[0].visual.id}; mend it") from None
    by_visual, by_text = _triples(visuals), _triples(texts)
    return [
        {"visual": by_visual[i], "texts": by_text[ends[i] : ends[i + 1]]}
        for i in range(len(entries))
    ]


def _triples(standing: Standing) -> list[list[int]]:
    triples: list[list[int]] = np.stack(
        [standing.above, standing.tied, standing.right], axis=1
    ).tolist()
    return triples


def _keep(scores: FloatArray, visuals: Sequence[str], folder: Path) -> None:
    np.save(folder / "scores.npy", scores)
    (folder / "scores.json").write_text(json.dumps({"visuals": visuals}), encoding="utf-8")


def _kept_scores(folder: Path | None, visuals: Iterable[str], texts: int) -> FloatArray | None:
    """(visuals, texts) from the scores that a run folder keeps, or None if it lacks any of them."""
    if folder is None or not (folder / "scores.json").is_file():
        return None
    kept = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["visuals"]
    row = {id: number for number, id in enumerate(kept)}
    scores = np.load(folder / "scores.npy", allow_pickle=False)
    if scores.shape != (len(kept), texts) or not all(id in row for id in visuals):
        return None
    return np.asarray(scores[[row[id] for id in visuals]])


@dataclass(frozen=True)
class _Scoring:
    """Scores of one gallery by one model. What is computed is kept in `folder` batch by batch, so
    that a run which is stopped goes on."""

    model: Any
    folder: Path
    prefix: str  # of the files' names, one a gallery
    batch_size: int
    progress: Progress
    known: Path | None = None

    def matrix(self, visuals: Sequence[Visual], texts: Sequence[str]) -> Any:
        """(visuals, texts) scores, or ScoreBlocks of them where they are too many to hold. A visual
        that comes several times is scored once. The model gets the texts in the order of their
        hashes, so that places say nothing."""
        distinct = {visual.id: visual for visual in visuals}
        place = {id: row for row, id in enumerate(distinct)}
        rows = np.array([place[visual.id] for visual in visuals])
        order = sorted(range(len(texts)), key=lambda column: _hash(texts[column], column))
        shuffled = [texts[column] for column in order]
        columns = np.empty(len(texts), dtype=np.int64)
        columns[order] = np.arange(len(texts))
        found = _kept_scores(self.known, distinct, len(texts))
        if found is not None:
            return found[rows]
        if not hasattr(self.model, "embed_visuals"):
            return self._pairs(list(distinct.values()), shuffled)[rows][:, columns]
        embedded = self._embedded("visuals", list(distinct.values()), self.model.embed_visuals)
        of_texts = self._embedded("texts", shuffled, self.model.embed_texts)[columns]
        if embedded.shape[1] != of_texts.shape[1]:
            raise BadInput(
                f"the model embeds visuals in {embedded.shape[1]} dimensions and texts in "
                f"{of_texts.shape[1]}: mend the model"
            )
        if len(rows) * len(texts) * embedded.itemsize <= _HELD:
            # equal rows of a product need not have equal digits: each visual is multiplied once
            scores: FloatArray = embedded @ of_texts.T
            return scores if len(distinct) == len(rows) else scores[rows]

        def block(start: int, stop: int) -> FloatArray:
            some, whose = np.unique(rows[start:stop], return_inverse=True)
            return np.asarray((embedded[some] @ of_texts.T)[whose])

        return ScoreBlocks((len(rows), len(texts)), block)

    def against_foils(self, entries: Sequence[CaptionedVisual]) -> list[list[list[float]]]:
        """For each entry [score of a caption, score of its foil] for each caption that has one."""
        listed: list[list[list[float]]] = []
        for start, batch in self._batches(entries):
            counts = [sum(map(bool, entry.foils)) for entry in batch]
            if not any(counts):
                listed += [[] for _ in batch]
                continue
            part = self._kept(f"foils-{start}-{len(batch)}", partial(self._foil_scores, batch))
            listed += [one.tolist() for one in np.split(part, np.cumsum(counts)[:-1])]
        return listed

    def _foil_scores(self, entries: Sequence[CaptionedVisual]) -> FloatArray:
        """(foils, 2): the scores of captions and of their foils."""
        foiled = [
            (entry.visual, [text for pair in _with_foils(entry) for text in pair])
            for entry in entries
            if any(entry.foils)
        ]
        if hasattr(self.model, "embed_visuals"):
            visuals = np.asarray(self.model.embed_visuals([visual for visual, _ in foiled]))
            texts = np.asarray(self.model.embed_texts([t for _, some in foiled for t in some]))
            owners = np.repeat(np.arange(len(foiled)), [len(some) for _, some in foiled])
            scores = (texts.astype(np.float64) * visuals[owners]).sum(axis=1)
        else:
            pairs = [self.model.score_pairs([visual], some)[0] for visual, some in foiled]
            scores = np.concatenate([np.asarray(row, dtype=np.float64) for row in pairs])
        return np.asarray(scores.reshape(-1, 2))

    def _embedded(self, what: str, items: Sequence[Any], embed: Callable[[Any], Any]) -> FloatArray:
        """(items, dimensions)."""
        parts = []
        for start, batch in self._batches(items):
            part = self._kept(f"{what}-{start}-{len(batch)}", partial(embed, batch))
            if part.ndim != 2 or len(part) != len(batch):
                raise BadInput(
                    f"the model embeds {len(batch)} {what} as {part.shape}: mend the model"
                )
            # Products of small types would overflow, or lose digits and so make ties.
            parts.append(part.astype(np.result_type(part, np.float32), copy=False))
            if what == "visuals":
                self.progress(start + len(batch), len(items))
        return np.concatenate(parts)

    def _pairs(self, visuals: Sequence[Visual], texts: Sequence[str]) -> FloatArray:
        parts = []
        for start, batch in self._batches(visuals):
            score = partial(self.model.score_pairs, batch, texts)
            part = self._kept(f"pairs-{start}-{len(batch)}", score)
            if part.shape != (len(batch), len(texts)):
                raise BadInput(
                    f"the model scores {len(batch)} visuals with {len(texts)} texts as "
                    f"{part.shape}: mend the model"
                )
            parts.append(part)
            self.progress(start + len(batch), len(visuals))
        return np.concatenate(parts)

    def _batches(self, items: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
        for start in range(0, len(items), self.batch_size):
            yield start, items[start : start + self.batch_size]

    def _kept(self, name: str, compute: Callable[[], Any]) -> FloatArray:
        path = self.folder / f"{self.prefix}{name}.npy"
        if path.is_file():
            return np.asarray(np.load(path, allow_pickle=False))
        part = np.asarray(compute())
        beside = path.with_suffix(".part")
        with beside.open("wb") as file:
            np.save(file, part)
        beside.replace(path)
        return part


def _with_foils(entry: CaptionedVisual) -> list[tuple[str, str]]:
    return [(t, f) for t, f in zip(entry.texts, entry.foils, strict=False) if f]


def _hash(text: str, column: int) -> bytes:
    return hashlib.sha256(f"{column}:{text}".encode("utf-8", "surrogatepass")).digest()
