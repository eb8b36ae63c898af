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
    embedded_tasks,
    find_model,
    find_task,
    how_to_get,
    load_attribute,
    model_specs,
    task_as_in,
    task_specs,
)
from harness.specs import Capability, DatasetSpec, ModelSpec, TaskSpec, TaskVariant
from harness.types import (
    Answer,
    Answerer,
    Captioner,
    Dataset,
    Encoder,
    Grounder,
    LoadRequest,
    Metric,
    ModelDescription,
    MomentFinder,
    PairScorer,
    Task,
    UniformAnswer,
)

BUNDLED = ["chance", "oracle", "prior", "vlbert", "vlbert-blind"]
# capability -> the protocols, of which a model has one
PROTOCOLS: dict[str, tuple[type, ...]] = {
    "answer": (Answerer,),
    "choose": (Answerer,),
    "caption": (Captioner,),
    "caption-clips": (Captioner,),
    "match": (Encoder, PairScorer),
    "match-clips": (Encoder, PairScorer),
    "locate": (Grounder,),
    "find-moments": (MomentFinder,),
}

Install = Callable[..., None]
SPEC = "from harness.specs import ModelSpec\nSPEC = ModelSpec({}, 'made up', ('answer',), 'x:y')\n"


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


@pytest.mark.parametrize(("find", "known"), [(find_model, "chance, nce"), (find_task, "vqa")])
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


# ---------------------------------------------------------------- a data set's form of a task


def made_up(variant: TaskVariant | None) -> TaskSpec:
    sets = (
        DatasetSpec("plain", "made up", "x:y", ("test",), "embedded"),
        DatasetSpec("other", "made up", "x:y", ("test",), "data-dir", variant=variant),
    )
    return TaskSpec(
        "task",
        "made up",
        "answer",
        ("accuracy",),
        sets,
        "x:TASK",
        breakdowns=("kind",),
        rules={"rule": ("a", "b")},
        whole_set=True,
    )


def test_a_variant_changes_what_a_data_sets_form_of_the_task_is() -> None:
    variant = TaskVariant("choose", ("right", "half"), "y:TASK", ("part",), {"other": ("c",)})
    task = made_up(variant)
    plain, other = task.datasets
    assert task_as_in(task, plain) is task
    assert task_as_in(task, other) == TaskSpec(
        "task",
        "made up",
        "choose",
        ("right", "half"),
        task.datasets,
        "y:TASK",
        breakdowns=("part",),
        rules={"other": ("c",)},
        whole_set=True,
    )


def test_a_variant_without_breakdowns_and_rules_has_none_of_the_tasks() -> None:
    task = made_up(TaskVariant("choose", ("right",), "y:TASK"))
    other = task_as_in(task, task.datasets[1])
    assert (other.breakdowns, dict(other.rules)) == ((), {})


def test_finding_a_task_by_its_data_set_gives_that_form() -> None:
    open_questions, _ = find_task("vqa")
    choices, dataset = find_task("vqa/toybox-vcr")
    assert (open_questions.capability, choices.capability) == ("answer", "choose")
    assert choices.metrics == ("Q->A", "QA->R", "Q->AR")
    assert choices.load == "harness.tasks.vcr:TASK"
    assert (choices.name, dataset.name) == ("vqa", "toybox-vcr")
    assert task_specs()["vqa"].capability == "answer"  # the task itself is as it was
    didemo, _ = find_task("temporal-localization/didemo")
    assert (didemo.metrics, dict(didemo.rules)) == (("rank@1", "rank@5", "mIoU"), {})


def test_a_model_that_only_answers_cannot_choose() -> None:
    model = ModelSpec("m", "made up", ("answer",), "x:y")
    assert can_do(model, find_task("vqa/toybox")[0])
    assert not can_do(model, find_task("vqa/toybox-vcr")[0])


def test_the_embedded_tasks_are_toyboxs() -> None:
    assert embedded_tasks() == [
        "captioning/toybox",
        "retrieval/toybox",
        "spatial-localization/toybox",
        "temporal-localization/toybox",
        "video-captioning/toybox",
        "video-retrieval/toybox",
        "vqa/toybox",
        "vqa/toybox-vcr",
    ]


# ---------------------------------------------------------------- the bundled specs

SPEC_NAMES = (
    *("CAPTIONING", "RETRIEVAL", "SPATIAL", "TEMPORAL"),
    *("VIDEO_CAPTIONING", "VIDEO_RETRIEVAL", "VQA"),
)


def bundled_tasks() -> list[TaskSpec]:
    return [load_attribute(f"harness.tasks.specs:{name}") for name in SPEC_NAMES]


