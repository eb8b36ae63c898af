"""The specs of the bundled tasks, as the entry points name them. Imports nothing heavy: `harness
ls` reads this."""

from __future__ import annotations

from harness.types import DatasetSpec, TaskSpec

_DATASETS = "harness.tasks.datasets"

VQA = TaskSpec(
    name="vqa",
    summary="answer an open question about a picture",
    capability="answer",
    metrics=("accuracy", "accuracy-always-normalise"),
    load="harness.tasks.vqa:TASK",
    breakdowns=("question_type", "answer_type"),
    datasets=(
        DatasetSpec(
            name="toybox",
            summary="5,000 questions in six families about 1,000 drawn pictures",
            load=f"{_DATASETS}.toybox.vqa:load",
            splits=("train", "val", "test", "test-comp"),
            where="embedded",
            also_measured=("test-comp",),
        ),
        DatasetSpec(
            name="easy-vqa",
            summary="9,673 questions about 1,000 pictures of one shape, from PyPI",
            load=f"{_DATASETS}.easy_vqa:load",
            splits=("train", "val", "trainval", "test"),
            where="package",
            package="easy_vqa",
            extra="easy-vqa",
            prior_split="trainval",
        ),
        DatasetSpec(
            name="vqav2",
            summary="214,354 questions about COCO val2014, official files",
            load=f"{_DATASETS}.vqav2:load",
            splits=("train", "val"),
            where="data-dir",
            test_split="val",
            validation_split="",
            files=("questions", "annotations"),
            load_files=f"{_DATASETS}.vqav2:load_questions_and_annotations",
        ),
    ),
)
