"""A run made again from its manifest, and whether its predictions are the same result. What
`harness reproduce` does; prints nothing and knows no task.

The same result: the same answers and captions; numbers within 1e-5 + 1e-6 |x|; ranks that differ
only among scores within that tolerance, which are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadInput, NotComparable
from .evaluate import evaluate
from .saved import SavedRun, need_complete, read_run, what_data_differs
from .setting import EvalRequest, Stage
from .store import Record, read_log
from .types import Json, OfficialWeights

ABSOLUTE, RELATIVE = 1e-5, 1e-6
_PATHS = ("data_dir", "weights", "output")
_ELSEWHERE = ("device", "dtype", "python", "platform")  # beside `decides`, `code` and `packages`


@dataclass(frozen=True)
class Reproduction:
    """A run and the same request run again. `differing`: ids of samples whose prediction is
    another. `by_ties`: samples whose ranks differ among scores within the tolerance alone, which
    count as the same. `changed`: fields of the manifest, a line each with both values."""

    run: SavedRun
    again: SavedRun
    differing: tuple[str, ...]
    by_ties: int
    changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.differing


def reproduce(
    path: Path,
    output: Path,
    data_dir: Path | None = None,
    weights: Path | None = None,
    device: str | None = None,
    stage: Stage | None = None,
) -> Reproduction:
    """Runs a finished run's request again into another folder and compares the predictions.

    `data_dir`, `weights` and `device` take the place of the manifest's, for another machine.
    NotComparable for a run that was no evaluation, or where the samples are others now; Incomplete
    for an unfinished run.
    """
    run = read_run(path)
    need_complete(run)
    log = run.path / "samples.jsonl"
    if not log.is_file():
        raise BadInput(f"{log}: there is no such file, so no predictions to compare with")
    replaced = {"data_dir": data_dir, "weights": weights, "device": device}
    request = request_of(run, output, {k: v for k, v in replaced.items() if v is not None})
    again = SavedRun(*_finished(request, stage))
    differing = what_data_differs(run, again)
    if differing:
        raise NotComparable(differing)
    found = _differing(read_log(log), read_log(again.path / "samples.jsonl"))
    ties = 0
    if found and _same_scores(run.path, again.path):
        found, ties = (), len(found)
    lines = list(changed(run.result, again.result))
    if found:
        lines += _uncommitted(run.result, again.result)
    return Reproduction(run, again, found, ties, tuple(lines))


def _finished(request: EvalRequest, stage: Stage | None) -> tuple[Path, Json]:
    finished = evaluate(request, stage)
    return finished.path, finished.result


def request_of(run: SavedRun, output: Path, replaced: Mapping[str, Any]) -> EvalRequest:
    """The request that a manifest records, without controls: they decide no prediction."""
    asked = run.request
    if "model" not in asked:
        raise NotComparable(
            [f"request: {run.path} scored predictions that were there; there is nothing to run"]
        )
    known = {field.name for field in fields(EvalRequest)}
    given = {name: value for name, value in asked.items() if name in known}
    for name in _PATHS:
        given[name] = Path(given[name]) if given.get(name) else None
    given["prior_from"] = tuple(Path(one) for one in given.get("prior_from") or ())
    given["official"] = _official(asked)
    return EvalRequest(**{**given, "output": output, "controls": "none", **replaced})


def _official(asked: Json) -> OfficialWeights | None:
    """What went with a released file, which the manifest has as official_config and so on."""
    marked = {
        name.removeprefix("official_"): value
        for name, value in asked.items()
        if name.startswith("official_")
    }
    if not marked:
        return None
    files: dict[str, Any] = {
        name: value if value is None or name == "config" else Path(value)
        for name, value in marked.items()
    }
    return OfficialWeights(**files)


# ---------------------------------------------------------------- the same result


def _differing(first: Mapping[str, Record], again: Mapping[str, Record]) -> tuple[str, ...]:
    lacking = set(first) ^ set(again)
    other = (
        id
        for id, record in first.items()
        if id in again and not same_result(record.prediction, again[id].prediction)
    )
    return tuple(sorted({*lacking, *other}))


def same_result(first: Any, again: Any) -> bool:
    """Whether two predictions, as JSON, are the same: texts, counts and shapes alike, numbers
    with a fraction within the tolerance."""
    if isinstance(first, dict) and isinstance(again, dict):
        return first.keys() == again.keys() and all(same_result(first[k], again[k]) for k in first)
    if isinstance(first, list) and isinstance(again, list):
        return len(first) == len(again) and all(map(same_result, first, again))
    if isinstance(first, float) or isinstance(again, float):
        if not all(type(one) in (int, float) for one in (first, again)):
            return False
        return bool(abs(first - again) <= ABSOLUTE + RELATIVE * abs(first))
    return type(first) is type(again) and bool(first == again)


def _same_scores(first: Path, again: Path) -> bool:
    """Whether both runs keep the scores that their ranks come from, and these agree within the
    tolerance: then ranks can differ only among scores that do."""
    if not all((folder / "scores.npy").is_file() for folder in (first, again)):
        return False
    a, b = (np.load(folder / "scores.npy", allow_pickle=False) for folder in (first, again))
    return a.shape == b.shape and bool(
        np.all(np.abs(a - b) <= ABSOLUTE + RELATIVE * np.abs(a))  # nan is never the same
    )


# ---------------------------------------------------------------- what changed


def changed(first: Json, again: Json) -> Iterator[str]:
    """Fields of two manifests that differ and may decide a prediction, a line each."""
    pairs = [
        *_fields("", first.get("decides"), again.get("decides")),
        *_fields("code ", first.get("code"), again.get("code")),
        *_fields("package ", first.get("packages"), again.get("packages")),
        *_fields("", *({name: run.get(name) for name in _ELSEWHERE} for run in (first, again))),
        *_fields("", *({"batch_size": _batch_size(run)} for run in (first, again))),
    ]
    seen = dict.fromkeys(pairs)
    yield from (f"{name}: {a} | {b}" for name, a, b in seen if a != b)


def _uncommitted(first: Json, again: Json) -> list[str]:
    """A line where code was changed and not committed: no field tells such changes apart."""
    dirty = [bool((run.get("code") or {}).get("dirty")) for run in (first, again)]
    where = {(True, True): "both runs", (True, False): "the first", (False, True): "the second"}
    found = where.get((dirty[0], dirty[1]))
    return [f"code: had uncommitted changes in {found}, which are not recorded"] if found else []


def _fields(prefix: str, first: Any, again: Any) -> list[tuple[str, str, str]]:
    a, b = ({} if one is None else dict(one) for one in (first, again))
    return [(f"{prefix}{name}", _shown(a.get(name)), _shown(b.get(name))) for name in {**a, **b}]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _batch_size(result: Json) -> Any:
    return (result.get("request") or {}).get("batch_size")


def as_json(found: Reproduction) -> Json:
    return {
        "same": found.same,
        "run": str(found.run.path),
        "again": str(found.again.path),
        "samples": found.run.result["data"]["n"],
        "differing": list(found.differing),
        "by_ties": found.by_ties,
        "changed": list(found.changed),
    }
