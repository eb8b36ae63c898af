"""The script that simulates intervals: a line a cell, the same for each call, and gone on with."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "simulate_intervals.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulate_intervals", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "simulate_intervals", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PILOT", 5)
    return module


def rows_of(printed: str) -> list[list[str]]:
    return [line.split(" | ") for line in printed.splitlines() if line.startswith("| mean IoU")]


def test_finished_cells_are_kept_and_not_simulated_again(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = tmp_path / "new" / "cells.jsonl"
    arguments = ["--repetitions", "12", "--only", "mean IoU", "--results", str(results)]
    script.main(arguments)
    first = rows_of(capsys.readouterr().out)
    assert [row[1] for row in first] == ["200", "1,000"]
    cells = [json.loads(line) for line in results.read_text().splitlines()]
    for cell, row in zip(cells, first, strict=True):
        assert cell["truth"] == pytest.approx(0.7 * 2 / 3)
        assert row[6] == f"{100 * cell['coverage']:.1f}%"
        assert abs(cell["drop"] - cell["detectable"]) < 0.05
    monkeypatch.setattr(script, "cell_of", None)
    script.main(arguments)
    assert rows_of(capsys.readouterr().out) == first
    with pytest.raises(TypeError):
        script.main(["--repetitions", "13", *arguments[2:]])


def test_intervals_of_differences_hold_none_and_the_true_one(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main(["--differences", "--repetitions", "40", "--only", "mean IoU"])
    for row in rows_of(capsys.readouterr().out):
        for share in row[3:5]:
            assert float(share.strip(" |").rstrip("%")) > 80


@pytest.mark.parametrize(
    ("coverage", "alarms", "power", "holds"),
    [
        (0.93, 0.065, 0.77, True),
        (0.929, 0, 1, False),
        (0.95, 0.066, 1, False),
        (0.98, 0, 1, False),
        (0.95, 0.05, 0.769, False),
    ],
)
def test_a_cell_that_misses_a_bar_is_marked(
    script: ModuleType, coverage: float, alarms: float, power: float, holds: bool
) -> None:
    cell = script.Cell("c", 9, 9, 1, "bca", 0.5, 0.1, coverage, alarms, 0.1, 0.1, 0.1, power, 1.0)
    assert cell.holds is holds
    assert ("missed" in cell.line) is not holds
