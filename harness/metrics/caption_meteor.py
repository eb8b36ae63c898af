"""Corpus METEOR 1.5 of captions, English, from pycocoevalcap's jar: the jar aligns each hypothesis
with its references and prints 23 counts; the score is made of their sums here, so that it can be
resampled. Needs Java, 2 GB of memory and some six seconds to start. Knows no tokenizer and no task.

Captions are tokenised strings, as in `caption`. Equals pycocoevalcap 1.2's `Meteor` but where that
fails:
- "|||" is removed from references as from hypotheses (there a reference becomes two);
- line breaks are spaces (there the answers shift by one);
- any locale will do, an error or a time limit ends the run and says so (there it hangs).
The jar's time and memory grow fast when a hypothesis and a reference both repeat a word hundreds of
times: 3,000 times in both does not fit into 2 GB. Nothing is shortened: such a sample ends the run
with an error that names it. 3,000 repeated words against an ordinary reference take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .caption import Captions
from .java import JavaFailed, coco_folder, jar_reason, run_java

if TYPE_CHECKING:
    from harness.types import FloatArray

__all__ = ["meteor", "meteor_aggregate", "meteor_reason", "meteor_rows"]

_JAR = "meteor/meteor-1.5.jar"
_PARAPHRASES = "meteor/data/paraphrase-en.gz"
_ARGUMENTS = ("-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm")
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_FIELDS = 23
_SECONDS, _SECONDS_PER_CAPTION = 600.0, 0.02  # some 100 times what it takes

# METEOR 1.5 for English (Denkowski and Lavie 2014). Stages: exact, stem, synonym, paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])


def meteor_reason() -> str:
    """An empty string if METEOR can be computed here, else why not."""
    return jar_reason(_JAR, _PARAPHRASES)


def meteor(
    hypotheses: Sequence[str | None],
    references: Sequence[Sequence[str]],
    timeout: float | None = None,
) -> float:
    """Corpus METEOR in [0, 1], not the mean over samples. Parameters and errors as `meteor_rows`;
    ValueError without samples too."""
    rows = meteor_rows(hypotheses, references, timeout)
    if not len(rows):
        raise ValueError("no captions to score")
    return float(meteor_aggregate(rows.sum(axis=0)))


def meteor_rows(
    hypotheses: Sequence[str | None],
    references: Sequence[Sequence[str]],
    timeout: float | None = None,
) -> FloatArray:
    """(samples, 23) counts against the reference that scores best, the first of equal ones:

    0-3: words of the hypothesis, of the reference; function words of either. 4-19: for each stage
    (exact, stem, synonym, paraphrase) the content words of the hypothesis and of the reference that
    it matched, then the function words. 20: chunks, but 0 for a perfect match, as the jar sums
    them. 21, 22: matched words of either. All whole numbers. A missing or empty hypothesis leaves
    only the length of its first reference, so it costs recall.

    `timeout`: seconds for the whole run; None for 600 and .02 for each caption.

    Raises ValueError as `bleu` does. Raises JavaFailed if Java or the jar is missing, fails, takes
    too long or answers otherwise than it should; where one sample is to blame it is named.
    """
    Captions(hypotheses, references)  # the checks that all caption metrics share
    if not hypotheses:
        return np.zeros((0, _FIELDS))
    reason = meteor_reason()
    folder = coco_folder()
    if reason or folder is None:
        raise JavaFailed(f"METEOR: {reason}")
    if timeout is None:
        captions = len(hypotheses) + sum(map(len, references))
        timeout = _SECONDS + _SECONDS_PER_CAPTION * captions
    requests = list(map(_request, hypotheses, references))
    try:
        answers = run_java(
            "METEOR",
            _ARGUMENTS,
            "\n".join(requests) + "\n",
            folder=(folder / _JAR).parent,
            timeout=timeout,
        )
    except JavaFailed as error:
        raise JavaFailed(str(error) + _culprit(error.output, hypotheses)) from None
    rows = _parsed(answers.splitlines(), len(requests))
    perfect = (rows[:, 20] == 1) & (rows[:, 21] == rows[:, 0]) & (rows[:, 22] == rows[:, 1])
    rows[perfect, 20] = 0
    return rows


def meteor_aggregate(sums: FloatArray) -> FloatArray:
    """(..., 23) sums of rows, with any weights -> (...) METEOR in [0, 1]; of a row alone it is the
    sample's METEOR as the jar gives it. 0 without a match, and where nothing was drawn.

    With matches weighted by stage, and content words by .75 against .25 of function words: the
    harmonic mean of precision (.15) and recall (.85), less up to .6 of it for matches that are
    scattered over many chunks.
    """
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], len(_STAGES), 4)
    matched = np.einsum("...sk,s->...k", stages, _STAGES)
    precision = _ratio(
        _DELTA * matched[..., 0] + (1 - _DELTA) * matched[..., 2],
        _DELTA * (sums[..., 0] - sums[..., 2]) + (1 - _DELTA) * sums[..., 2],
    )
    recall = _ratio(
        _DELTA * matched[..., 1] + (1 - _DELTA) * matched[..., 3],
        _DELTA * (sums[..., 1] - sums[..., 3]) + (1 - _DELTA) * sums[..., 3],
    )
    mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragmentation = _ratio(sums[..., 20], (sums[..., 21] + sums[..., 22]) / 2)
    return np.asarray(mean * (1 - _GAMMA * fragmentation**_BETA))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """0 where the denominator is."""
    return np.divide(
        numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator > 0
    )


def _request(hypothesis: str | None, references: Sequence[str]) -> str:
    captions = [*references, hypothesis or ""]
    return " ||| ".join(["SCORE", *map(_one_line, captions)])


def _one_line(caption: str) -> str:
    return _LINE_BREAKS.sub(" ", caption).replace("|||", "").replace("  ", " ")


def _parsed(lines: Sequence[str], samples: int) -> FloatArray:
    for number, line in enumerate(lines):
        try:
            fields = len([float(field) for field in line.split()])
        except ValueError:
            fields = 0
        if fields != _FIELDS:
            raise JavaFailed(
                f"METEOR: sample {number}: the jar answered {line[:60]!r} instead of "
                f"{_FIELDS} numbers"
            )
    if len(lines) != samples:
        raise JavaFailed(f"METEOR: the jar gave {len(lines)} answers for {samples} samples")
    return np.array([line.split() for line in lines], dtype=np.float64)


def _culprit(answers: str, hypotheses: Sequence[str | None]) -> str:
    """Names the sample that the jar was at, if it had answered others or there is but one."""
    number = answers.count("\n")
    if number >= len(hypotheses) or (not number and len(hypotheses) > 1):
        return ""
    words = len((hypotheses[number] or "").split())
    return f" (at sample {number}, counted from 0, whose hypothesis has {words} words)"
