"""SPICE of captions by the authors' jar, for a user who has it together with Stanford CoreNLP 3.6.0
and a Java between 8 and 14. Knows no tokenizer and no task.

NOT tested against the real program, which needs 0.5 GB of models that are not part of any package:
only against a stand-in that reads its input and writes its output as the jar's source says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from .caption import Captions
from .java import JavaFailed, coco_folder, java_major_version, java_reason, run_java

if TYPE_CHECKING:
    from harness.types import FloatArray

__all__ = ["spice", "spice_aggregate", "spice_reason", "spice_rows"]

_JAR = "spice-1.0.jar"
_CORENLP = ("lib/stanford-corenlp-3.6.0.jar", "lib/stanford-corenlp-3.6.0-models.jar")
_LAST_JAVA = 14
_SECONDS, _SECONDS_PER_CAPTION = 3600.0, 0.5


def spice_reason() -> str:
    """An empty string if SPICE can be computed here, else why not: the folder that the environment
    variable HARNESS_SPICE names, or else pycocoevalcap's, must hold spice-1.0.jar and lib/ with the
    two jars of CoreNLP."""
    folder = _folder()
    if folder is None:
        return "no SPICE jars: pycocoevalcap is not installed, and HARNESS_SPICE names no folder"
    missing = [name for name in (_JAR, *_CORENLP) if not (folder / name).is_file()]
    if missing:
        return f"no SPICE jars: no {missing[0]} (HARNESS_SPICE can name their folder)"
    reason = java_reason()
    if reason:
        return reason
    version = java_major_version()
    if version is not None and version > _LAST_JAVA:
        return (
            f"no SPICE: its jar needs the JavaScript that Java had up to version {_LAST_JAVA}, "
            f"and the `java` on the PATH is {version}"
        )
    return ""


def spice(
    hypotheses: Sequence[str | None],
    references: Sequence[Sequence[str]],
    timeout: float | None = None,
) -> float:
    """Mean SPICE over samples, in [0, 1] (Anderson et al. 2016). Parameters and errors as
    `spice_rows`; ValueError without samples too."""
    rows = spice_rows(hypotheses, references, timeout)
    if not len(rows):
        raise ValueError("no captions to score")
    return float(spice_aggregate(rows.sum(axis=0)))


def spice_rows(
    hypotheses: Sequence[str | None],
    references: Sequence[Sequence[str]],
    timeout: float | None = None,
) -> FloatArray:
    """(samples, 2): the sample's F of semantic tuples in [0, 1], and 1. A missing or empty
    hypothesis has no tuple and scores 0; the jar does not see it.

    `timeout`: seconds for the whole run; None for 3,600 and .5 for each caption.

    Raises ValueError as `bleu` does. Raises JavaFailed if Java or a jar is missing, fails, takes
    too long or writes otherwise than it should.
    """
    Captions(hypotheses, references)  # the checks that all caption metrics share
    rows = np.zeros((len(hypotheses), 2))
    rows[:, 1] = 1
    asked = [number for number, text in enumerate(hypotheses) if text and text.strip()]
    if not asked:
        return rows
    folder, reason = _folder(), spice_reason()
    if reason or folder is None:
        raise JavaFailed(f"SPICE: {reason}")
    if timeout is None:
        captions = len(hypotheses) + sum(map(len, references))
        timeout = _SECONDS + _SECONDS_PER_CAPTION * captions
    items = [
        {"image_id": sample, "test": hypotheses[sample], "refs": list(references[sample])}
        for sample in asked
    ]
    scores = _scores(json.dumps(items), folder, timeout)
    for sample in asked:
        rows[sample, 0] = _score(scores, sample)
    return rows


def spice_aggregate(sums: FloatArray) -> FloatArray:
    """(..., 2) sums of rows -> (...) means; nan where nothing was drawn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _folder() -> Path | None:
    named = os.environ.get("HARNESS_SPICE")
    if named:
        return Path(named).absolute()
    package = coco_folder()
    return package / "spice" if package else None


def _scores(items: str, folder: Path, timeout: float) -> dict[object, object]:
    """What the jar writes, by image_id: the F of all tuples, or whatever stands in its place."""
    with TemporaryDirectory(prefix="harness-spice-") as name:
        work = Path(name)
        (work / "cache").mkdir()
        (work / "input.json").write_text(items, encoding="utf-8")
        arguments = ["-Xmx8G", "-jar", str(folder / _JAR), str(work / "input.json")]
        arguments += ["-cache", str(work / "cache"), "-out", str(work / "out.json")]
        run_java("SPICE", [*arguments, "-subset", "-silent"], folder=folder, timeout=timeout)
        try:
            text = (work / "out.json").read_text(encoding="utf-8")
            return {item["image_id"]: item["scores"]["All"]["f"] for item in json.loads(text)}
        except FileNotFoundError:
            raise JavaFailed("SPICE: the jar wrote no scores") from None
        except (ValueError, TypeError, KeyError) as error:
            raise JavaFailed(
                f"SPICE: the jar's scores cannot be read: {type(error).__name__}: {error}"
            ) from None


def _score(scores: dict[object, object], sample: int) -> float:
    score = scores.get(sample)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise JavaFailed(f"SPICE: sample {sample}: the jar's F is {score!r}, not in [0, 1]")
    return float(score)
