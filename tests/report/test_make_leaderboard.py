"""What `make leaderboard` runs goes on where it was stopped."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_leaderboard.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_leaderboard", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_leaderboard", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(
    script: ModuleType,
    small_toybox: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., list[str]]:
    """The script with these arguments, from an empty folder -> the lines that it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["make_leaderboard", *arguments])
        capsys.readouterr()
        script.main()
        return capsys.readouterr().out.splitlines()

    return run


def test_a_finished_run_is_kept_and_another_request_is_run(
    make: Callable[..., list[str]], tmp_path: Path
) -> None:
    task = "spatial-localization/toybox"
    of_floors = ("--tasks", task, "--models", "chance", "prior", "--limit")
    assert make(*of_floors, "20") == [
        *(f"{task} chance: runs", f"{task} prior: runs", "reports/index.html")
    ]
    (prior,) = (tmp_path / "build/leaderboard").rglob("prior/*/run.json")
    prior.write_text(json.dumps(json.loads(prior.read_text()) | {"status": "started"}))
    assert make(*of_floors, "20") == [
        *(f"{task} chance: kept", f"{task} prior: runs", "reports/index.html")
    ]
    assert make(*of_floors, "10")[0] == f"{task} chance: runs"
    assert (tmp_path / "reports/leaderboard.csv").is_file()


def test_all_models_search_among_as_many_entries_as_the_slowest_can(script: ModuleType) -> None:
    wanted = {(one.task, one.model.name): one.limit for one in script.every_run(None, None, None)}
    assert wanted["retrieval/toybox", "nce"] == wanted["retrieval/toybox", "vlbert"] == 200
    assert wanted["vqa/toybox", "nce"] is None
    assert ("vqa/toybox", "oracle") not in wanted
    assert ("captioning/toybox", "vlbert") not in wanted


def test_a_run_of_who_takes_its_answers_from_the_train_part_is_kept_too(
    make: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.tasks.captioning.meteor_reason", lambda: "not in this test")
    of_captions = ("--tasks", "captioning/toybox", "--models", "nce", "--limit", "5")
    assert make(*of_captions)[0] == "captioning/toybox nce: runs"
    assert make(*of_captions)[0] == "captioning/toybox nce: kept"
