"""torchmetrics by its functional interface: BLEU and ROUGE-L of captions, hit rates of retrieval,
IoU of boxes, and accuracy of choices (VCR). The rest of the cases it does not support."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from harness.types import Json

from .serve import Unsupported, only_plain, paired, paired_captions, serve


def score(request: Json) -> float:
    if request["task"] not in _BY_TASK:
        raise Unsupported(f"torchmetrics has no metric of {request['task']}")
    only_plain(request, own=("exclusive",))
    return _BY_TASK[request["task"]](request)


def _captioning(request: Json) -> float:
    metric = request["metric"]
    if metric.startswith("BLEU-"):
        from torchmetrics.functional.text import bleu_score

        captions, references = paired_captions(request, "torchmetrics")
        return float(bleu_score(captions, references, n_gram=int(metric[-1])))
    if metric == "ROUGE-L":
        from torchmetrics.functional.text import rouge_score

        captions, references = paired_captions(request, "torchmetrics")
        found = rouge_score(captions, references, rouge_keys="rougeL")
        return float(found["rougeL_fmeasure"])
    raise Unsupported(f"torchmetrics has no {metric}")


def _retrieval(request: Json) -> float:
    """The mean of the hit rates of the queries, each with its candidates' scores."""
    import torch
    from torchmetrics.functional.retrieval import retrieval_hit_rate

    way, _, statistic = request["metric"].partition(" ")
    if not statistic.startswith("R@"):
        raise Unsupported(f"torchmetrics has no {statistic or way}")
    scores = torch.tensor([[float(value) for value in row] for row in request["scores"]])
    image_of = torch.repeat_interleave(
        torch.arange(len(request["captions"])), torch.tensor(request["captions"])
    )
    if scores.shape[1] != len(image_of):
        raise Unsupported("torchmetrics takes a query at a time and sees no matrix")
    right = image_of[None] == torch.arange(len(scores))[:, None]
    if way == "text-to-image":
        scores, right = scores.T, right.T
    depth = int(statistic[2:])
    hits = [
        retrieval_hit_rate(of_query, target, top_k=depth)
        for of_query, target in zip(scores, right, strict=True)
    ]
    return float(torch.stack(hits).mean())


def _boxes(request: Json) -> float:
    if request["metric"] != "mean-iou":
        raise Unsupported(f"torchmetrics has no {request['metric']} of one box a picture")
    pairs = paired(request, "torchmetrics")
    if any("box" not in given for given, _ in pairs):
        raise Unsupported("its functional IoU takes two corners only")
    try:
        import_module("torchvision")
    except Exception as error:  # one that is made for another torch raises what it likes
        raise Unsupported(f"its IoU needs torchvision: {error}") from None
    import torch
    from torchmetrics.functional.detection import intersection_over_union

    ious = [
        intersection_over_union(
            torch.tensor([given["box"]], dtype=torch.float64),
            torch.tensor([target["box"]], dtype=torch.float64),
        )
        for given, target in pairs
    ]
    return float(torch.stack(ious).mean())


def _vcr(request: Json) -> float:
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    metric = request["metric"]
    if metric not in ("Q->A", "QA->R"):
        raise Unsupported(f"torchmetrics has no {metric}: it is of two choices at once")
    pairs = paired(request, "torchmetrics")
    if metric == "Q->A":
        scores = [given["answer_scores"] for given, _ in pairs]
    else:
        scores = [given["reason_scores"][target["answer"]] for given, target in pairs]
    right = [target["answer" if metric == "Q->A" else "reason"] for _, target in pairs]
    return float(
        multiclass_accuracy(
            torch.tensor([[float(value) for value in four] for four in scores]),
            torch.tensor(right),
            num_classes=4,
            average="micro",
        )
    )


_BY_TASK: dict[str, Callable[[Json], float]] = {
    "captioning": _captioning,
    "retrieval": _retrieval,
    "spatial-localization": _boxes,
    "vqa/vcr": _vcr,
}

if __name__ == "__main__":
    serve(score)
