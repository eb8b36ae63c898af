"""What the dual encoder's training curve shows: the validation samples through the model as users
have it, by the simplest measure of each task. Official scores come from `harness eval`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from harness.types import Dataset, Question

from .nce_model import NceModel

_AT_ONCE = 64


def validate(model: NceModel, dataset: Dataset) -> dict[str, float]:
    """Measures in [0, 1], by name."""
    model.network.eval()
    samples = dataset.samples[:]
    asked, target = samples[0].input, samples[0].target
    if hasattr(target, "references"):
        return _retrieval(model, samples, [s.target.references for s in samples])
    if hasattr(asked, "texts"):
        found = _retrieval(model, samples, [s.input.texts for s in samples])
        return found | _binding(model, samples)
    if hasattr(asked, "reasons"):
        return _choices(model, samples)
    if hasattr(target, "answers"):
        return _answers(model, samples)
    if hasattr(target, "box"):
        return _boxes(model, samples)
    return _moments(model, samples)


def _batches(samples: Sequence[Any]) -> list[Sequence[Any]]:
    return [samples[start : start + _AT_ONCE] for start in range(0, len(samples), _AT_ONCE)]


def _retrieval(
    model: NceModel, samples: Sequence[Any], texts: Sequence[Sequence[str]]
) -> dict[str, float]:
    """R@1 in both directions over all of the samples."""
    seen = np.concatenate(
        [model.embed_visuals([s.input.visual for s in some]) for some in _batches(samples)]
    )
    said = model.embed_texts([text for some in texts for text in some])
    owners = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
    scores = seen @ said.T
    return {
        "text_to_visual_r1": float((scores.argmax(axis=0) == owners).mean()),
        "visual_to_text_r1": float((owners[scores.argmax(axis=1)] == np.arange(len(seen))).mean()),
    }


def _binding(model: NceModel, samples: Sequence[Any]) -> dict[str, float]:
    """How often a caption scores above its foil."""
    pairs = [
        (place, text, foil)
        for place, sample in enumerate(samples)
        for text, foil in zip(sample.input.texts, sample.input.foils, strict=False)
        if foil
    ]
    if not pairs:
        return {}
    seen = np.concatenate(
        [model.embed_visuals([s.input.visual for s in some]) for some in _batches(samples)]
    )
    rows = seen[[place for place, _, _ in pairs]]
    gain = model.embed_texts([text for _, text, _ in pairs]) - model.embed_texts(
        [foil for _, _, foil in pairs]
    )
    return {"binding": float(((rows * gain).sum(axis=1) > 0).mean())}


def _choices(model: NceModel, samples: Sequence[Any]) -> dict[str, float]:
    answers, reasons = [], []
    for some in _batches(samples):
        inputs = [s.input for s in some]
        asked = [Question(i.visual, i.text, i.answers, objects=i.objects) for i in inputs]
        given = [
            Question(i.visual, i.text, i.reasons, objects=i.objects, given=i.given) for i in inputs
        ]
        for sample, answer, reason in zip(
            some, model.answer(asked), model.answer(given), strict=True
        ):
            answers.append(getattr(answer, "index", -1) == sample.target.answer)
            reasons.append(getattr(reason, "index", -1) == sample.target.reason)
    return {"answers": fmean(answers), "reasons": fmean(reasons)}


def _answers(model: NceModel, samples: Sequence[Any]) -> dict[str, float]:
    """The mean share of annotators who gave the answer, three being enough for all; by kind too."""
    scores: dict[str, list[float]] = {}
    for some in _batches(samples):
        for sample, answer in zip(some, model.answer([s.input for s in some]), strict=True):
            agreeing = sample.target.answers.count(getattr(answer, "text", ""))
            scores.setdefault(sample.input.kind, []).append(min(1.0, agreeing / 3))
    every = {"soft_score": fmean(score for some in scores.values() for score in some)}
    return every | {kind: fmean(scores[kind]) for kind in sorted(scores) if kind}


def _boxes(model: NceModel, samples: Sequence[Any]) -> dict[str, float]:
    hits = []
    for some in _batches(samples):
        for sample, box in zip(some, model.locate([s.input for s in some]), strict=True):
            hits.append(box is not None and _box_overlap(box, sample.target.box) >= 0.5)
    return {"accuracy": fmean(hits)}


def _box_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _moments(model: NceModel, samples: Sequence[Any]) -> dict[str, float]:
    overlaps = []
    for sample in samples:
        (start, end), *_ = model.find_moments([sample.input])[0]
        overlaps.append(
            max(
                max(0.0, min(end, b) - max(start, a)) / (max(end, b) - min(start, a))
                for a, b in sample.target.moments
            )
        )
    return {
        "r1_iou_0.5": fmean(overlap >= 0.5 for overlap in overlaps),
        "mean_iou": fmean(overlaps),
    }
