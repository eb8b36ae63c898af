"""Spatial localization: the box that an expression speaks of, scored by IoU. Knows no data set.

A prediction is {"box": [x1, y1, x2, y2]} in pixels, the far ends exclusive, or {"box": null}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.metrics.box import (
    Box,
    Comparison,
    Convention,
    box_accuracy,
    box_rows,
    mean_iou,
    parse_box,
)
from harness.types import Dataset, Expression, Grounder, Json, Metric, Sample, Shown

from .datasets.box_results import read_box_results
from .targets import BoxTarget

if TYPE_CHECKING:
    from harness.types import FloatArray


class SpatialLocalizationTask:
    """A Task: asks a Grounder, scores by accuracy at IoU .5 and mean IoU.

    Rules: `box-convention` "exclusive", "plus-one" or "mattnet" (see metrics/box.py);
    `at-half` "counts" or "fails": whether an IoU of exactly .5 is a hit.
    """

    form = '{"box": [x1, y1, x2, y2]}'

    def predict(self, model: Grounder, inputs: Sequence[Expression]) -> list[Json]:
        return [
            {"box": None if box is None else [float(number) for number in box]}
            for box in model.locate(inputs)
        ]

    def invalid(self, prediction: Json) -> str | None:
        box = parse_box(prediction.get("box"))
        return box if isinstance(box, str) else None

    def metrics(self, dataset: Dataset, rules: Mapping[str, str]) -> list[Metric]:
        convention = cast(Convention, rules.get("box-convention", "exclusive"))
        comparison: Comparison = ">" if rules.get("at-half") == "fails" else ">="
        rows = partial(_rows, convention=convention, comparison=comparison)
        return [
            Metric("accuracy", f"IoU{comparison}.5,boxes={convention}", rows, box_accuracy),
            Metric("mean-iou", f"boxes={convention}", rows, mean_iou),
        ]

    def read_results(self, path: Path, dataset: Dataset) -> dict[str, Json]:
        """[{"id", "box": [x1, y1, x2, y2]}] or COCO's [{"id", "bbox": [x, y, width, height]}]."""
        return read_box_results(path)

    def show(self, sample: Sample) -> Shown:
        return Shown([("expression", sample.input.text)], boxes=[("right", sample.target.box)])

    def show_prediction(self, prediction: Json, sample: Sample | None) -> Shown:
        box = cast(Box, parse_box(prediction["box"]))
        return Shown([("box", ", ".join(f"{x:.4g}" for x in box))], boxes=[("predicted", box)])


TASK = SpatialLocalizationTask()


def _rows(
    predictions: Sequence[Json | None],
    targets: Sequence[BoxTarget],
    convention: Convention,
    comparison: Comparison,
) -> FloatArray:
    boxes = [
        None if prediction is None else cast(Box, parse_box(prediction["box"]))
        for prediction in predictions
    ]
    return box_rows(boxes, [target.box for target in targets], convention, comparison)
