"""`harness eval --report`: the page of a run in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Cli = Callable[..., CompletedProcess[str]]
COMMAND = ("eval", "--model", "chance", "--limit", 5, "--controls", "none")


def test_the_page_is_made_and_its_path_printed(
    cli: Cli, small_toybox: None, tmp_path: Path
) -> None:
    done = cli(*COMMAND, "--task", "spatial-localization", "--report")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("report"))
    page = tmp_path / line.split()[1]
    assert page.name == "index.html"
    assert page.parent.parent.parent.name == "chance"
    assert (page.parent / "assets" / "explorer.js").is_file()
    assert "chance" in page.read_text(encoding="utf-8")


def test_without_it_there_is_none(cli: Cli, small_toybox: None, tmp_path: Path) -> None:
    done = cli(*COMMAND, "--task", "spatial-localization", "--json")
    assert "report" not in json.loads(done.stdout)
    assert not list((tmp_path / "runs").rglob("report"))


def test_scripts_are_told_where_it_is(cli: Cli, small_toybox: None, tmp_path: Path) -> None:
    done = cli(*COMMAND, "--task", "spatial-localization", "--report", "--json")
    assert (tmp_path / json.loads(done.stdout)["report"]).is_file()


def test_each_task_has_its_page(
    cli: Cli, small_toybox: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import registry

    two = ["spatial-localization/toybox", "vqa/toybox"]
    monkeypatch.setattr(registry, "embedded_tasks", lambda: two)
    done = cli(*COMMAND, "--task", "all", "--report")
    assert done.returncode == 0, done.stderr
    pages = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  report")]
    assert len(pages) == 2
    assert all((tmp_path / page).is_file() for page in pages)