def bundled_models() -> list[ModelSpec]:
    names = ("CHANCE", "PRIOR", "ORACLE", "VLBERT", "VLBERT_BLIND")
    return [load_attribute(f"harness.baselines.specs:{name}") for name in names]


MODELS = [pytest.param(model, id=model.name) for model in bundled_models()]
DATASETS = [
    pytest.param(task_as_in(task, dataset), dataset, id=f"{task.name}-{dataset.name}")
    for task in bundled_tasks()
    for dataset in task.datasets
]
ABLE = [
    pytest.param(model, name, id=f"{model.name}-{name}")
    for model in bundled_models()
    for name in embedded_tasks()
    if can_do(model, find_task(name)[0])
]
OPENED = [  # those that a test can open without official files
    pytest.param(*one.values, id=one.id)
    for one in DATASETS
    if one.values[1].where != "data-dir" or one.values[1].name == "vqav2"  # type: ignore[union-attr]
]


def open_split(spec: DatasetSpec, split: str, vqav2_folder: Callable[..., Path]) -> Dataset:
    if spec.where == "package" and importlib.util.find_spec(spec.package) is None:
        pytest.skip(f"{spec.package} is not installed")
    root = vqav2_folder(train=True) if spec.where == "data-dir" else None
    dataset: Dataset = load_attribute(spec.load)(root, split)
    return dataset


def test_every_bundled_spec_is_found_through_its_entry_point() -> None:
    assert task_specs() == {task.name: task for task in bundled_tasks()}
    found = model_specs()
    assert {name: found[name] for name in BUNDLED} == {m.name: m for m in bundled_models()}


def test_names_and_aliases_are_given_once() -> None:
    names = [name for model in bundled_models() for name in (model.name, *model.aliases)]
    assert len(set(names)) == len(names)
    for task in bundled_tasks():
        assert len({dataset.name for dataset in task.datasets}) == len(task.datasets)


def test_every_capability_has_its_protocol_and_a_task() -> None:
    assert set(get_args(Capability)) == set(PROTOCOLS)
    assert {one.values[0].capability for one in DATASETS} == set(PROTOCOLS)  # type: ignore[union-attr]


