"""`harness ls`: what there is, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from harness.registry import model_specs, task_specs

Cli = Callable[..., CompletedProcess[str]]
TASKS = (
    "captioning",
    "retrieval",
    "spatial-localization",
    "temporal-localization",
    "video-captioning",
    "video-retrieval",
    "vqa",
)


def test_everything_there_is_is_listed(cli: Cli) -> None:
    done = cli("ls")
    assert done.returncode == 0, done.stderr
    words = done.stdout.replace(",", " ").split()
    for task in task_specs().values():
        assert task.name in words
        assert {dataset.name for dataset in task.datasets} <= set(words)
    assert set(model_specs()) <= set(words)
    assert set(TASKS) <= set(task_specs())


def test_data_sets_that_have_to_be_got_are_starred(cli: Cli) -> None:
    lines = cli("ls").stdout.splitlines()
    (line,) = [line for line in lines if "charades-sta" in line]
    assert line.split(", ")[0].strip() == "toybox"
    assert "charades-sta *" in line
    assert "toybox *" not in line


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_listed_with_its_metrics_rules_parts_and_files(cli: Cli, name: str) -> None:
    shown = cli("ls", name).stdout
    task = task_specs()[name]
    assert shown.startswith(f"{name}: {task.summary}\n")
    for metric in task.metrics:
        assert metric in shown
    for rule, choices in task.rules.items():
        assert f"{rule}={'|'.join(choices)}" in shown
    for dataset in task.datasets:
        assert f"  {name}/{dataset.name}: {dataset.summary}" in shown
        assert f"{', '.join(dataset.splits)}; unless asked {dataset.test_split}" in shown
        assert all(f"--{role}" in shown for role in (*dataset.files, *dataset.optional_files))
    others = set(task_specs()) - {name}
    assert not any(f"  {other}/" in shown for other in others)


def test_the_form_that_a_data_set_has_of_its_task_is_listed_with_it(cli: Cli) -> None:
    of_didemo = cli("ls", "temporal-localization").stdout.partition("/didemo:")[2]
    assert "rank@1; rank@5; mIoU" in of_didemo.partition("\n\n")[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("captoining", "did you mean captioning?"),
        ("nonsense", "there are: captioning, retrieval"),
        ("vqa/toybx", "did you mean toybox?"),
    ],
)
def test_an_unknown_task_gets_one_line(cli: Cli, name: str, said: str) -> None:
    done = cli("ls", name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_json_holds_the_same_for_scripts(cli: Cli) -> None:
    content = json.loads(cli("ls", "--json").stdout)
    assert set(content) == {"tasks", "models"}
    for name, task in task_specs().items():
        listed = content["tasks"][name]
        assert listed["metrics"] == list(task.metrics)
        assert listed["rules"] == {rule: list(choices) for rule, choices in task.rules.items()}
        assert list(listed["datasets"]) == [dataset.name for dataset in task.datasets]
    didemo = content["tasks"]["temporal-localization"]["datasets"]["didemo"]
    assert didemo["metrics"] == ["rank@1", "rank@5", "mIoU"]
    assert didemo["files"] == ["annotations"]
    assert (didemo["here"], didemo["get"]) == (False, "--data-dir DIR")
    toybox = content["tasks"]["vqa"]["datasets"]["toybox"]
    assert (toybox["here"], toybox["get"]) == (True, None)
    assert content["models"]["chance"]["kind"] == "floor"
    assert set(TASKS) <= set(content["models"]["chance"]["tasks"])


def test_json_of_one_task_holds_that_task(cli: Cli) -> None:
    assert list(json.loads(cli("ls", "vqa", "--json").stdout)["tasks"]) == ["vqa"]
