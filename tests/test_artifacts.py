"""What a run keeps of how a model came to its predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.artifacts import read_attention
from harness.evaluate import EvalRequest, evaluate

MODEL = """
from harness.specs import ModelSpec
from harness.types import Choice, ModelDescription
SPEC = ModelSpec('watching', 'made up', ('answer', 'choose'), 'watchingpackage:load')
class Watching:
    description = ModelDescription()
    maps = None
    def watched(self):
        other = Watching()
        other.maps = []
        return other
    def answer(self, questions):
        if any('BAD' in question.text for question in questions):
            raise ValueError('a bad question')
        if self.maps is not None:
            self.maps += [{'words': question.text.split()} for question in questions]
        return [Choice(len(question.given) % 4) for question in questions]
def load(request):
    return Watching()
"""


@pytest.fixture
def evaluated(
    plugin: Callable[..., None], small_toybox: None, tmp_path: Path
) -> Callable[..., Path]:
    plugin("watchingpackage", MODEL, {"harness.models": {"watching": "watchingpackage:SPEC"}})

    def run(task: str = "vqa/toybox-vcr", **more: Any) -> Path:
        options: dict[str, Any] = {"limit": 5, "controls": "none", "output": tmp_path}
        return evaluate(EvalRequest(task, "watching", floors=False, **(options | more))).path

    return run


def test_each_time_that_a_task_asks_about_a_sample_is_a_part_of_it(
    evaluated: Callable[..., Path],
) -> None:
    found = dict(read_attention(evaluated(batch_size=2)))  # VCR: the answer, then the reason
    assert len(found) == 5
    for artifact in found.values():
        answer, reason = artifact["parts"]
        assert answer == reason  # one question, asked twice


def test_no_more_than_the_first_samples_are_kept(
    evaluated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.artifacts.SAMPLES", 3)
    assert len(dict(read_attention(evaluated(batch_size=2)))) == 3


def test_a_sample_that_failed_keeps_nothing_and_stops_nothing(
    evaluated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.tasks.datasets.toybox import vcr

    made = vcr._samples

    def spoiled(split: str, index: int) -> list[Any]:
        from dataclasses import replace

        return [
            replace(one, input=replace(one.input, text="BAD")) if one.id.endswith("1") else one
            for one in made(split, index)
        ]

    monkeypatch.setattr(vcr, "_samples", spoiled)
    folder = evaluated(keep_going=True)
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    failed = {one["id"] for one in map(json.loads, lines) if one["prediction"] is None}
    kept = set(dict(read_attention(folder)))
    assert failed
    assert kept
    assert not kept & failed


def test_a_damaged_line_is_passed_over(evaluated: Callable[..., Path]) -> None:
    folder = evaluated()
    path = folder / "artifacts" / "attention.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0][:20], *lines[1:]]), encoding="utf-8")
    assert len(dict(read_attention(folder))) == len(lines) - 1
