"""What a model lets be seen of how it came to its predictions, kept in a run's artifacts/ for the
first samples: where a captioner looked before each word, which regions the words of a text attended
to. Knows no task and no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .setting import Setting
from .store import Record
from .types import Json, Sample

SAMPLES = 200
ATTENTION = Path("artifacts", "attention.jsonl")


def write_artifacts(
    setting: Setting, folder: Path, model: Any, records: Mapping[str, Record]
) -> None:
    """artifacts/attention.jsonl of a run folder, a line a sample, unless it is there or the model
    has nothing to show. The samples are predicted once more, in the batches that they were in."""
    path = folder / ATTENTION
    if path.is_file() or not _shows(setting, model):
        return
    some, batch_size = setting.samples[:SAMPLES], setting.request.batch_size
    lines = []
    for start in range(0, len(some), batch_size):
        setting.stage("artifacts", start, len(some))
        # what failed once would fail again and stop the run
        batch = [one for one in some[start : start + batch_size] if _predicted(records, one)]
        for sample, artifact in zip(batch, _artifacts(setting, model, batch), strict=False):
            lines.append(json.dumps({"id": sample.id, **artifact}) + "\n")
    if not lines:
        return
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text("".join(lines), encoding="utf-8")
    beside.replace(path)


def _shows(setting: Setting, model: Any) -> bool:
    if _captions(setting):
        return hasattr(model, "artifacts")
    return hasattr(model, "watched") and not setting.task_spec.whole_set


def _captions(setting: Setting) -> bool:
    return setting.task_spec.capability in ("caption", "caption-clips")


def _predicted(records: Mapping[str, Record], sample: Sample) -> bool:
    return sample.id in records and records[sample.id].prediction is not None


def _artifacts(setting: Setting, model: Any, batch: Sequence[Sample]) -> Sequence[Json]:
    """One a sample, or none if the model kept none."""
    if not batch:
        return []
    if _captions(setting):
        found: Sequence[Json] = model.artifacts([sample.input.visual for sample in batch])
        return found
    watched = model.watched()
    setting.task.predict(watched, [sample.input for sample in batch])
    maps: Sequence[Json] = watched.maps
    # a task may ask the model several times about a sample, always about the whole batch
    return [{"parts": maps[row :: len(batch)]} for row in range(len(batch))] if maps else []


def read_attention(folder: Path) -> Iterator[tuple[str, Json]]:
    """(id, artifact) of a run folder's artifacts/attention.jsonl; none where there is none. A line
    that is damaged is passed over: nothing is computed of it."""
    path = folder / ATTENTION
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                artifact = json.loads(line)
                yield str(artifact["id"]), artifact
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
