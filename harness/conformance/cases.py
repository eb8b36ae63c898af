"""The cases: those written down in the json files of this folder, what a scorer is asked about one,
and whether an answer is the documented outcome. Knows no scorer and scores nothing itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeAlias

from harness.errors import BadInput
from harness.types import Json

FAMILIES = {  # family -> the task as `harness score --task` names it
    "captions": "captioning",
    "vqa": "vqa",
    "vcr": "vqa/vcr",
    "retrieval": "retrieval",
    "boxes": "spatial-localization",
    "moments": "temporal-localization",
    "didemo": "temporal-localization/didemo",
}
CLOSE = 1e-6  # an answer this near is the expected number
REFUSED, NOT_APPLICABLE = "error", "n/a"  # the outcomes that are no number

Kind: TypeAlias = Literal["number", "n/a", "refused", "unsupported", "broken", "lost"]
Verdict: TypeAlias = Literal["pass", "fail", "unsupported"]


@dataclass(frozen=True)
class Pitfall:
    """A mistake that scorers make, and where the right behaviour is written."""

    family: str
    key: str
    what: str
    source: str


@dataclass(frozen=True)
class Case:
    """One input, one metric and its outcome: a number (a fraction, not a percentage), "n/a", or
    "error" where the input must be refused. `official` is what the field's own tool gives, where
    that differs or decides; it is for people."""

    name: str
    pitfall: Pitfall
    metric: str
    input: Json
    expect: float | str
    why: str
    official: str = ""

    @property
    def family(self) -> str:
        return self.pitfall.family

    @property
    def task(self) -> str:
        return FAMILIES[self.family]

    @property
    def id(self) -> str:
        return f"{self.family}/{self.name}"


@dataclass(frozen=True)
class Reply:
    """What a scorer made of a case: a number, "n/a", a refusal, "unsupported", an answer that is
    none of these ("broken": NaN, say), or no answer at all ("lost"). `said` is its message, or what
    was wrong, in one line."""

    kind: Kind
    value: float = math.nan
    said: str = ""

    def __str__(self) -> str:
        if self.kind == "number":
            return f"{self.value:.6g}"
        return {"n/a": "n/a", "refused": f"refused ({self.said})"}.get(self.kind, self.said)


def written_cases(families: Sequence[str] = tuple(FAMILIES)) -> list[Case]:
    """The cases of the json files, family by family."""
    found = []
    for family in families:
        text = (files(__package__) / f"{family}.json").read_text(encoding="utf-8")
        content = json.loads(text)
        pitfalls = {
            key: Pitfall(family, key, **given) for key, given in content["pitfalls"].items()
        }
        found += [
            Case(**{**case, "pitfall": pitfalls[case["pitfall"]]}) for case in content["cases"]
        ]
    return found


def families_of(task: str) -> list[str]:
    """The families of a task: "vqa" has vqa and vcr, "vqa/vcr" that one alone; all for "".

    BadInput for a task that has none.
    """
    chosen = [f for f, name in FAMILIES.items() if task in ("", name, name.partition("/")[0])]
    if not chosen:
        known = ", ".join(FAMILIES.values())
        raise BadInput(f"--task {task}: no conformance cases; there are some for {known}")
    return chosen


def request_of(case: Case) -> Json:
    """What a scorer is asked, as one JSON object."""
    options = {"rules": {}, "allow_missing": False}
    return {"id": case.id, "task": case.task, "metric": case.metric, **options, **case.input}


def verdict_of(case: Case, reply: Reply) -> Verdict:
    if reply.kind == "unsupported":
        return "unsupported"
    if isinstance(case.expect, str):
        right = {REFUSED: "refused", NOT_APPLICABLE: "n/a"}[case.expect] == reply.kind
    else:
        right = reply.kind == "number" and abs(reply.value - case.expect) <= CLOSE
    return "pass" if right else "fail"


def expected_words(case: Case) -> str:
    """The documented outcome as a person reads it."""
    if isinstance(case.expect, str):
        return {REFUSED: "a refusal", NOT_APPLICABLE: "n/a"}[case.expect]
    return f"{case.expect:.6g}"


def read_reply(content: Mapping[str, object], metric: str) -> Reply:
    """A scorer's JSON object as a Reply; "broken" where it breaks the protocol."""
    if "unsupported" in content:
        return Reply("unsupported", said=_line(content["unsupported"]))
    if "error" in content:
        return Reply("refused", said=_line(content["error"]))
    scores = content.get("scores")
    if not isinstance(scores, dict):
        return Reply("broken", said='gave no "scores"')
    if metric not in scores:
        return Reply("broken", said=f"gave no score of {metric!r}")
    value = scores[metric]
    if value is None or value == NOT_APPLICABLE:
        return Reply("n/a")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Reply("broken", said=f"gave {_line(value)!r}, which is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return Reply("broken", said=f"gave {'NaN' if math.isnan(number) else 'an infinite score'}")
    return Reply("number", number)


def _line(value: object) -> str:
    """Any text as one short line."""
    words = " ".join(str(value).split())
    return words if len(words) <= 100 else words[:97] + "..."
