"""What VL-BERT and ViLBERT save by making once what several texts share, and of their last layers
what is read, with their bundled weights on Toybox: that scores stay the same result, the share of
time that is left, and beside it the share of multiplications, as torch counts them.

    python scripts/measure_savings.py [--repeats 5]

Ends with 1 if a score is another, 0 otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.baselines import bert
from harness.baselines.multitask_model import MultitaskModel, load_multitask
from harness.baselines.multitask_vision import Visuals
from harness.baselines.vilbert_streams import TwoStreamEncoder
from harness.registry import find_task, load_attribute
from harness.types import LoadRequest

ABSOLUTE, RELATIVE = 1e-5, 1e-6  # what scores may differ by and be the same result
PICTURES = 24


@dataclass(frozen=True)
class Case:
    """One computation in two ways, which give the same scores."""

    name: str
    plain: Callable[[], Tensor]
    saving: Callable[[], Tensor]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="timings of each way (5)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| what is saved | same scores | multiplications left | time left |")
    print("| --- | --- | --- | --- |")
    same = True
    with torch.inference_mode():
        for name in ("vlbert", "vilbert"):
            for case in cases(name):
                a, b = case.plain(), case.saving()
                equal = bool(((a - b).abs() <= ABSOLUTE + RELATIVE * a.abs()).all())
                counted = multiplications(case.saving) / multiplications(case.plain)
                timed = seconds(case, repeats)
                print(f"| {case.name} | {equal} | {counted:.0%} | {timed:.0%} |", flush=True)
                same = same and equal
    return 0 if same else 1


def cases(name: str) -> Iterator[Case]:
    title = {"vlbert": "VL-BERT", "vilbert": "ViLBERT"}[name]
    questions = loaded(name, "vqa/toybox")
    yield Case(f"{title}: a picture for its five questions", *of_questions(*questions))
    choices = loaded(name, "vqa/toybox-vcr")
    yield Case(f"{title}: a picture for its four choices", *of_choices(*choices))
    pairs = loaded(name, "retrieval/toybox")
    yield Case(f"{title}: each picture and each caption for all pairs", *of_pairs(*pairs))
    yield Case(f"{title}: of the last layers, what answers are read from", *of_reading(*questions))
    if name == "vlbert":
        yield Case("VL-BERT: no padding between text and regions", *of_padding(*questions))


def loaded(name: str, task: str) -> tuple[MultitaskModel, list[Any]]:
    task_name, dataset = task.split("/")
    model = load_multitask(LoadRequest(task_name, dataset), name)
    load = load_attribute(find_task(task)[1].load)
    return model, [sample.input for sample in load(None, "test").samples[: 5 * PICTURES]]


Ways = tuple[Callable[[], Tensor], Callable[[], Tensor]]


def of_questions(model: MultitaskModel, inputs: list[Any]) -> Ways:
    tokens = model._tokens([one.text for one in inputs])
    rows = model._see(inputs)[1]
    pictures = [model._regions_of(one.visual) for one in inputs]
    once = list({one.visual.id: seen for one, seen in zip(inputs, pictures, strict=True)}.values())
    network = model.seer.network
    return (
        lambda: network.answer_logits(tokens, model._see_pictures(pictures, named=False)),
        lambda: network.answer_logits(tokens, model._see_pictures(once, named=False).rows(rows)),
    )


def of_choices(model: MultitaskModel, inputs: list[Any]) -> Ways:
    from harness.baselines.multitask_batches import pad_choices
    from harness.baselines.region_encoder import named_regions

    some = inputs[:PICTURES]
    query = model._tokens([one.text for one in some])
    ids = [[model._ids(text) for text in one.answers] for one in some]
    regions = model.config.vision.regions
    pictures = [named_regions(one.visual, one.objects, regions) for one in some]
    network, named, choices = model.seer.network, model._named, pad_choices(ids)

    def alone() -> Tensor:
        columns = []
        for place in range(choices.shape[1]):
            seen = model._see_pictures(pictures, named=True)
            one = choices[:, place : place + 1]
            columns.append(network.choice_logits(query, one, named, seen))
        return torch.cat(columns, dim=1)

    return alone, lambda: network.choice_logits(
        query, choices, named, model._see_pictures(pictures, named=True)
    )


def of_pairs(model: MultitaskModel, inputs: list[Any]) -> Ways:
    some = inputs[:PICTURES]
    pictures = [model._regions_of(one.visual) for one in some]
    tokens = model._tokens([one.texts[0] for one in some])
    network = model.seer.network
    of_picture = torch.arange(len(some)).repeat_interleave(len(some))
    of_text = torch.arange(len(some)).repeat(len(some))

    def alone() -> Tensor:
        found = []
        for start in range(0, len(of_text), 128):
            part = slice(start, start + 128)
            seen = model._see_pictures([pictures[i] for i in of_picture[part].tolist()], False)
            found.append(network.match_logits(tokens[of_text[part]], seen))
        return torch.cat(found).view(len(some), len(some))

    return alone, lambda: network.match_every_pair(
        tokens, model._see_pictures(pictures, False), 128
    )


def of_reading(model: MultitaskModel, inputs: list[Any]) -> Ways:
    tokens = model._tokens([one.text for one in inputs])
    visuals, rows = model._see(inputs)
    own = visuals.rows(rows)

    def lean() -> Tensor:
        return model.seer.network.answer_logits(tokens, own)

    def whole() -> Tensor:
        with every_position():
            return lean()

    return whole, lean


@contextmanager
def every_position() -> Iterator[None]:
    """Has last layers make all their states, of which those that are asked for are then taken."""
    layers_of, streams_of = bert.BertEncoder.forward, TwoStreamEncoder.from_first_coattention

    def layers(self: Any, states: Tensor, mask: Tensor, read: Tensor | None = None) -> list[Tensor]:
        *before, last = layers_of(self, states, mask)
        return [*before, last if read is None else bert.at_places(last, read)]

    def streams(self: Any, *given: Any, firsts: bool = False) -> tuple[Tensor, Tensor]:
        text, image = streams_of(self, *given)
        return (text[:, :1], image[:, :1]) if firsts else (text, image)

    with (
        patch.object(bert.BertEncoder, "forward", layers),
        patch.object(TwoStreamEncoder, "from_first_coattention", streams),
    ):
        yield


def of_padding(model: MultitaskModel, inputs: list[Any]) -> Ways:
    """The encoder alone over texts and regions, one behind the other with the padding of both or
    without; what is compared is each row's first state."""
    tokens = model._tokens([one.text for one in inputs])
    visuals, rows = model._see(inputs)
    own: Visuals = visuals.rows(rows)
    encoder: Any = model.seer.network.choices.encoder  # type: ignore[union-attr]
    parts, masks = [encoder.word_embeddings(tokens), own.states], [tokens > 0, own.mask]
    return (
        lambda: encoder.encoder(torch.cat(parts, dim=1), torch.cat(masks, dim=1))[-1][:, 0],
        lambda: encoder.encoder(*bert.pack(parts, masks))[-1][:, 0],
    )


def multiplications(way: Callable[[], Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        way()
    return float(counter.get_total_flops())


def seconds(case: Case, repeats: int) -> float:
    """Median of the ratios of a turn, saving over plain."""
    ratios = []
    for _ in range(repeats):
        marks = [time.perf_counter()]
        for way in (case.plain, case.saving):
            way()
            marks.append(time.perf_counter())
        ratios.append((marks[2] - marks[1]) / (marks[1] - marks[0]))
    return median(ratios)


if __name__ == "__main__":
    raise SystemExit(main())
