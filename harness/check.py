"""Runs against the reference that the repository keeps: which primary metric really dropped. What
`harness check` does; prints nothing and knows no task.

A reference is a folder tree of run.json, rows.parquet and samples.jsonl, the folders of runs as
`update` copies them, without this machine's paths.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .compare import Difference, Flipped, difference, flipped
from .errors import BAD_INPUT, CHECK_FAILED, GOOD, INCOMPLETE, NOT_COMPARABLE, BadInput
from .paired import ALPHA, holm
from .saved import SavedRun, find_runs, open_metrics, what_differs
from .store import write_json

Verdict: TypeAlias = Literal["passed", "dropped", "not comparable", "incomplete", "no reference"]

_EXIT: dict[Verdict, int] = {
    "passed": GOOD,
    "dropped": CHECK_FAILED,
    "no reference": BAD_INPUT,
    "not comparable": NOT_COMPARABLE,
    "incomplete": INCOMPLETE,
}


@dataclass(frozen=True)
class Checked:
    """A run and what became of its check. `p` is one-sided, that the run is worse; `p_holm` is
    corrected over all checks. `reasons`: why the verdict is not "passed", a line each."""

    run: SavedRun
    reference: SavedRun | None
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    difference: Difference | None = None
    p: float | None = None
    p_holm: float | None = None
    flipped: Flipped | None = None

    @property
    def name(self) -> str:
        return f"{self.run.task} {self.run.split} {self.run.model}"


@dataclass(frozen=True)
class Outcome:
    """All checks. `warnings`: runs that were left out and references that no run was held
    against."""

    checked: Sequence[Checked]
    unmatched: Sequence[SavedRun]  # references without a run
    warnings: tuple[str, ...]

    def exit_code(self, every_reference: bool) -> int:
        """1 for a real drop, else 2, 3 or 4 for a check that could not be made, else 0."""
        codes = {_EXIT[one.verdict] for one in self.checked}
        if every_reference and self.unmatched:
            codes.add(CHECK_FAILED)
        failures = (CHECK_FAILED, BAD_INPUT, NOT_COMPARABLE, INCOMPLETE)
        return next((code for code in failures if code in codes), GOOD)


def check(
    paths: Sequence[Path],
    against: Path,
    max_drop: float | None = None,
    seed: int = 0,
    new_reference: bool = False,
) -> Outcome:
    """Every run below `paths` against the reference of its task, data set and model.

    `max_drop`: a drop beyond it fails too, in points where the metric is a percentage. Raises
    BadInput where runs or references are absent or unreadable; with `new_reference` there may be
    none.
    """
    runs, warnings = _newest([run for path in paths for run in find_runs(path)])
    references = [] if new_reference and not _holds_runs(against) else _references(against)
    matched = [(run, _reference_of(run, references)) for run in runs]
    checked = [_check_one(run, reference, seed) for run, reference in matched]
    used = {id(reference) for _, reference in matched}
    unmatched = [reference for reference in references if id(reference) not in used]
    warnings += [f"no run for the reference {reference.path}" for reference in unmatched]
    return Outcome(_judged(checked, max_drop), unmatched, tuple(warnings))


def _newest(runs: Sequence[SavedRun]) -> tuple[list[SavedRun], list[str]]:
    """Of several runs of one model on the same samples the newest, with a line for those left
    out."""
    by_key: dict[tuple[str, ...], list[SavedRun]] = {}
    for run in {run.path.resolve(): run for run in runs}.values():
        key = (run.task, run.split, run.model, str(run.result["data"]["n"]))
        by_key.setdefault(key, []).append(run)
    kept, lines = [], []
    for same in by_key.values():
        ordered = sorted(same, key=lambda run: (str(run.result.get("started_at")), str(run.path)))
        kept.append(ordered[-1])
        lines += [f"{run.path}: left out, {ordered[-1].path} is newer" for run in ordered[:-1]]
    return kept, lines


def _holds_runs(folder: Path) -> bool:
    return folder.is_dir() and any(folder.rglob("run.json"))


def _references(folder: Path) -> list[SavedRun]:
    """BadInput for a baseline that is absent, empty, unreadable or incomplete."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such folder of references; make it with --update")
    if not _holds_runs(folder):
        raise BadInput(f"{folder}: holds no reference; make it with --update")
    references = find_runs(folder)
    for reference in references:
        if reference.incomplete is not None:
            raise BadInput(f"{reference.path}: is incomplete, so no reference; make it anew")
        _ = reference.table  # unreadable rows must not wait until a run asks for them
    return references


def _reference_of(run: SavedRun, references: Sequence[SavedRun]) -> SavedRun | None:
    """The reference of the same task, data set and model that fits best by split and number of
    samples. BadInput if two fit alike."""
    named = [r for r in references if (r.task, r.model) == (run.task, run.model)]
    of_split = [r for r in named if r.split == run.split]
    of_size = [r for r in of_split if r.result["data"]["n"] == run.result["data"]["n"]]
    best = of_size or of_split or named
    if len(best) > 1 and (of_size or of_split):
        raise BadInput(
            f"{best[0].path} and {best[1].path} are both references of {run.task} {run.split} "
            f"{run.model}; keep one"
        )
    return best[0] if best else None


