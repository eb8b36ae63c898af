"""The explorer: a run's samples as a page, what was asked, what was right and what was said to it,
to be filtered and sorted, in a folder that needs no server and no network. Knows no task: what is
drawn is what a task shows of a sample and of a prediction, lines, boxes and moments.

    <folder>/index.html, data/      one run: its columns, its predictions, where it looked
    <root>/asked/<key>/             what several runs were asked: kept once
    <root>/visuals/                 pictures and clips, small: kept once

Entries are files of a few samples, which the page loads as it shows them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import __version__
from harness.artifacts import read_attention
from harness.errors import BadInput
from harness.saved import SavedRun, read_run
from harness.setting import Stage, silent
from harness.store import Record
from harness.types import Clip, Json, Sample, Shown

from .drawings import FRAMES, Drawings
from .packed import ChunkWriter, as_script, fitted, names, numbers, small_numbers
from .pages import write_assets, write_page, write_text
from .rankings import Rankings, read_rankings
from .samples import Reading, Source, Sources, Status, read_samples
from .shown import prediction_shown, sample_shown

VISUALS = 1000  # thumbnails drawn for a run unless all are asked for
_ASKED, _SAID = 13_000, 14_500  # bytes of a sample, and of a file of samples, at most
_TEXT = 11_000  # of these, for lines
_NAMES = 500  # distinct values of a tag that can be chosen from
_LINES = 60  # of a sample


def write(
    run: SavedRun,
    folder: Path,
    *,
    root: Path,
    others: Sequence[tuple[SavedRun, Path]] = (),
    visuals: int | None = VISUALS,
    data_dir: Path | None = None,
    sources: Sources | None = None,
    stage: Stage = silent,
) -> Path:
    """Writes `folder`/index.html and what it needs, and returns its path.

    `root` is the report's folder, where pages.write_assets puts assets/: every explorer of a report
    is given the same one. `others` are further runs of the same data, each with the folder of its
    own explorer in the same report: the page then offers where the two disagree. `visuals`: for how
    many pictures or clips thumbnails are drawn, those of the worst samples first; None for all.
    `data_dir`: where the data set's files are, if not where the run found them. `sources`: one for
    all explorers of a report opens each data set once. BadInput if the folder cannot be written.
    """
    reading = read_samples(run, sources or Sources(data_dir))
    try:
        return _Explorer(reading, folder, root, stage).write(others, visuals)
    except OSError as error:
        raise BadInput(
            f"{folder}: the report cannot be written ({error.strerror or error}); "
            "give another folder, or make room"
        ) from None


def write_alone(path: Path, *, data_dir: Path | None = None, stage: Stage = silent) -> Path:
    """Writes the page of a run into its own folder, report/index.html, and returns its path."""
    run = read_run(path)
    folder = run.path / "report"
    try:
        write_assets(folder)
    except OSError as error:
        raise BadInput(f"{folder}: the report cannot be written ({error.strerror})") from None
    return write(run, folder, root=folder, data_dir=data_dir, stage=stage)


def key_of(folder: Path, root: Path) -> str:
    """What a run whose page is in `folder` is called in the addresses of the report at `root`:
    "#with=KEY" shows it beside another."""
    return _digest(os.path.relpath(folder, root))


@dataclass(frozen=True)
class _Explorer:
    reading: Reading
    folder: Path
    root: Path
    stage: Stage

    def write(self, others: Sequence[tuple[SavedRun, Path]], visuals: int | None) -> Path:
        drawings = Drawings(self.root / "visuals")
        drawn = self._draw(drawings, visuals)
        said, hashes = self._write_predictions(drawn)
        self._write_more(drawn)
        for number, one in enumerate(self.reading.scores[1:], start=1):
            column = as_script("column", self.key, f"score-{number}", numbers(one.values))
            write_text(self.folder / "data" / f"score-{number}.js", column)
        column = as_script("column", self.key, "predictions", small_numbers(hashes))
        write_text(self.folder / "data" / "predictions.js", column)
        tags = {name: names(values, _NAMES) for name, values in self.reading.tags.items()}
        columns = [{"name": name, **column} for name, column in tags.items() if column]
        write_text(self.folder / "data" / "tags.js", as_script("tags", self.key, columns))
        lost = sorted({one["lost"] for one in drawn.values() if "lost" in one})
        index = {
            **self._index(others),
            "asked": {"at": self._way_to(self.asked), "starts": self._write_asked()},
            "said": {"starts": said},
        }
        write_text(self.folder / "data" / "index.js", as_script("run", self.key, index))
        path = self.folder / "index.html"
        write_page(
            path,
            "explorer.html",
            root=self._way_to(self.root),
            key=self.key,
            lone=self.folder.resolve() == self.root.resolve(),
            **self._about(len(drawn), lost),
        )
        return path

    # ------------------------------------------------------------ names

    @property
    def key(self) -> str:
        """What the scripts of this run are known by in a page that shows two."""
        return key_of(self.folder, self.root)

    @property
    def asked(self) -> Path:
        """Where what was asked is kept: of one place for all runs of the same samples. Made anew by
        another version, which may show it otherwise."""
        run, source = self.reading.run, self.reading.source
        data = run.result["data"]
        same: list[Any] = [run.task, run.split, data["sha256"], data["n"], __version__]
        if source.dataset is None:
            same.append(os.path.relpath(self.folder, self.root))
        return self.root / "asked" / f"{run.task.replace('/', '--')}-{_digest(json.dumps(same))}"

    def _way_to(self, path: Path) -> str:
        return f"{Path(os.path.relpath(path, self.folder)).as_posix()}/"

    # ------------------------------------------------------------ pictures

    def _draw(self, drawings: Drawings, most: int | None) -> dict[str, Json]:
        """The visuals of the worst samples: id -> what is known of it."""
        source = self.reading.source
        drawn: dict[str, Json] = {}
        total = min(most or source.count, source.count)
        if source.dataset is None:
            return drawn
        for place in self.reading.worst_first.tolist():
            visual = source[place].input.visual
            if visual.id not in drawn:
                if most is not None and len(drawn) >= most:
                    break
                drawn[visual.id] = drawings.draw(visual)
                self.stage("thumbnails", len(drawn), total)
        self.stage("thumbnails", total, total)
        return drawn

    # ------------------------------------------------------------ what was asked

    def _write_asked(self) -> list[int]:
        """Writes it unless another run of the same samples has; where its files start."""
        kept = self.asked / "starts.json"
        if kept.is_file():
            starts: list[int] = json.loads(kept.read_text(encoding="utf-8"))
            return starts
        writer = ChunkWriter(self.asked, "asked", self.asked.name, _ASKED)
        for place, id in enumerate(self.reading.ids):
            writer.add(_asked(self.reading, place, id))
        starts = writer.close()
        write_text(kept, json.dumps(starts))
        return starts

    # ------------------------------------------------------------ what was predicted

    def _write_predictions(self, drawn: Mapping[str, Json]) -> tuple[list[int], Any]:
        """The places where their files start, and 16 bits of a hash of each prediction."""
        reading = self.reading
        writer = ChunkWriter(self.folder / "data" / "said", "said", self.key, _SAID)
        hashes = np.zeros(len(reading.ids), dtype=np.uint16)
        for place, record in enumerate(reading.records()):
            sample = None if reading.source.dataset is None else reading.source[place]
            entry = _said(reading, sample, record)
            hashes[place] = int(_digest(json.dumps(entry, sort_keys=True, default=str))[:4], 16)
            scores = [one.values[place] for one in reading.scores]
            entry["scores"] = [None if np.isnan(s) else round(float(s), 6) for s in scores]
            if record is not None and record.prediction is not None:
                text, _ = fitted(json.dumps(record.prediction), 1500)
                entry["logged"] = text
            if sample is not None and sample.input.visual.id in drawn:
                entry["drawn"] = drawn[sample.input.visual.id]
            writer.add(entry)
        return writer.close(), hashes

    # ------------------------------------------------------------ what is shown of an opened sample

    def _write_more(self, drawn: Mapping[str, Json]) -> None:
        """Where the model looked, and what it ranked first: a file for each sample that has any."""
        reading = self.reading
        folder = self.folder / "data" / "more"
        shutil.rmtree(folder, ignore_errors=True)
        place_of = {id: place for place, id in enumerate(reading.ids)}
        for id, artifact in read_attention(reading.run.path):
            if id in place_of:
                place = place_of[id]
                more = as_script("more", self.key, place, {"attention": artifact})
                write_text(folder / f"{place}.js", more)
        rankings = read_rankings(reading)
        if rankings is not None:
            for place in range(len(reading.ids)):
                more = as_script("more", self.key, place, _ranked(reading, rankings, place, drawn))
                write_text(folder / f"{place}.js", more)

    # ------------------------------------------------------------ the page

    def _index(self, others: Sequence[tuple[SavedRun, Path]]) -> Json:
        reading = self.reading
        more = sorted(int(path.stem) for path in (self.folder / "data" / "more").glob("*.js"))
        first = reading.scores[:1]
        return {
            "samples": len(reading.ids),
            "ids": _digest(json.dumps(list(reading.ids))),
            "model": reading.run.model,
            "metrics": [
                {
                    "name": one.metric.name,
                    "percent": one.metric.percent,
                    "best": _end(
                        one.metric.high if one.metric.higher_is_better else one.metric.low
                    ),
                    "worst": _end(
                        one.metric.low if one.metric.higher_is_better else one.metric.high
                    ),
                    "higher": one.metric.higher_is_better,
                }
                for one in reading.scores
            ],
            "score": numbers(first[0].values) if first else None,
            "status": small_numbers(reading.status),
            "more": "all" if len(more) == len(reading.ids) else more,
            "frames": FRAMES,
            "others": [
                {
                    "key": key_of(path, self.root),
                    "at": self._way_to(path),
                    "name": _name(run, others),
                }
                for run, path in others
            ],
        }

    def _about(self, drawn: int, lost: Sequence[str]) -> Json:
        """What the page says of the run as a whole."""
        reading, result = self.reading, self.reading.run.result
        counts = {one.name.lower(): int((reading.status == one).sum()) for one in Status}
        primary = result.get("primary")
        return {
            "title": f"{reading.run.model} on {reading.run.task}",
            "run": reading.run,
            "data": result["data"],
            "status": str(result["status"]),
            "reason": reading.run.incomplete,
            "counts": counts,
            "primary": primary,
            "value": (result.get("metrics") or {}).get(primary),
            "closed": reading.source.closed,
            "notes": reading.notes,
            "drawn": drawn,
            "lost": lost[:3],
            "samples": len(reading.ids),
        }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _end(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _name(run: SavedRun, others: Sequence[tuple[SavedRun, Path]]) -> str:
    """The model, and the run's folder where others are of the same model."""
    same = [other for other, _ in others if other.model == run.model]
    return run.model if len(same) < 2 else f"{run.model} ({run.path.name})"


