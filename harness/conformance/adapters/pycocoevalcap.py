"""pycocoevalcap by the steps of its COCOEvalCap: COCO annotations and results, the PTB tokeniser,
then one of its scorers. The tokeniser is a Java program."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from harness.types import Json

from .serve import Unsupported, serve

_ORDERS = {f"BLEU-{k}": k for k in (1, 2, 3, 4)}


def score(request: Json) -> float:
    from harness.metrics.java import java_reason

    if request["task"] != "captioning":
        raise Unsupported("pycocoevalcap scores captions only")
    if request["metric"] not in (*_ORDERS, "ROUGE-L", "CIDEr"):
        raise Unsupported(f"no count of {request['metric']} predictions")
    if reason := java_reason():
        raise Unsupported(reason)
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    annotations, results = _as_coco(request)
    # Its only way with results of a part of the images, params["image_id"] in its readme.
    images = results.getImgIds() if request["allow_missing"] else annotations.getImgIds()
    tokenizer = PTBTokenizer()
    references = tokenizer.tokenize({image: annotations.imgToAnns[image] for image in images})
    hypotheses = tokenizer.tokenize({image: results.imgToAnns[image] for image in images})
    return _score(request["metric"], references, hypotheses)


def _as_coco(request: Json) -> tuple[Any, Any]:
    records = [
        {"image_id": one["id"], "caption": text}
        for one in request["targets"]
        for text in one["references"]
    ]
    annotations = import_module("pycocotools.coco").COCO()
    annotations.dataset = {
        "images": [{"id": one["id"]} for one in request["targets"]],
        "annotations": [{"id": number, **one} for number, one in enumerate(records)],
    }
    annotations.createIndex()
    given = [{"image_id": p["id"], "caption": p["caption"]} for p in request["predictions"]]
    return annotations, annotations.loadRes(given)


def _score(metric: str, references: Json, hypotheses: Json) -> float:
    if metric in _ORDERS:
        from pycocoevalcap.bleu.bleu import Bleu

        orders, _ = Bleu(4).compute_score(references, hypotheses)
        return float(orders[_ORDERS[metric] - 1])
    if metric == "ROUGE-L":
        from pycocoevalcap.rouge.rouge import Rouge

        return float(Rouge().compute_score(references, hypotheses)[0])
    from pycocoevalcap.cider.cider import Cider

    return float(Cider().compute_score(references, hypotheses)[0])


if __name__ == "__main__":
    serve(score)
