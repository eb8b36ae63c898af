"""What a score is measured against: the controls of a model, the floors and the ceilings of a data
set, on the very samples of the run. Knows no task.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import controls
from .errors import HarnessError
from .registry import can_do, find_model, model_specs
from .score import Scored, as_json, metric_of_counts, report, value_at_once
from .setting import Setting
from .specs import ModelSpec
from .stats import difference95_of
from .store import Run
from .types import Json, Metric, Sample, Visual

if TYPE_CHECKING:
    from .types import FloatArray


def run_controls(
    setting: Setting, run: Run, spec: ModelSpec, model: Any, scored: Scored
) -> dict[str, Json]:
    """The model without the right pictures, on a share of the samples, paired with the model
    itself on that share. A control that cannot be had says why."""
    request = setting.request
    if request.controls == "none" or spec.kind != "model":
        return {}
    everything = request.controls == "full" or setting.task_spec.whole_set
    most = len(setting.samples) if everything else controls.SHARE
    part = controls.share(setting.samples, most, request.seed)
    folder = run.path / "controls"
    found: dict[str, Json] = {}
    if len({sample.group for sample in part}) > 1:
        dealt = controls.shuffled(part, request.seed)
        found["shuffled"] = _control(setting, folder, "shuffled", model, dealt, scored)
    else:
        found["shuffled"] = {"reason": "needs two pictures or more"}
    try:
        mean = _mean_visual(setting)
    except HarnessError as error:
        found["blind"] = {"reason": str(error)}
    else:
        unseen = controls.blind(part, mean)
        found["blind"] = _control(setting, folder, "blind", model, unseen, scored)
        found["blind"]["mean_picture"] = mean.id
    if spec.blind and request.weights is None:
        try:
            blind_model = setting.load(find_model(spec.blind))
            found[spec.blind] = _control(setting, folder, spec.blind, blind_model, part, scored)
        except HarnessError as error:
            found[spec.blind] = {"reason": str(error)}
    return found


def _mean_visual(setting: Setting) -> Visual:
    """Of the train part's pictures, or where that part is absent of the evaluated ones; its id says
    which. BadInput where neither can be read."""
    try:
        train = setting.open(setting.data_spec.train_split)
        mean = controls.mean_visual(train.samples, f"{train.name}/{train.split}")
        controls.read(mean)
    except HarnessError:
        mean = controls.mean_visual(setting.samples, f"{setting.dataset.name}/evaluated")
        controls.read(mean)
    return mean


def _control(
    setting: Setting,
    folder: Path,
    name: str,
    model: Any,
    samples: Sequence[Sample],
    scored: Scored,
) -> Json:
    """A control's metrics and the gain of the model over it; a reason where samples failed, which
    would pass for a low score."""
    # another share of the samples, or other blind weights, have a log of their own
    mark = (model.description.weights_sha256 or "")[:8] if name not in ("shuffled", "blind") else ""
    log = folder / f"{name}-{len(samples)}{mark and '-'}{mark}.jsonl"
    known = folder.parent if name == "shuffled" else None
    records = setting.predict(model, samples, log, f"control {name}", known)
    control = setting.score(samples, records)
    if control.coverage.unscored:
        return {"reason": f"{control.coverage.unscored} of its {len(samples)} samples failed"}
    place = {sample.id: index for index, sample in enumerate(scored.samples)}
    same = [place[sample.id] for sample in samples]
    found: Json = {}
    for metric in control.metrics:
        own, theirs = scored.rows[metric.name][same], control.rows[metric.name]
        found[metric.name] = {
            **as_json(control.values[metric.name]),
            "gain": _gain(metric, own, theirs, control.groups, setting.request.seed),
        }
    return found


def _gain(
    metric: Metric, own: FloatArray, theirs: FloatArray, groups: Sequence[str], seed: int
) -> Json:
    """How much better the model is than a control or a floor, on the same samples."""
    sign = 1 if metric.higher_is_better else -1
    difference = sign * (value_at_once(metric, own) - value_at_once(metric, theirs))
    if math.isnan(difference):
        return {"value": None, "ci95": None}
    counted, number = metric_of_counts(metric, own, groups)
    others, _ = metric_of_counts(metric, theirs, groups)
    ci95 = difference95_of(counted, others, number, seed)
    if ci95 is not None and sign < 0:
        ci95 = -ci95[1], -ci95[0]
    return {"value": difference, "ci95": ci95 and list(ci95)}


def floors_and_ceilings(setting: Setting, scored: Scored) -> Json:
    """Every floor and ceiling that can do the task, on the same samples, and the gain of the model,
    whose scores are given, over each floor by the primary metric."""
    found: dict[str, dict[str, Json]] = {"floors": {}, "ceilings": {}}
    name = f"{setting.task_spec.name}/{setting.data_spec.name}"
    for spec in model_specs().values():
        fits = spec.datasets is None or name in spec.datasets
        if spec.kind == "model" or not can_do(spec, setting.task_spec) or not fits:
            continue
        kind = found["floors" if spec.kind == "floor" else "ceilings"]
        try:
            options, yardstick = _score_floor(setting, spec)
        except HarnessError as error:
            kind[spec.name] = {"reason": str(error)}
            continue
        entry = {metric: as_json(value) for metric, value in yardstick.values.items()}
        primary = yardstick.metrics[0]
        if spec.kind == "floor" and primary.name in scored.rows:
            own, theirs = scored.rows[primary.name], yardstick.rows[primary.name]
            gain = _gain(primary, own, theirs, yardstick.groups, setting.request.seed)
            entry[primary.name] = {**entry[primary.name], "gain": gain}
        kind[spec.name] = {
            **entry,
            "options": options,
            "breakdowns": report(setting.task_spec, setting.dataset, yardstick, "")["breakdowns"],
        }
    return dict(found)


def _score_floor(setting: Setting, spec: ModelSpec) -> tuple[Json, Scored]:
    """What it was fitted on, and its scores."""
    model = setting.load(spec)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "samples.jsonl"
        records = setting.predict(model, setting.samples, log, spec.name)
        return dict(model.description.options), setting.score(setting.samples, records)
