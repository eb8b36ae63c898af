"""The run folder: finding or making it, the prediction log that survives a kill, run.json.

Knows the files and what they promise; knows nothing of models, tasks or metrics.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from .errors import BadInput
from .types import Json

SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """One line of samples.jsonl: what was predicted, nothing else. `valid` is False where the
    prediction cannot be scored or the sample failed; `reason` then says why."""

    id: str
    group: str
    prediction: Json | None
    valid: bool = True
    reason: str | None = None


@dataclass(frozen=True)
class Run:
    """A run folder. `key` is the hash of what decides a prediction; the run id adds a counter."""

    path: Path
    key: str
    resumed: bool

    @property
    def log(self) -> Path:
        return self.path / "samples.jsonl"

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        write_json(self.path / name, content)


def resume_key(decides: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for everything that decides a prediction."""
    canonical = json.dumps(decides, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def open_run(root: Path, task: str, dataset: str, model: str, decides: Mapping[str, Any]) -> Run:
    """The unfinished run of the same key, or a new one after a finished one."""
    key = resume_key(decides)
    folder = root / f"{task}--{dataset}" / model
    counters = sorted(
        int(path.name.rpartition("-")[2])
        for path in folder.glob(f"{key}-*")
        if path.name.rpartition("-")[2].isdigit()
    )
    if counters:
        last = folder / f"{key}-{counters[-1]}"
        if _status(last) != "complete":
            return Run(last, key, resumed=(last / "samples.jsonl").exists())
    path = folder / f"{key}-{counters[-1] + 1 if counters else 1}"
    make_folder(path)
    return Run(path, key, resumed=False)


def make_folder(path: Path) -> None:
    """The folder that -o asks for. BadInput where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be made ({error.strerror}); give another folder with -o"
        ) from None


def is_complete(run: Run) -> bool:
    return _status(run.path) == "complete"


def _status(path: Path) -> str:
    """The status in run.json; "started" where the file is absent or torn: such a run goes on."""
    try:
        return str(json.loads((path / "run.json").read_text(encoding="utf-8"))["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return "started"


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Holds a run for one process: two that write one log would spoil it."""
    import fcntl

    with (run.path / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(
                f"{run.path}: another process is at work on this run; wait for it or end it"
            ) from None
        yield


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes beside the file and renames into place: a reader sees the old or the new one whole."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    os.replace(beside, path)


# ---------------------------------------------------------------- the prediction log


def read_log(path: Path) -> dict[str, Record]:
    """The records of a log by id. A torn last line (the process was killed while writing it) is
    cut off the file; damage anywhere else raises BadInput."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    records: dict[str, Record] = {}
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            record = Record(**json.loads(line.decode("ascii")))
        except (ValueError, TypeError):
            raise BadInput(
                f"{path}: line {number} is damaged; delete that line and run the command again"
            ) from None
        if record.id in records:
            raise BadInput(
                f"{path}: line {number}: sample {record.id} stands there twice; delete one line"
            )
        records[record.id] = record
    return records


def drop_failed(path: Path) -> dict[str, Record]:
    """Reads a log for a new attempt: samples that failed are taken out, to be tried again."""
    records = read_log(path)
    kept = {id: record for id, record in records.items() if record.prediction is not None}
    if len(kept) < len(records):
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(b"".join(_line(record) for record in kept.values()))
        os.replace(beside, path)
    return kept


def append(log: IO[bytes], records: Sequence[Record]) -> None:
    """Appends and flushes to the disk, so that a kill loses at most the line being written."""
    log.write(b"".join(_line(record) for record in records))
    log.flush()
    os.fsync(log.fileno())


def _line(record: Record) -> bytes:
    # ensure_ascii keeps U+2028 and lone surrogates from tearing a line
    return (json.dumps(asdict(record)) + "\n").encode("ascii")