def methods_of(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


def has(model: Any, protocol: type) -> bool:
    return all(callable(getattr(model, name, None)) for name in methods_of(protocol))


@pytest.mark.parametrize(("model", "name"), ABLE)
def test_a_model_can_do_what_its_spec_says_on_every_embedded_task(
    model: ModelSpec, name: str, tiny_weights: Callable[..., Path], small_toybox: None
) -> None:
    task, spec = find_task(name)
    weights = None
    if model.name.startswith("vlbert"):
        weights = tiny_weights("none" if model.name.endswith("blind") else "segments", [name])
    load = load_attribute(spec.load)
    loaded: Any = load_attribute(model.load)(
        LoadRequest(task.name, spec.name, weights=weights, train=lambda: load(None, "val"))
    )
    assert isinstance(loaded.description, ModelDescription)
    assert any(has(loaded, protocol) for protocol in PROTOCOLS[task.capability])
    # one that was trained without pictures is of the class of the one that sees
    seers = [one for one in bundled_models() if one.blind == model.name]
    able = {capability for one in (model, *seers) for capability in one.capabilities}
    for capability in set(PROTOCOLS) - able:
        others = set(PROTOCOLS[capability]) - {p for c in able for p in PROTOCOLS[c]}
        assert not any(hasattr(loaded, method) for one in others for method in methods_of(one))
    if task.capability == "answer":
        given = loaded.answer([sample.input for sample in load(None, "test").samples[:7]])
        assert len(given) == 7
        assert all(isinstance(answer, Answer | UniformAnswer) for answer in given)


@pytest.mark.parametrize("model", MODELS)
def test_what_else_a_model_spec_names_exists(model: ModelSpec) -> None:
    assert callable(load_attribute(model.load))
    if model.train:
        assert callable(load_attribute(model.train))
    if model.blind:
        blind = find_model(model.blind)
        assert set(blind.capabilities) <= set(model.capabilities)
        assert set(blind.datasets or ()) <= set(model.datasets or ())
    for name in model.datasets or ():
        task, _ = find_task(name)
        assert "/" in name
        assert can_do(model, task)


def test_floors_can_do_every_task() -> None:
    for name in ("chance", "prior"):
        model = find_model(name)
        assert model.datasets is None
        for one in DATASETS:
            assert can_do(model, one.values[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_a_task_has_the_methods_and_metrics_that_its_spec_says(
    task: TaskSpec, spec: DatasetSpec
) -> None:
    loaded: Task = load_attribute(task.load)
    methods = ["predict", "invalid", "metrics", "read_results", "show"]
    for method in [*methods, "predict_set"] if task.whole_set else methods:
        assert callable(getattr(loaded, method))
    assert hasattr(loaded, "predict_set") == task.whole_set
    metrics = loaded.metrics(Dataset("x", "test", (), "", answers=("yes",)), {})
    assert all(isinstance(metric, Metric) for metric in metrics)
    assert tuple(metric.name for metric in metrics) == task.metrics
    assert len({(metric.name, metric.variant) for metric in metrics}) == len(metrics)
    assert not metrics[0].slow
    assert not metrics[0].absent  # the primary metric can be computed anywhere
    for metric in metrics:
        assert metric.low < metric.high
        assert metric.variant


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_every_choice_of_a_rule_is_in_the_variant_of_a_metric(
    task: TaskSpec, spec: DatasetSpec
) -> None:
    """So that numbers made by different rules have different signatures."""
    loaded: Task = load_attribute(task.load)
    dataset = Dataset("x", "test", (), "", answers=("yes",))

    def made_by(rules: dict[str, str]) -> list[tuple[str, str, str]]:
        return [(m.name, m.variant, m.absent) for m in loaded.metrics(dataset, rules)]

    for rule, choices in task.rules.items():
        assert made_by({rule: choices[0]}) == made_by({})  # the default comes first
        others = [made_by({rule: choice}) for choice in choices]
        assert len({tuple(one) for one in others}) == len(choices)


@pytest.mark.parametrize("name", embedded_tasks())
def test_the_metrics_of_an_embedded_data_set_are_those_of_the_spec(
    name: str, small_toybox: None
) -> None:
    task, spec = find_task(name)
    dataset: Dataset = load_attribute(spec.load)(None, "test")
    names = tuple(m.name for m in load_attribute(task.load).metrics(dataset, {}))
    # the binding probe is there where captions have foils, as Toybox's have
    assert names == (*task.metrics, *(("binding",) if task.whole_set else ()))


@pytest.mark.parametrize(("task", "spec"), OPENED)
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
        samples = list(dataset.samples)
        assert len(samples) > 0
        assert len({sample.id for sample in samples}) == len(samples)
        for sample in samples:
            assert all(sample.tags.get(tag) for tag in task.breakdowns)


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_the_splits_that_a_data_set_is_used_with_are_its_own(
    task: TaskSpec, spec: DatasetSpec
) -> None:
    used = {spec.test_split, spec.train_split, spec.validation_split, spec.prior_split} - {""}
    assert used <= set(spec.splits)
    assert set(spec.also_measured) <= set(spec.splits)
    assert spec.train_split != spec.test_split


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_what_a_data_set_names_exists(task: TaskSpec, spec: DatasetSpec) -> None:
    assert callable(load_attribute(spec.load))
    assert bool(spec.files) == bool(spec.load_files)
    assert not set(spec.files) & set(spec.optional_files)
    if spec.where == "data-dir":
        assert spec.load_files
        assert spec.verify
    for path in (spec.load_files, spec.verify):
        assert not path or callable(load_attribute(path))


@pytest.mark.parametrize(("task", "spec"), DATASETS)
def test_a_data_set_refuses_a_split_it_does_not_have(
    task: TaskSpec, spec: DatasetSpec, tmp_path: Path
) -> None:
    if spec.where == "package" and importlib.util.find_spec(spec.package) is None:
        pytest.skip(f"{spec.package} is not installed")
    root = None if spec.where == "embedded" else tmp_path
    text = refusal(load_attribute(spec.load), root, "no-such-split")
    assert "no-such-split" in text


@pytest.mark.parametrize(
    ("task", "spec"),
    [one for one in DATASETS if one.values[1].where == "data-dir"],  # type: ignore[union-attr]
)
def test_an_empty_folder_is_refused_in_one_line_and_verified_as_lacking(
    task: TaskSpec, spec: DatasetSpec, tmp_path: Path
) -> None:
    assert str(tmp_path) in refusal(load_attribute(spec.load), tmp_path, spec.test_split)
    problems = load_attribute(spec.verify)(tmp_path)
    assert problems
    assert not any("\n" in line for line in problems)


def test_how_to_get_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {dataset.name: dataset for dataset in task_specs()["vqa"].datasets}
    assert how_to_get(sets["toybox"]) is None
    assert how_to_get(sets["vqav2"]) == "--data-dir DIR"
    for found, needed in ((None, "pip install 'harness[easy-vqa]'"), (object(), None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found)
        assert how_to_get(sets["easy-vqa"]) == needed
