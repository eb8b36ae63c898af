"""What the captioners' training curve shows: validation samples through the model as users have it,
by the simplest measure of each task. Official scores come from `harness eval`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.metrics.caption import cider
from harness.metrics.ptb_tokenizer import tokenize_all
from harness.types import Dataset

from .captioner import CaptioningModel

_AT_ONCE = 50
_SEARCHED = 50  # visuals that retrieval is measured over


def validate(model: CaptioningModel, dataset: Dataset) -> dict[str, float]:
    """Measures by name: CIDEr as its scale is, all others in [0, 1]."""
    model.network.eval()
    model.forget()
    samples = dataset.samples[:]
    asked, target = samples[0].input, samples[0].target
    if hasattr(target, "references"):
        return _cider(model, samples) | _retrieval(model, samples)
    if hasattr(asked, "texts"):
        return _retrieval(model, samples)
    if hasattr(target, "box"):
        return _boxes(model, samples)
    return _moments(model, samples)


def _cider(model: CaptioningModel, samples: Sequence[Any]) -> dict[str, float]:
    told = [
        caption
        for some in _batches(samples)
        for caption in model.caption([sample.input.visual for sample in some])
    ]
    references = [tokenize_all(sample.target.references) for sample in samples]
    return {"cider": cider(tokenize_all(told), references)}


def _retrieval(model: CaptioningModel, samples: Sequence[Any]) -> dict[str, float]:
    """R@1 in both directions among the first samples."""
    searched = samples[:_SEARCHED]
    texts = [
        sample.target.references if hasattr(sample.target, "references") else sample.input.texts
        for sample in searched
    ]
    owners = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
    visuals = [sample.input.visual for sample in searched]
    scores = model.score_pairs(visuals, [text for some in texts for text in some])
    return {
        "text_to_visual_r1": float((scores.argmax(axis=0) == owners).mean()),
        "visual_to_text_r1": float((owners[scores.argmax(axis=1)] == np.arange(len(texts))).mean()),
    }


def _boxes(model: CaptioningModel, samples: Sequence[Any]) -> dict[str, float]:
    """How often the box overlaps the right one by half."""
    hits = [
        box is not None and _overlap(box, sample.target.box) >= 0.5
        for some in _batches(samples)
        for sample, box in zip(some, model.locate([s.input for s in some]), strict=True)
    ]
    return {"accuracy": float(np.mean(hits))}


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes with exclusive far ends."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


def _moments(model: CaptioningModel, samples: Sequence[Any]) -> dict[str, float]:
    """Recall of the moment at an IoU of a half, by the best window and by the five best."""
    found = model.find_moments([sample.input for sample in samples])
    hits = np.array(
        [
            [_overlap((a, 0.0, b, 1.0), (start, 0.0, end, 1.0)) >= 0.5 for a, b in moments]
            + [False] * (5 - len(moments))
            for moments, sample in zip(found, samples, strict=True)
            for start, end in sample.target.moments[:1]
        ]
    )
    return {"r1": float(hits[:, 0].mean()), "r5": float(hits.any(axis=1).mean())}


def _batches(samples: Sequence[Any]) -> list[Sequence[Any]]:
    return [samples[start : start + _AT_ONCE] for start in range(0, len(samples), _AT_ONCE)]
