"""How a weights folder tells which training finished in it: training.json, written last. Knows no
model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import __version__
from .errors import BadInput
from .store import write_json
from .types import TrainPart, TrainRequest

NOTED = "training.json"


def asked_of(request: TrainRequest, model: str, pretrain: bool) -> dict[str, Any]:
    """What makes a training what it is, as JSON holds it."""
    first = TrainPart(request.task, request.dataset, request.train, request.validation)
    return {
        "model": model,
        "pretrain": pretrain,
        "tasks": [
            {
                "task": f"{part.task}/{part.dataset}",
                "data_sha256": part.train.sha256,
                "samples": len(part.train.samples),
            }
            for part in (first, *request.also)
        ],
        "seed": request.seed,
        "options": dict(request.options),
        "version": __version__,
    }


def finished_before(folder: Path, asked: dict[str, Any], restart: bool) -> bool:
    """Whether this training finished in the folder, so that it need not be done again. With
    `restart`, what is known of it goes. BadInput where another one finished there, which is not to
    be lost unasked."""
    noted = folder / NOTED
    if restart:
        noted.unlink(missing_ok=True)
    if not noted.is_file():
        return False
    try:
        known = json.loads(noted.read_text(encoding="utf-8"))
    except ValueError:
        known = None
    if known != asked:
        raise BadInput(
            f"{folder}: holds what another training finished; give another folder with -o, or "
            "--restart to write over it"
        )
    return True


def note_finished(folder: Path, asked: dict[str, Any]) -> None:
    write_json(folder / NOTED, asked)