# ---------------------------------------------------------------- entries


def _asked(reading: Reading, place: int, id: str) -> Json:
    entry: Json = {"id": fitted(id, 1000)[0], "group": fitted(reading.groups[place], 1000)[0]}
    if reading.source.dataset is None:
        return entry
    sample = reading.source[place]
    visual = sample.input.visual
    if isinstance(visual, Clip):
        entry["seconds"] = visual.duration
    return entry | _as_json(sample_shown(reading.task, sample))


def _said(reading: Reading, sample: Sample | None, record: Record | None) -> Json:
    """A prediction as its task shows it, else as it was logged."""
    if record is None:
        return {}
    reason = {} if record.reason is None else {"reason": fitted(record.reason, 2000)[0]}
    if record.prediction is None or not record.valid:
        return reason
    return reason | _as_json(prediction_shown(reading.task, sample, record))


def _as_json(shown: Shown) -> Json:
    """{"lines": [what, text, characters left out, if any], "boxes", "moments"}."""
    lines: list[list[Any]] = []
    left = _TEXT
    for what, text in shown.lines[:_LINES]:
        begun, cut = fitted(str(text), max(0, left))
        left -= len(begun)
        lines.append([str(what)[:80], begun, cut] if cut else [str(what)[:80], begun])
    if len(shown.lines) > _LINES:
        lines.append(["", f"and {len(shown.lines) - _LINES:,} more"])
    found: Json = {"lines": lines}
    boxes = [[str(what)[:80], *map(_short, box)] for what, box in shown.boxes[:_LINES]]
    moments = [[str(what)[:80], _short(a), _short(b)] for what, a, b in shown.moments[:_LINES]]
    return found | ({"boxes": boxes} if boxes else {}) | ({"moments": moments} if moments else {})


def _short(number: float) -> float:
    return round(float(number), 3)


def _ranked(reading: Reading, rankings: Rankings, place: int, drawn: Mapping[str, Json]) -> Json:
    source = reading.source
    captions = [
        [one.right, round(one.score, 4), _caption(source, one.sample, one.caption)]
        for one in rankings.captions_of(place)
    ]
    visuals = [
        [
            _caption(source, place, caption),
            [
                [one.right, round(one.score, 4), reading.ids[one.sample], drawn_of.get("file")]
                for one in rankings.visuals_of(place, caption)
                for drawn_of in [drawn.get(source[one.sample].input.visual.id, {})]
            ],
        ]
        for caption in range(rankings.captions[place])
    ]
    return {"captions": captions, "visuals": visuals}


def _caption(source: Source, place: int, caption: int) -> str:
    return fitted(str(source[place].input.texts[caption]), 1000)[0]
