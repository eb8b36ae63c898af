"""Somebody's package with two models, one of which can answer: seen, used, and refused, by the same
door as the bundled ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = """
from harness.specs import ModelSpec
from harness.types import Answer, ModelDescription

TALKER = ModelSpec("talker", "says yes to everything", ("answer",), "theirs:load_talker")
TAGGER = ModelSpec("tagger", "names what it sees", ("tag",), "theirs:load_tagger")

class Talker:
    description = ModelDescription(parameters=1)
    def answer(self, questions):
        assert all(not hasattr(question, "target") for question in questions)
        return [Answer("yes") for _ in questions]

def load_talker(request):
    return Talker()

def load_tagger(request):
    raise AssertionError("must not be loaded")
"""


@pytest.fixture
def theirs(
    write_plugin: Callable[..., Path], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    entries = {"harness.models": {"talker": "theirs:TALKER", "tagger": "theirs:TAGGER"}}
    site = write_plugin("theirs", SOURCE, entries)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from harness.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_ls_shows_them_and_what_they_can_do(
    theirs: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    shown = theirs("ls").stdout
    assert "says yes to everything" in shown
    assert "names what it sees" in shown
    models = json.loads(theirs("ls", "--json").stdout)["models"]
    assert models["talker"]["tasks"] == ["vqa"]
    assert models["tagger"]["tasks"] == []


def test_the_one_that_answers_is_evaluated(
    theirs: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = theirs(
        *("eval", "--task", "vqa/toybox", "--model", "talker", "--limit", "20"),
        *("--controls", "none", "--device", "cpu", "--json"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["coverage"]["scored"] == 20
    assert 0 < result["metrics"]["accuracy"]["value"] < 1
    assert result["model"]["parameters"] == 1
    lines = (tmp_path / result["run"] / "samples.jsonl").read_text().splitlines()
    assert {json.loads(line)["prediction"]["answer"] for line in lines} == {"yes"}


def test_the_other_is_refused_in_one_line(
    theirs: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    refused = theirs("eval", "--task", "vqa/toybox", "--model", "tagger", "--limit", "20")
    assert refused.returncode == 2
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.startswith("harness: model tagger cannot do task vqa")
    assert "talker" in line  # among those that can
    assert not (tmp_path / "runs").exists()
