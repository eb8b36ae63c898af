"""Checkpoints of a training that may be stopped: the folder of one training, and the newest whole
checkpoint in it. Knows no network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.store import write_json
from harness.types import TrainRequest


def prepare_checkpoints(request: TrainRequest, asked: Mapping[str, Any]) -> Path:
    """The folder of checkpoints, emptied on --restart. `asked`: what beside the request's task,
    seed and data makes a training what it is, as JSON holds it. BadInput if the folder holds those
    of another training, which must not go on as this one; one that ended before its first
    checkpoint leaves nothing to go on with."""
    folder = request.output / "checkpoints"
    wanted = {
        "task": f"{request.task}/{request.dataset}",
        "seed": request.seed,
        "data_sha256": request.train.sha256,
        "samples": len(request.train.samples),
        **asked,
    }
    if not request.resume:
        shutil.rmtree(folder, ignore_errors=True)
    noted = folder / "request.json"
    if noted.is_file() and any(folder.glob("checkpoint-*")):
        try:
            same = json.loads(noted.read_text(encoding="utf-8")) == wanted
        except ValueError:
            same = False
        if not same:
            raise BadInput(f"{folder}: of another training that was stopped; give --restart or -o")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(noted, wanted)
    return folder


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole; a kill may have torn the last one, which is
    removed."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))
    for path in steps:
        # the state is the last file that Trainer writes
        if (path / "trainer_state.json").is_file() and (path / "optimizer.pt").is_file():
            return str(path)
        shutil.rmtree(path)
    return None
