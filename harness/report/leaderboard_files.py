"""The leaderboard as a data frame, Markdown, CSV and JSON. What stands in them is decided
elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .leaderboard import Control, Leaderboard, Row, Table, TaskBoard
from .pages import count, interval, number, rate, signed, signed_interval, well_formed
from .published import Published

if TYPE_CHECKING:
    import pandas as pd

    from harness.types import Json

_CONTROLS = ("shuffled", "blind")


# ---------------------------------------------------------------- rows of plain values


def records(board: Leaderboard) -> Iterator[dict[str, Any]]:
    """A flat record for each row: tables in order, then a task's unfinished runs."""
    for record in _records(board):
        yield {k: well_formed(v) if isinstance(v, str) else v for k, v in record.items()}


def _records(board: Leaderboard) -> Iterator[dict[str, Any]]:
    for task in board.tasks:
        for number_of, table in enumerate(task.tables, start=1):
            for row in table.rows:
                yield _record(row, _of_table(table, number_of))
        for row in task.unfinished:
            yield _record(row, _of_run(task, row))
    for one in board.unreadable:
        yield {"status": "unreadable", "standing": "not ranked", "run": str(one.path)} | {
            "reason": one.reason
        }


def _of_table(table: Table, number_of: int) -> dict[str, Any]:
    by_name = {row.model: row.value for row in table.standing("floor")}
    ceilings = [row.value for row in table.standing("ceiling")]
    return {
        "task": table.task,
        "table": number_of,
        "split": table.split,
        "data_sha256": table.sha256,
        "samples": table.n,
        "metric": table.metric,
        "percent": table.percent,
        "signature": table.signature,
        "chance": by_name.get("chance"),
        "prior": by_name.get("prior"),
        "ceiling": ceilings[0] if ceilings else None,
    }


def _of_run(task: TaskBoard, row: Row) -> dict[str, Any]:
    result = row.run.run.result if row.run else {}
    data = result.get("data", {})
    return {
        "task": task.task,
        "split": data.get("split"),
        "data_sha256": data.get("sha256"),
        "samples": data.get("n"),
        "metric": result.get("primary"),
    }


def _record(row: Row, table: Mapping[str, Any]) -> dict[str, Any]:
    low, high = row.ci95 or (None, None)
    worst, best = row.bounds or (None, None)
    return {
        **{name: table.get(name) for name in ("task", "table")},
        "rank": row.rank,
        "model": row.model,
        "standing": row.standing,
        "metric": table.get("metric"),
        "score": row.value,
        "ci95_low": low,
        "ci95_high": high,
        "percent": table.get("percent"),
        **{name: table.get(name) for name in ("chance", "prior", "ceiling")},
        **_of_controls(row.controls),
        **{name: row.coverage.get(name) for name in ("scored", "missing", "failed", "invalid")},
        "worst_case": worst,
        "best_case": best,
        "parameters": row.parameters,
        "samples_per_second": row.samples_per_second,
        "device": row.device or None,
        **{name: table.get(name) for name in ("split", "samples", "data_sha256", "signature")},
        "status": row.status,
        "reason": row.reason or None,
        "warnings": "; ".join(row.warnings) or None,
        "significantly_better": "; ".join(row.better) or None,
        "run": str(row.run.run.path) if row.run else None,
    }


def _of_controls(controls: Mapping[str, Control]) -> dict[str, Any]:
    """The two controls that any model has, and the model trained blind where there is one."""
    found: dict[str, Any] = {}
    trained = [name for name in controls if name not in _CONTROLS]
    for column, name in (
        *((name, name) for name in _CONTROLS),
        ("trained_blind", trained[0] if trained else ""),
    ):
        control = controls.get(name, Control(None, None, None))
        low, high = control.ci95 or (None, None)
        found |= {
            column: control.value,
            f"{column}_gain": control.gain,
            f"{column}_gain_low": low,
            f"{column}_gain_high": high,
        }
    return found


def as_frame(board: Leaderboard) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(records(board)))
    whole = ("table", "rank", "scored", "missing", "failed", "invalid", "parameters", "samples")
    for column in whole:
        frame[column] = frame[column].astype("Int64")
    return frame


def as_csv(board: Leaderboard) -> str:
    return as_frame(board).to_csv(index=False, lineterminator="\n")


# ---------------------------------------------------------------- JSON


