"""Times the caption metrics against pycocoevalcap: tokens, BLEU, ROUGE-L and CIDEr of 5,000
pictures with five references each, in turns within one process, after a small run of each to warm
up; and compares the scores on the same tokens.

    python scripts/bench_metrics.py [--repeats 5] [--least 10]

Then the 95% intervals of all six, 1,000 resamples each, against pycocoevalcap computing the metrics
once from tokens. Captions are those of COCO val2017 if HARNESS_DATA names a folder with
coco-val2017/, else made up. Ends with 1 if the total is not LEAST times as fast or the intervals
take longer than the metrics do there, 0 otherwise, also where there is no Java.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.metrics import ptb_tokenizer
from harness.metrics.caption import (
    Captions,
    bleu_aggregate,
    bleu_rows,
    cider_aggregate,
    cider_rows,
    rouge_l_aggregate,
    rouge_l_rows,
)
from harness.metrics.java_tokenizer import java_tokenizer_reason, tokenize_all_with_java
from harness.score import Value, value_of
from harness.types import Metric, Sample

if TYPE_CHECKING:
    from harness.types import FloatArray

PICTURES, REFERENCES = 5_000, 5
WARM_UP = 200  # pictures
STAGES = ("tokens", "BLEU", "ROUGE-L", "CIDEr")
INTERVALS = "intervals"

Texts = tuple[list[str], list[list[str]]]  # hypotheses, and the references of each
Seconds = dict[str, float]
Scores = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of each side (5)")
    parser.add_argument("--least", type=float, default=10.0, help="the ratio to reach (10)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    texts, source = captions()
    print(f"{len(texts[0])} hypotheses, {sum(map(len, texts[1]))} references: {source}")
    absent = java_tokenizer_reason()
    sides = [harness_run] if absent else [harness_run, official_run]
    timings: list[list[Seconds]] = [[] for _ in sides]
    for repeat in range(-1, options.repeats):
        order = range(len(sides)) if repeat % 2 == 0 else reversed(range(len(sides)))
        for side in order:
            if repeat < 0:
                sides[side]((texts[0][:WARM_UP], texts[1][:WARM_UP]))
            else:
                timings[side].append(sides[side](texts))
    if absent:
        print_table(timings[0], [])
        print(f"not compared: {absent}")
        return 0
    ratios = print_table(*timings)
    of_intervals = print_intervals(*timings)
    print_agreement(texts)
    failed = []
    if median(ratios) < options.least:
        failed.append(
            f"{median(ratios):.1f} times as fast; at least {options.least:g} was asked for"
        )
    if median(of_intervals) < 1:
        failed.append("intervals take longer than pycocoevalcap's metrics")
    for line in failed:
        print(f"FAILED: {line}")
    return 1 if failed else 0


# ---------------------------------------------------------------- captions


def captions() -> tuple[Texts, str]:
    """The captions, and where they are from."""
    folder = os.environ.get("HARNESS_DATA")
    path = Path(folder) / "coco-val2017" / "captions_val2017.json" if folder else None
    if path is None or not path.is_file():
        return made_up_captions(), "made up (HARNESS_DATA has no coco-val2017)"
    by_picture: dict[int, list[str]] = {}
    for record in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
        by_picture.setdefault(record["image_id"], []).append(record["caption"])
    references = [texts[:REFERENCES] for texts in by_picture.values()][:PICTURES]
    return (spliced(references), references), "COCO val2017; hypotheses spliced of two captions"


def spliced(references: Sequence[Sequence[str]]) -> list[str]:
    """The first half of a caption of the picture and the second half of one of any picture, so that
    hypotheses score neither 0 nor 1."""
    rng = random.Random(0)
    hypotheses = []
    for texts in references:
        first, second = rng.choice(texts).split(), rng.choice(rng.choice(references)).split()
        hypotheses.append(" ".join(first[: len(first) // 2] + second[len(second) // 2 :]))
    return hypotheses


def made_up_captions() -> Texts:
    """Sequences of 3,000 pseudo-words, as frequent as Zipf's law has it, 8 to 14 to a caption, with
    some capitals and punctuation. The references of a picture share words."""
    rng = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(rng.choices(syllables, k=1 + rank % 3)) for rank in range(3_000)]
    words = [word + rng.choice(["", "", "", "'s", "-x"]) for word in words]
    weights = [1 / (rank + 1) for rank in range(len(words))]

    def caption(topic: Sequence[str]) -> str:
        length = rng.randint(8, 14)
        chosen = rng.choices(words, weights, k=length - 4) + rng.choices(topic, k=4)
        rng.shuffle(chosen)
        if rng.random() < 0.1:
            chosen[length // 2] += ","
        return " ".join(chosen).capitalize() + rng.choice([".", ".", ".", "", " .", "!"])

    hypotheses, references = [], []
    for _ in range(PICTURES):
        topic = rng.choices(words, weights, k=6)
        references.append([caption(topic) for _ in range(REFERENCES)])
        hypotheses.append(caption(topic))
    return hypotheses, references


# ---------------------------------------------------------------- the two sides


def timed(seconds: Seconds, stage: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
    return result


def harness_run(texts: Texts) -> Seconds:
    ptb_tokenizer._short_chunk.cache_clear()  # else repetitions would find their words there
    seconds: Seconds = {}
    tokens = timed(seconds, "tokens", lambda: tokens_of(texts, ptb_tokenizer.tokenize_all))
    rows = harness_rows(tokens, seconds)
    stats._kept_counts.cache_clear()  # else repetitions would find their resamples there
    timed(seconds, INTERVALS, lambda: intervals(rows))
    return seconds


def harness_rows(tokens: Texts, seconds: Seconds) -> dict[str, FloatArray]:
    """The n-grams are made for BLEU, whose time counts them, and used again by CIDEr."""
    shared = timed(seconds, "BLEU", lambda: Captions(*tokens))
    return {
        "BLEU": timed(seconds, "BLEU", lambda: bleu_rows(shared)),
        "ROUGE-L": timed(seconds, "ROUGE-L", lambda: rouge_l_rows(shared)),
        "CIDEr": timed(seconds, "CIDEr", lambda: cider_rows(shared)),
    }


AGGREGATES: dict[str, Callable[[FloatArray], FloatArray]] = {
    **{f"BLEU-{k}": partial(bleu_aggregate, order=k) for k in (1, 2, 3, 4)},
    "ROUGE-L": rouge_l_aggregate,
    "CIDEr": cider_aggregate,
}


def harness_scores(rows: dict[str, FloatArray]) -> Scores:
    return {
        name: float(aggregate(rows["BLEU" if name.startswith("BLEU") else name].sum(axis=0)))
        for name, aggregate in AGGREGATES.items()
    }


def _never(*given: object) -> Any:
    raise AssertionError("rows are there")


def intervals(rows: dict[str, FloatArray]) -> dict[str, Value]:
    """Of each metric, as `harness eval` has them, every picture a group."""
    samples = [Sample(str(n), None, None, f"{n:05}") for n in range(len(rows["CIDEr"]))]
    found = {}
    for name, aggregate in AGGREGATES.items():
        own = rows["BLEU" if name.startswith("BLEU") else name]
        high = 10.0 if name == "CIDEr" else 1.0
        metric = Metric(name, "", _never, aggregate, high=high)
        found[name] = value_of(metric, own, samples, seed=0)
    return found


def official_run(texts: Texts) -> Seconds:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    hypotheses = {n: [{"caption": text}] for n, text in enumerate(texts[0])}
    references = {n: [{"caption": text} for text in row] for n, row in enumerate(texts[1])}
    seconds: Seconds = {}
    tokenizer = PTBTokenizer()
    with silent_children():
        results = timed(seconds, "tokens", lambda: tokenizer.tokenize(hypotheses))
        truths = timed(seconds, "tokens", lambda: tokenizer.tokenize(references))
    official_scores(results, truths, seconds)
    return seconds


@contextlib.contextmanager
def silent_children() -> Iterator[None]:
    """Java's chatter on the error stream, which pycocoevalcap lets through, goes nowhere."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def official_scores(
    results: dict[int, list[str]], truths: dict[int, list[str]], seconds: Seconds
) -> Scores:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    scores: Scores = {}
    with contextlib.redirect_stdout(io.StringIO()):
        values = timed(seconds, "BLEU", lambda: Bleu(4).compute_score(truths, results)[0])
        scores |= {f"BLEU-{k}": float(value) for k, value in enumerate(values, 1)}
        scores["ROUGE-L"] = timed(
            seconds, "ROUGE-L", lambda: float(Rouge().compute_score(truths, results)[0])
        )
        scores["CIDEr"] = timed(
            seconds, "CIDEr", lambda: float(Cider().compute_score(truths, results)[0])
        )
    return scores