def _check_one(run: SavedRun, reference: SavedRun | None, seed: int) -> Checked:
    """A missing, failed or invalid sample has the worst row, so that this is the worst case."""
    if reference is None:
        if run.incomplete is None:
            _ = run.table  # nothing unreadable becomes a reference
        line = f"there is no reference of {run.task} {run.model}; add it with --update"
        return Checked(run, None, "no reference", (line,))
    scored = "primary" in run.result and (run.path / "rows.parquet").is_file()
    if run.incomplete is not None and not scored:
        return Checked(run, reference, "incomplete", (run.incomplete,))
    differing = what_differs(reference, run)
    if differing:
        return Checked(run, reference, "not comparable", tuple(differing))
    metric = open_metrics(reference).metrics[0]
    if metric.name != reference.primary or run.primary != reference.primary:
        line = f"primary metric: {reference.primary} | {run.primary}"
        return Checked(run, reference, "not comparable", (line,))
    rows = reference.rows(metric.name), run.rows(metric.name)
    found = difference(metric, *rows, reference.groups, seed)
    if found.difference is None:
        line = f"{metric.name} applies to one of the two only, or to none"
        return Checked(run, reference, "not comparable", (line,))
    p = 1.0 if found.p_worse is None else found.p_worse  # of a single group nothing can be told
    verdict: Verdict = "passed" if run.incomplete is None else "incomplete"
    reasons = () if run.incomplete is None else (run.incomplete,)
    moved = flipped(metric, reference, run)
    return Checked(run, reference, verdict, reasons, found, p, None, moved)


def _judged(checked: Sequence[Checked], max_drop: float | None) -> list[Checked]:
    """With p corrected over all checks, and "dropped" where that is real or beyond the bound."""
    tested = [i for i, one in enumerate(checked) if one.p is not None]
    adjusted = dict(zip(tested, holm([checked[i].p or 0.0 for i in tested]), strict=True))
    return [_judge(one, adjusted.get(i), max_drop) for i, one in enumerate(checked)]


def is_drop(drop: float, p: float) -> bool:
    """Whether a drop is real: `p` is one-sided and corrected over all checks."""
    return drop > 0 and p < ALPHA


def _judge(one: Checked, p_holm: float | None, max_drop: float | None) -> Checked:
    if one.difference is None or p_holm is None:
        return one
    drop = -one.difference.better
    shown = 100 * drop if one.difference.percent else drop
    reasons = []
    if is_drop(drop, p_holm):
        reasons.append(f"{one.difference.metric} really dropped by {shown:.2f} (p = {p_holm:.4f})")
    if max_drop is not None and shown > max_drop + 1e-9:
        reasons.append(f"{one.difference.metric} dropped by {shown:.2f}, more than {max_drop:g}")
    failed = bool(reasons) and one.verdict == "passed"
    return replace(
        one,
        p_holm=p_holm,
        verdict="dropped" if failed else one.verdict,
        reasons=(*one.reasons, *reasons),
    )


# ---------------------------------------------------------------- making references

_KEPT = ("rows.parquet", "samples.jsonl")
_ABSOLUTE = re.compile(r"(?<![\w.~:/-])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])+")


def update(outcome: Outcome, against: Path) -> list[Path]:
    """Makes every run that is complete the reference of its task, data set, split and model, in
    place of the one there was; the folders written. Incomplete runs are left out."""
    written = []
    for one in outcome.checked:
        if one.run.incomplete is not None:
            continue
        run = one.run
        kept = run.result["data"]
        named = f"{run.result['task']}--{kept['dataset']}"
        folder = against / named / run.model / run.split
        if one.reference is not None and one.reference.split == run.split:
            folder = one.reference.path
        _write_reference(run, folder)
        written.append(folder)
    return written


def _write_reference(run: SavedRun, folder: Path) -> None:
    if run.path.resolve() == folder.resolve():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _KEPT:
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, folder / name)
        write_json(folder / "run.json", without_paths(run.result))
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror})") from None


def without_paths(value: Any) -> Any:
    """The same JSON with absolute paths cut down to their last names: a reference is read on other
    machines."""
    if isinstance(value, dict):
        return {name: without_paths(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_paths(one) for one in value]
    return _ABSOLUTE.sub("", value) if isinstance(value, str) else value


def flipped_lines(outcome: Outcome) -> list[dict[str, Any]]:
    """A line for each sample that moved, for --flipped."""
    return [
        {
            "task": one.run.task,
            "split": one.run.split,
            "model": one.run.model,
            "metric": one.flipped.metric,
            "id": moved.id,
            "group": moved.group,
            "before": moved.before,
            "after": moved.after,
            "change": way,
        }
        for one in outcome.checked
        if one.flipped is not None
        for way, some in (("better", one.flipped.better), ("worse", one.flipped.worse))
        for moved in some
    ]


def as_json(outcome: Outcome, code: int) -> dict[str, Any]:
    content = {
        "exit_code": code,
        "checks": [
            {
                "task": one.run.task,
                "split": one.run.split,
                "model": one.run.model,
                "run": str(one.run.path),
                "reference": one.reference and str(one.reference.path),
                "verdict": one.verdict,
                "reasons": list(one.reasons),
                "metric": one.difference and one.difference.metric,
                "before": one.difference and one.difference.first,
                "after": one.difference and one.difference.other,
                "difference": one.difference and one.difference.difference,
                "ci95": one.difference and one.difference.ci95 and list(one.difference.ci95),
                "p": one.p,
                "p_holm": one.p_holm,
                "better": one.flipped and len(one.flipped.better),
                "worse": one.flipped and len(one.flipped.worse),
            }
            for one in outcome.checked
        ],
        "warnings": list(outcome.warnings),
    }
    loaded: dict[str, Any] = json.loads(json.dumps(content))
    return loaded
