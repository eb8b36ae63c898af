"""Cases put to a scorer, and what that says about it: each pitfall passed, had, or not supported.
Knows no command line and prints nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TypeAlias

from harness.errors import BadInput
from harness.types import Json

from .cases import FAMILIES, Case, Pitfall, Reply, Verdict, request_of, verdict_of

Answer: TypeAlias = Callable[[Json], Reply]

ADAPTERS = {  # shipped adapter -> the package on PyPI that it asks, as imported and as installed
    "pycocoevalcap": "pycocoevalcap",
    "torchmetrics": "torchmetrics",
    "sacrebleu": "sacrebleu",
}


@dataclass(frozen=True)
class Outcome:
    """A case with what the scorer made of it."""

    case: Case
    reply: Reply
    verdict: Verdict


@dataclass(frozen=True)
class Finding:
    """A pitfall with the outcomes of its cases. The scorer has it if one fails."""

    pitfall: Pitfall
    outcomes: Sequence[Outcome]

    @property
    def verdict(self) -> Verdict:
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return "fail" if "fail" in verdicts else "pass" if "pass" in verdicts else "unsupported"

    @property
    def lost(self) -> bool:
        """Whether it failed only for want of an answer: that says nothing of the pitfall."""
        failed = [one.reply.kind for one in self.outcomes if one.verdict == "fail"]
        return bool(failed) and set(failed) == {"lost"}

    def count(self, verdict: Verdict) -> int:
        return sum(outcome.verdict == verdict for outcome in self.outcomes)


def ask(answer: Answer, cases: Iterable[Case]) -> list[Outcome]:
    outcomes = []
    for case in cases:
        reply = answer(request_of(case))
        outcomes.append(Outcome(case, reply, verdict_of(case, reply)))
    return outcomes


def findings_of(outcomes: Sequence[Outcome]) -> list[Finding]:
    """The pitfalls, family by family, else in the order in which their first cases come."""
    by_pitfall: dict[Pitfall, list[Outcome]] = {}
    for outcome in outcomes:
        by_pitfall.setdefault(outcome.case.pitfall, []).append(outcome)
    order = list(FAMILIES)
    findings = [Finding(pitfall, found) for pitfall, found in by_pitfall.items()]
    return sorted(findings, key=lambda finding: order.index(finding.pitfall.family))


def adapter_command(name: str) -> list[str]:
    """How a shipped adapter is started, in a process of its own. BadInput without its package."""
    if find_spec(ADAPTERS[name]) is None:
        raise BadInput(
            f"--scorer {name}: the package {name} is not installed; `pip install {name}`, then "
            "call this again"
        )
    return [sys.executable, "-m", f"harness.conformance.adapters.{name}"]


def version_of(package: str) -> str:
    """ "pycocoevalcap 1.2"; the name alone where no version is known."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def as_json(scorer: str, seed: int, outcomes: Sequence[Outcome]) -> Json:
    """The result: counts of cases, then of pitfalls, each pitfall, each case."""
    findings = findings_of(outcomes)
    return {
        "scorer": scorer,
        "seed": seed,
        "cases": _counts(outcome.verdict for outcome in outcomes),
        "pitfalls": _counts(finding.verdict for finding in findings),
        "findings": [_finding_as_json(finding) for finding in findings],
    }


def _counts(verdicts: Iterable[Verdict]) -> Json:
    counted = Counter(verdicts)
    return {verdict: counted[verdict] for verdict in ("pass", "fail", "unsupported")}


def _finding_as_json(finding: Finding) -> Json:
    pitfall = finding.pitfall
    return {
        "family": pitfall.family,
        "pitfall": pitfall.key,
        "what": pitfall.what,
        "source": pitfall.source,
        "verdict": finding.verdict,
        "cases": [
            {
                "id": one.case.id,
                "task": one.case.task,
                "metric": one.case.metric,
                "verdict": one.verdict,
                "expected": one.case.expect,
                "got": one.reply.value if one.reply.kind == "number" else one.reply.kind,
                "said": one.reply.said,
                "why": one.case.why,
            }
            for one in finding.outcomes
        ],
    }