def tokens_of(texts: Texts, tokenize: Callable[[list[str]], list[str]]) -> Texts:
    """Hypotheses and references tokenised, each in one go, as pycocoevalcap has it."""
    hypotheses, references = texts
    flat = iter(tokenize([text for row in references for text in row]))
    return tokenize(hypotheses), [[next(flat) for _ in row] for row in references]


# ---------------------------------------------------------------- what is printed


def print_table(ours: Sequence[Seconds], theirs: Sequence[Seconds]) -> list[float]:
    """Medians of each stage in seconds and, over the repetitions, the ratio of the two sides.
    Returns the ratios of the totals."""
    print(f"\n{'seconds':10}{'harness':>10}", end="")
    print(f"{'pycocoevalcap':>16}   ratio (least-most)" if theirs else "")
    ratios: list[float] = []
    for stage in (*STAGES, "total"):
        left = [total(run) if stage == "total" else run[stage] for run in ours]
        right = [total(run) if stage == "total" else run[stage] for run in theirs]
        ratios = [b / a for a, b in zip(left, right, strict=False)]
        line = f"{stage:10}{median(left):10.3f}"
        if ratios:
            line += f"{median(right):16.3f}   {median(ratios):.1f}"
            line += f" ({min(ratios):.1f}-{max(ratios):.1f})"
        print(line)
    return ratios


