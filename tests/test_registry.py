"""Entry points become specs; and each bundled spec holds against what it names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.errors import BadInput
from harness.registry import (
    can_do,
    find_model,
    find_task,
    how_to_get,
    load_attribute,
    model_specs,
    task_specs,
)
from harness.types import (
    Answer,
    Answerer,
    Capability,
    Dataset,
    DatasetSpec,
    LoadRequest,
    Metric,
    ModelDescription,
    ModelSpec,
    Task,
    TaskSpec,
    UniformAnswer,
)

BUNDLED = ["chance", "oracle", "prior", "vlbert", "vlbert-blind"]
PROTOCOLS: dict[str, type] = {"answer": Answerer}

Install = Callable[..., None]
SPEC = "from harness.types import ModelSpec\nSPEC = ModelSpec({}, 'made up', ('answer',), 'x:y')\n"


def refusal(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(BadInput) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- finding by name


@pytest.mark.parametrize(
    ("find", "wrong", "meant"),
    [
        (find_model, "vlbret", "vlbert"),
        (find_model, "vl-bart", "vl-bert"),
        (find_model, "priors", "prior"),
        (find_task, "vqaa", "vqa"),
        (find_task, "vqa/toybx", "toybox"),
        (find_task, "vqa/easyvqa", "easy-vqa"),
    ],
)
def test_a_near_miss_is_named(find: Callable[[str], object], wrong: str, meant: str) -> None:
    assert f"did you mean {meant}?" in refusal(find, wrong)


@pytest.mark.parametrize(("find", "known"), [(find_model, "chance, oracle"), (find_task, "vqa")])
def test_where_nothing_is_near_all_are_named(find: Callable[[str], object], known: str) -> None:
    assert known in refusal(find, "zzzzzzzz")


def test_a_task_alone_is_its_default_data_set() -> None:
    task, dataset = find_task("vqa")
    assert (task.name, dataset.name) == ("vqa", "toybox")
    assert find_task("vqa/toybox") == (task, dataset)


def test_an_alias_finds_its_model() -> None:
    assert find_model("vl-bert") is find_model("vlbert")


# ---------------------------------------------------------------- other people's packages


def test_a_package_adds_its_model(plugin: Install) -> None:
    plugin("addon", SPEC.format("'added'"), {"harness.models": {"added": "addon:SPEC"}})
    assert find_model("added").summary == "made up"
    assert set(model_specs()) >= {*BUNDLED, "added"}


@pytest.mark.parametrize(
    "source",
    ["import no_such_module_anywhere", "1 / 0", "SPEC = 'no spec'", "", "SPEC = ("],
    ids=["import", "error", "no spec", "no attribute", "syntax"],
)
def test_a_broken_entry_point_is_named_with_its_package(plugin: Install, source: str) -> None:
    plugin("brokenaddon", source, {"harness.models": {"broken": "brokenaddon:SPEC"}})
    text = refusal(find_model, "vlbert")
    assert text.startswith("brokenaddon: ")
    assert "brokenaddon:SPEC" in text


def test_a_model_among_the_tasks_is_refused(plugin: Install) -> None:
    plugin("addon", SPEC.format("'added'"), {"harness.tasks": {"added": "addon:SPEC"}})
    assert "is no TaskSpec" in refusal(task_specs)


def test_two_packages_with_one_entry_point_name_are_refused(plugin: Install) -> None:
    plugin("addon", SPEC.format("'vlbert'"), {"harness.models": {"vlbert": "addon:SPEC"}})
    text = refusal(find_model, "vlbert")
    assert "addon:SPEC" in text
    assert "harness.baselines.specs:VLBERT" in text


def test_a_package_cannot_take_a_bundled_name_under_another_entry_point(plugin: Install) -> None:
    plugin("addon", SPEC.format("'vlbert'"), {"harness.models": {"zzz": "addon:SPEC"}})
    assert "addon" in refusal(find_model, "vlbert")


def test_a_package_cannot_take_a_bundled_alias(plugin: Install) -> None:
    plugin("addon", SPEC.format("'vl-bert'"), {"harness.models": {"vl-bert": "addon:SPEC"}})
    assert "vl-bert" in refusal(find_model, "vl-bert")


def test_a_package_that_is_listed_twice_counts_once(plugin: Install) -> None:
    """As an editable install may be."""
    for name, source in (("addon", SPEC.format("'added'")), ("again", "")):
        plugin(name, source, {"harness.models": {"added": "addon:SPEC"}})
    assert find_model("added").name == "added"


# ---------------------------------------------------------------- the bundled specs


def bundled_tasks() -> list[TaskSpec]:
    return [load_attribute("harness.tasks.specs:VQA")]


def bundled_models() -> list[ModelSpec]:
    names = ("CHANCE", "PRIOR", "ORACLE", "VLBERT", "VLBERT_BLIND")
    return [load_attribute(f"harness.baselines.specs:{name}") for name in names]


TASKS = [pytest.param(task, id=task.name) for task in bundled_tasks()]
MODELS = [pytest.param(model, id=model.name) for model in bundled_models()]
DATASETS = [
    pytest.param(task, dataset, id=f"{task.name}-{dataset.name}")
    for task in bundled_tasks()
    for dataset in task.datasets
]


def open_split(spec: DatasetSpec, split: str, vqav2_folder: Callable[..., Path]) -> Dataset:
    if spec.where == "package" and importlib.util.find_spec(spec.package) is None:
        pytest.skip(f"{spec.package} is not installed")
    root = vqav2_folder(train=True) if spec.where == "data-dir" else None
    dataset: Dataset = load_attribute(spec.load)(root, split)
    return dataset


def test_every_bundled_spec_is_found_through_its_entry_point() -> None:
    assert {name: spec for name, spec in task_specs().items() if name == "vqa"} == {
        task.name: task for task in bundled_tasks()
    }
    found = model_specs()
    assert {name: found[name] for name in BUNDLED} == {m.name: m for m in bundled_models()}


def test_names_and_aliases_are_given_once() -> None:
    names = [name for model in bundled_models() for name in (model.name, *model.aliases)]
    assert len(set(names)) == len(names)


def test_every_capability_has_its_protocol() -> None:
    assert set(get_args(Capability)) == set(PROTOCOLS)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_can_do_what_its_spec_says(
    model: ModelSpec, tiny_weights: Callable[..., Path], small_toybox: None
) -> None:
    load = load_attribute("harness.tasks.datasets.toybox.vqa:load")
    weights = None
    if model.name.startswith("vlbert"):
        weights = tiny_weights("none" if model.name.endswith("blind") else "segments")
    loaded: Any = load_attribute(model.load)(
        LoadRequest("vqa", "toybox", weights=weights, train=lambda: load(None, "train"))
    )
    assert isinstance(loaded.description, ModelDescription)
    for name, protocol in PROTOCOLS.items():
        methods = [method for method in vars(protocol) if not method.startswith("_")]
        if name in model.capabilities:
            assert all(callable(getattr(loaded, method, None)) for method in methods)
        else:
            assert not any(hasattr(loaded, method) for method in methods)
    if "answer" in model.capabilities:
        questions = [sample.input for sample in load(None, "test").samples[:7]]
        given = loaded.answer(questions)
        assert len(given) == 7
        assert all(isinstance(answer, Answer | UniformAnswer) for answer in given)


@pytest.mark.parametrize("model", MODELS)
def test_what_else_a_model_spec_names_exists(model: ModelSpec) -> None:
    assert callable(load_attribute(model.load))
    if model.train:
        assert callable(load_attribute(model.train))
    if model.blind:
        blind = find_model(model.blind)
        assert blind.capabilities == model.capabilities
        assert blind.datasets == model.datasets
    for name in model.datasets or ():
        task, _ = find_task(name)
        assert "/" in name
        assert can_do(model, task)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_the_metrics_that_its_spec_says(task: TaskSpec) -> None:
    loaded: Task = load_attribute(task.load)
    for method in ("predict", "invalid", "metrics", "read_results"):
        assert callable(getattr(loaded, method))
    metrics = loaded.metrics(Dataset("x", "test", (), "", answers=("yes",)), {})
    assert tuple(metric.name for metric in metrics) == task.metrics
    assert all(isinstance(metric, Metric) for metric in metrics)
    assert len({metric.variant for metric in metrics}) == len(metrics)
    assert task.capability in PROTOCOLS


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_every_split_of_a_data_set_loads_and_has_the_breakdowns(
    task: TaskSpec, spec: DatasetSpec, vqav2_folder: Callable[..., Path], small_toybox: None
) -> None:
    root: list[Path] = []

    def once(train: bool = False) -> Path:
        if not root:
            root.append(vqav2_folder(train=train))
        return root[0]

    assert spec.splits
    for split in spec.splits:
        dataset = open_split(spec, split, once)
        assert (dataset.name, dataset.split) == (spec.name, split)
        assert len(dataset.samples) > 0
        assert len({sample.id for sample in dataset.samples}) == len(dataset.samples)
        for sample in dataset.samples:
            assert all(sample.tags.get(tag) for tag in task.breakdowns)
            assert set(sample.tags) <= set(task.breakdowns)


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_the_splits_that_a_data_set_is_used_with_are_its_own(
    task: TaskSpec, spec: DatasetSpec
) -> None:
    used = {spec.test_split, spec.train_split, spec.validation_split, spec.prior_split} - {""}
    assert used <= set(spec.splits)
    assert spec.train_split != spec.test_split
    assert bool(spec.files) == bool(spec.load_files)
    if spec.load_files:
        assert callable(load_attribute(spec.load_files))


def test_how_to_get_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {dataset.name: dataset for dataset in bundled_tasks()[0].datasets}
    assert how_to_get(sets["toybox"]) is None
    assert how_to_get(sets["vqav2"]) == "--data-dir DIR"
    for found, needed in ((None, "pip install 'harness[easy-vqa]'"), (object(), None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found)
        assert how_to_get(sets["easy-vqa"]) == needed