def as_json(board: Leaderboard, published: Sequence[Published]) -> str:
    content = {
        "schema": 1,
        "tasks": [_task_json(task) for task in board.tasks],
        "unreadable": [{"path": str(o.path), "reason": o.reason} for o in board.unreadable],
        "published": [asdict(one) for one in published],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _task_json(task: TaskBoard) -> Json:
    return {
        "task": task.task,
        "tables": [_table_json(table, place) for place, table in enumerate(task.tables, start=1)],
        "unfinished": [_record(row, _of_run(task, row)) for row in task.unfinished],
    }


def _table_json(table: Table, number_of: int) -> Json:
    return {
        **_of_table(table, number_of),
        "groups": table.groups,
        "higher_is_better": table.higher_is_better,
        "differs_from_first_table": list(table.differs),
        "rows": [_record(row, _of_table(table, number_of)) for row in table.rows],
        "pairs": [
            {
                "first": str(pair.first.run.path),
                "other": str(pair.other.run.path),
                "difference": pair.difference.difference,
                "ci95": pair.difference.ci95 and list(pair.difference.ci95),
                "p": pair.difference.p,
                "p_holm": pair.difference.p_holm,
            }
            for pair in table.pairs
        ],
    }


# ---------------------------------------------------------------- Markdown


def as_markdown(board: Leaderboard, published: Sequence[Published]) -> str:
    """GitHub's Markdown; whatever models are called stands in it as text."""
    lines = ["# Leaderboard", "", _READING, ""]
    for task in board.tasks:
        lines += [f"## {_text(task.task)}", ""]
        for table in task.tables:
            lines += _markdown_table(table)
        lines += _markdown_unranked(task)
    if board.unreadable:
        lines += ["## Could not be read", ""]
        lines += [f"- {_text(one.reason)}" for one in board.unreadable]
        lines.append("")
    lines += _markdown_published(published)
    return "\n".join(lines)


_READING = (
    "Rank: 1 + the number of models that are significantly better on the same samples (paired "
    "permutation test of the primary metric, p < .05 after Holm over the table's pairs). Models "
    "that share a rank cannot be told apart. Over shuffled, over blind: the model minus itself "
    "with another sample's picture, and with the mean picture. In brackets: 95% intervals."
)


def _markdown_table(table: Table) -> Iterator[str]:
    about = f" about {table.groups:,} visuals" if table.groups else ""
    yield (
        f"{_text(table.metric)} on {_text(table.split)}, {table.n:,} samples{about}, data "
        f"{_code(table.sha256[:12])}"
    )
    yield ""
    if table.differs:
        yield f"Not comparable with the table above: {_text('; '.join(table.differs))}"
        yield ""
    controls = _shown_controls(table)
    over = [f"over {_text(name)}" for name in controls]
    headings = ("rank", "model", "score", *over, "coverage", "parameters", "samples/s")
    yield _line(headings)
    yield _line("---" if name == "model" else "---:" for name in headings)
    for row in table.standing("ranked", "floor", "ceiling"):
        yield _line(_markdown_cells(row, table, controls))
    yield ""
    said = [
        f"- {_text(row.model)}: {_text(warning)}" for row in table.rows for warning in row.warnings
    ]
    said += [f"- {_text(note)}" for note in table.ranking.notes]
    if said:
        yield from (*said, "")
    yield f"Signature: {_code(table.signature)}"
    yield ""


def _shown_controls(table: Table) -> list[str]:
    """The controls that some model of the table has."""
    rows = table.standing("ranked")
    found = {name: None for row in rows for name, c in row.controls.items() if c.gain is not None}
    return sorted(found, key=lambda name: name not in _CONTROLS)


def _markdown_cells(row: Row, table: Table, controls: Sequence[str]) -> Iterator[str]:
    percent = table.percent
    yield str(row.rank) if row.rank else row.standing
    yield _text(row.model)
    yield f"{number(row.value, percent)} ({interval(row.ci95, percent)})"
    for name in controls:
        control = row.controls.get(name)
        if control is None or control.gain is None:
            yield ""
        else:
            between = f" ({signed_interval(control.ci95, percent)})" if control.ci95 else ""
            yield signed(control.gain, percent) + between
    scored = row.coverage.get("scored")
    yield "" if scored is None else f"{count(scored)} of {count(table.n)}"
    yield "" if row.parameters is None else count(row.parameters)
    yield "" if row.samples_per_second is None else rate(row.samples_per_second)


def _markdown_unranked(task: TaskBoard) -> Iterator[str]:
    rows = [row for table in task.tables for row in table.standing("not ranked")]
    rows += task.unfinished
    if not rows:
        return
    yield "Not ranked:"
    yield ""
    for row in rows:
        status = "" if row.status == "complete" else f" ({row.status})"
        yield f"- {_text(row.model)}{status}: {_text(row.reason)}"
    yield ""


def _markdown_published(published: Sequence[Published]) -> Iterator[str]:
    if not published:
        return
    yield "## Published results"
    yield ""
    yield (
        "What papers and their authors' repositories report on data sets that harness reads; not "
        "made by harness, and never ranked."
    )
    yield ""
    yield _line(("task", "split", "model", "metric", "result", "seen in"))
    yield _line(("---", "---", "---", "---", "---:", "---"))
    for one in published:
        model = f"{one.model}, {one.note}" if one.note else one.model
        cells = (one.task, one.split, model, one.metric, one.value, one.source)
        yield _line(_text(cell) for cell in cells)
    yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(words: str) -> str:
    """Text as code, on one line and outside tables."""
    return "`" + " ".join(words.replace("`", "'").split()) + "`"


def _text(words: str) -> str:
    """Text that Markdown and the HTML in it leave as it is, on one line."""
    line = " ".join(words.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)