def total(run: Seconds) -> float:
    return sum(run[stage] for stage in STAGES)


def print_intervals(ours: Sequence[Seconds], theirs: Sequence[Seconds]) -> list[float]:
    """Returns how many times as fast intervals are here as metrics are there, from tokens both."""
    left = [run[INTERVALS] for run in ours]
    right = [sum(run[stage] for stage in STAGES if stage != "tokens") for run in theirs]
    ratios = [b / a for a, b in zip(left, right, strict=True)]
    print(
        f"\n95% intervals of BLEU-1..4, ROUGE-L and CIDEr: {median(left):.3f} s; the metrics once "
        f"by pycocoevalcap, without tokenising: {median(right):.3f} s; "
        f"ratio {median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
    )
    return ratios


def print_agreement(texts: Texts) -> None:
    """On the Java tokenizer's tokens: the largest difference of a score. And how many captions get
    other tokens here."""
    tokens = tokens_of(texts, tokenize_all_with_java)
    ours = harness_scores(harness_rows(tokens, {}))
    theirs = official_scores(
        {n: [text] for n, text in enumerate(tokens[0])}, dict(enumerate(tokens[1])), {}
    )
    name = max(ours, key=lambda name: abs(ours[name] - theirs[name]))
    largest = abs(ours[name] - theirs[name])
    print("\nscores: " + ", ".join(f"{name} {value:.4f}" for name, value in ours.items()))
    print(f"largest difference on the same tokens: {largest:.1e}" + f" ({name})" * (largest > 0))
    here, there = flat(tokens_of(texts, ptb_tokenizer.tokenize_all)), flat(tokens)
    other = sum(a != b for a, b in zip(here, there, strict=True))
    print(f"captions with other tokens here: {other} of {len(here)}")


def flat(texts: Texts) -> list[str]:
    return texts[0] + [text for row in texts[1] for text in row]


if __name__ == "__main__":
    sys.exit(main())
