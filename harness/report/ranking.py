"""Which runs can be ranked together, and how: a model's rank is 1 + the number of models that are
significantly better, by the paired permutation test of harness.compare on the primary metric with
Holm's correction over all pairs of the table. Knows no page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.compare import Difference, difference
from harness.errors import HarnessError
from harness.paired import SWAPS, holm
from harness.saved import Opened, open_metrics, signature_fields, what_data_differs

from .collect import Collected

ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """Two ranked runs, the one with the better score as `other`; the difference is `other` minus
    `first`, p corrected over the table."""

    first: Collected
    other: Collected
    difference: Difference

    @property
    def better(self) -> Collected | None:
        """The run that is significantly better, if one is."""
        p, better = self.difference.p_holm, self.difference.better
        if p is None or p >= ALPHA or better == 0:
            return None
        return self.other if better > 0 else self.first


@dataclass(frozen=True)
class Place:
    """A ranked run, with the runs that are significantly better."""

    run: Collected
    rank: int
    better: Sequence[Collected]


@dataclass(frozen=True)
class Ranking:
    """`places` best first; `left_out`: runs that cannot be ranked, each with the reason."""

    places: Sequence[Place]
    pairs: Sequence[Pair]
    left_out: Sequence[tuple[Collected, str]]
    opened: Opened | None  # of the first run that can be ranked
    notes: Sequence[str] = ()


def divide(runs: Sequence[Collected]) -> list[list[Collected]]:
    """Complete runs into groups that can be ranked together: of one task, data set, split,
    checksum, number of samples and signature of the primary metric. Largest groups first."""
    groups: dict[tuple[str, ...], list[Collected]] = {}
    for one in runs:
        groups.setdefault(_shared(one), []).append(one)
    return sorted(groups.values(), key=lambda group: (-len(group), -_samples(group[0])))


def how_they_differ(group: Sequence[Collected], first: Sequence[Collected]) -> list[str]:
    """In what a group cannot be compared with the first, "what: first's | its own"."""
    a, b = first[0].run, group[0].run
    lines = []
    for name in ("split", "sha256", "n"):
        values = [str(run.result["data"][name])[:12] for run in (a, b)]
        if values[0] != values[1]:
            what = {"sha256": "data checksum", "n": "samples"}.get(name, name)
            lines.append(f"{what}: {values[0]} | {values[1]}")
    ours, theirs = signature_fields(a, a.primary), signature_fields(b, b.primary)
    for name in dict.fromkeys((*ours, *theirs)):
        if name not in ("split", "sha256", "n") and ours.get(name) != theirs.get(name):
            lines.append(f"{name}: {ours.get(name, 'none')} | {theirs.get(name, 'none')}")
    return lines


def rank(runs: Sequence[Collected], seed: int = 0) -> Ranking:
    """The ranks of the models of one group. Floors and ceilings have none; of several runs of one
    model (the same weights and options) the newest counts."""
    newest, left_out = _newest([one for one in runs if one.kind == "model"])
    usable: list[Collected] = []
    for one in newest:
        why = _unusable(one, usable)
        if why is None:
            usable.append(one)
        else:
            left_out.append((one, why))
    if not usable:
        return Ranking((), (), left_out, None)
    try:
        opened = open_metrics(usable[0].run)
    except HarnessError as error:  # the task is not installed, or makes its metric otherwise now
        why = f"cannot be ranked: {error}"
        return Ranking((), (), [*left_out, *((one, why) for one in usable)], None)
    pairs = _pairs(usable, opened, seed)
    places = [_place(one, pairs) for one in usable]
    places.sort(key=lambda place: (place.rank, -_goodness(place.run), place.run.run.model))
    return Ranking(places, pairs, left_out, opened, _notes(pairs))


def _shared(one: Collected) -> tuple[str, ...]:
    run = one.run
    data = run.result["data"]
    signature = str(run.result["metrics"][run.primary]["signature"])
    return (run.task, run.split, str(data["sha256"]), str(data["n"]), signature)


def _samples(one: Collected) -> int:
    return int(one.run.result["data"]["n"])


def _newest(runs: Sequence[Collected]) -> tuple[list[Collected], list[tuple[Collected, str]]]:
    same: dict[str, list[Collected]] = {}
    for one in runs:
        model = one.run.result["model"]
        key = f"{model['name']} {model.get('weights_sha256')} {model.get('options')}"
        same.setdefault(key, []).append(one)
    kept, older = [], []
    for members in same.values():
        members.sort(key=lambda one: (str(one.run.result.get("started_at")), str(one.run.path)))
        kept.append(members[-1])
        newer = members[-1].run.path
        older += [(one, f"an earlier run of this model; {newer} is newer") for one in members[:-1]]
    return kept, older


def _unusable(one: Collected, usable: Sequence[Collected]) -> str | None:
    """Why a run cannot be set against the others, from its value and its rows."""
    entry = one.run.result["metrics"][one.run.primary]
    if entry["value"] is None:
        return f"{one.run.primary} does not apply: {entry.get('reason', 'no value')}"
    try:
        one.run.rows(one.run.primary)
        differs = what_data_differs(usable[0].run, one.run) if usable else []
    except HarnessError as error:
        return f"cannot be ranked: {error}"
    return f"not comparable: {'; '.join(differs)}" if differs else None


def _pairs(runs: Sequence[Collected], opened: Opened, seed: int) -> list[Pair]:
    if len(runs) < 2:
        return []
    metric = opened.metrics[0]
    found = []
    for first, other in itertools.combinations(sorted(runs, key=_goodness), 2):
        a, b = (one.run.rows(metric.name) for one in (first, other))
        found.append(Pair(first, other, difference(metric, a, b, first.run.groups, seed)))
    tested = [place for place, pair in enumerate(found) if pair.difference.p is not None]
    adjusted = holm([found[place].difference.p or 0.0 for place in tested])
    for place, p_holm in zip(tested, adjusted, strict=True):
        pair = found[place]
        found[place] = replace(pair, difference=replace(pair.difference, p_holm=p_holm))
    return found


def _place(one: Collected, pairs: Sequence[Pair]) -> Place:
    better = [
        pair.better
        for pair in pairs
        if (one is pair.first or one is pair.other) and pair.better not in (None, one)
    ]
    found = [run for run in better if run is not None]
    return Place(one, 1 + len(found), found)


def _goodness(one: Collected) -> float:
    entry = one.run.result["metrics"][one.run.primary]
    sign = 1 if entry.get("higher_is_better", True) else -1
    return sign * float(entry["value"])


def _notes(pairs: Sequence[Pair]) -> list[str]:
    if len(pairs) < ALPHA * SWAPS:
        return []
    return [
        f"{len(pairs)} pairs are too many for Holm's correction over {SWAPS:,} swaps to tell any "
        "two apart; give fewer models"
    ]
