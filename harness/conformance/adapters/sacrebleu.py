"""sacrebleu's corpus BLEU, in lower case and else as it is by default (tokeniser 13a, exponential
smoothing), given as a fraction in place of its percentage."""

from __future__ import annotations

from importlib import import_module

from harness.types import Json

from .serve import Unsupported, paired_captions, serve


def score(request: Json) -> float:
    if request["task"] != "captioning":
        raise Unsupported("sacrebleu scores texts only")
    if not request["metric"].startswith("BLEU-"):
        raise Unsupported(f"sacrebleu has no {request['metric']}")
    captions, references = paired_captions(request, "sacrebleu")
    most = max(map(len, references))
    # A stream holds one reference of each caption, None where a caption has fewer.
    streams = [
        [several[place] if place < len(several) else None for several in references]
        for place in range(most)
    ]
    metric = import_module("sacrebleu.metrics").BLEU(
        lowercase=True, max_ngram_order=int(request["metric"][-1])
    )
    return float(metric.corpus_score(captions, streams).score) / 100


if __name__ == "__main__":
    serve(score)
