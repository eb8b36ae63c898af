"""VL-BERT's network: what it is made of matters, how its batch is padded does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.baselines import bert, vlbert
from harness.baselines.vlbert import (
    RegionProjection,
    VLBertForVQA,
    geometry_embedding,
    soft_targets,
    vqa_loss,
)

SMALL = Path(__file__).parents[1] / "parity" / "vlbert_vqa_small.safetensors"

Change = Callable[[pytest.MonkeyPatch, VLBertForVQA], None]


@pytest.fixture
def golden(load_golden: Callable[[Path], Any]) -> Any:
    return load_golden(SMALL)


def tolerance(expected: Tensor) -> Tensor:
    return 1e-5 + 1e-6 * expected.abs()


# ---------------------------------------------------------------- batches


def test_padding_does_not_change_logits(golden: Any) -> None:
    """Questions and pictures of different sizes in one batch, and each alone without padding."""
    together = golden.logits()
    model: VLBertForVQA = golden.model
    for row in range(len(golden.question)):
        words = golden.question[row][golden.question[row] > 0][None]
        real = golden.mask[row]
        with torch.inference_mode():
            visuals = model.region_embeddings(
                golden.boxes[row, real][None],
                golden.appearance[row, real][None],
                golden.size[row][None],
            )
            alone = model(words, visuals, torch.ones(1, int(real.sum()), dtype=torch.bool))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)
    lengths = (golden.question > 0).sum(dim=1)
    assert len(set(lengths.tolist())) > 1
    assert len(set(golden.mask.sum(dim=1).tolist())) > 1


def test_what_stands_in_padding_does_not_matter(golden: Any) -> None:
    expected = golden.logits()
    golden.boxes = torch.where(golden.mask[..., None], golden.boxes, torch.tensor(77.0))
    golden.appearance = torch.where(golden.mask[..., None], golden.appearance, torch.tensor(5.0))
    torch.testing.assert_close(golden.logits(), expected, rtol=0, atol=1e-5)


def test_more_padding_does_not_change_logits(golden: Any) -> None:
    expected = golden.logits()
    golden.question = F.pad(golden.question, (0, 3))
    golden.boxes = F.pad(golden.boxes, (0, 0, 0, 2))
    golden.appearance = F.pad(golden.appearance, (0, 0, 0, 2))
    golden.mask = F.pad(golden.mask, (0, 2))
    torch.testing.assert_close(golden.logits(), expected, rtol=0, atol=1e-5)


def test_the_order_of_regions_does_not_matter_but_what_is_where_does(golden: Any) -> None:
    expected = golden.logits()
    order = torch.tensor([0, 5, 3, 1, 4, 2])  # the whole picture stays first
    golden.boxes, golden.mask = golden.boxes[:, order], golden.mask[:, order]
    mismatched = golden.logits()
    golden.appearance = golden.appearance[:, order]
    torch.testing.assert_close(golden.logits(), expected, rtol=0, atol=1e-5)
    assert ((mismatched - expected).abs() > 100 * tolerance(expected)).any()


def test_the_answer_is_read_off_the_mask(golden: Any) -> None:
    seen: dict[str, Tensor] = {}
    model: VLBertForVQA = golden.model
    model.vlbert.encoder.layer[-1].register_forward_hook(
        lambda module, given, states: seen.update(states=given[0], asking=given[2], made=states)
    )
    model.final_mlp.register_forward_pre_hook(
        lambda module, given: seen.__setitem__("read", given[0])
    )
    golden.logits()
    for row, words in enumerate((golden.question > 0).sum(dim=1).tolist()):
        place = 1 + words + 1  # [CLS] question [SEP], then the [MASK]
        assert torch.equal(seen["asking"][row, 0], seen["states"][row, place])
        assert not torch.equal(seen["asking"][row, 0], seen["states"][row, place - 1])
    assert torch.equal(seen["read"], seen["made"][:, 0])


def test_a_question_becomes_two_sentences_with_a_mask_for_the_answer(golden: Any) -> None:
    model: VLBertForVQA = golden.model
    cls, sep, mask = model.special
    tokens, segments, real, answer_at = model._with_answer_slot(
        torch.tensor([[9, 8, 7], [9, 0, 0]])
    )
    assert tokens.tolist()[0] == [cls, 9, 8, 7, sep, mask, sep]
    assert tokens.tolist()[1][:5] == [cls, 9, sep, mask, sep]
    assert segments.tolist()[0] == [0, 0, 0, 0, 0, 1, 1]
    assert segments.tolist()[1][:5] == [0, 0, 0, 1, 1]
    assert real.sum(dim=1).tolist() == [7, 5]
    assert answer_at.tolist() == [5, 3]


# ---------------------------------------------------------------- mistakes that must show


def geometry_after_appearance(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
    def forward(self: RegionProjection, boxes: Tensor, seen: Tensor, size: Tensor) -> Tensor:
        place = geometry_embedding(boxes, size, self.geometry_size)
        out: Tensor = self.obj_downsample(torch.cat([seen, place], dim=-1))
        return out

    patch.setattr(RegionProjection, "forward", forward)


def change_geometry(change: Callable[[Tensor, Tensor], Tensor]) -> Change:
    def apply(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
        patch.setattr(
            vlbert,
            "geometry_embedding",
            lambda boxes, size, length: geometry_embedding(change(boxes, size), size, length),
        )

    return apply


def corners(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes whose centre and size are the corners of the given ones: what the paper's text says."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1 - x2 / 2, y1 - y2 / 2, x1 + x2 / 2, y1 + y2 / 2], dim=-1)


def constant(name: str, value: float) -> Change:
    return lambda patch, model: patch.setattr(vlbert, name, value)


def change_slot(change: Callable[..., tuple[Tensor, ...]]) -> Change:
    def apply(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
        original = model._with_answer_slot
        patch.setattr(model, "_with_answer_slot", lambda question: change(*original(question)))

    return apply


def change_embeddings(change: Callable[..., dict[str, Tensor]]) -> Change:
    """`change` gets the model and the arguments of VisualLinguisticBert.forward by name."""
    names = (
        *("tokens", "segments", "token_mask", "token_visuals"),
        *("region_words", "region_visuals", "region_mask"),
    )

    def apply(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
        original = model.vlbert.forward

        def forward(*given: Tensor, **named: Tensor) -> Any:
            arguments = dict(zip(names, given, strict=True)) | named
            return original(**(arguments | change(model, **arguments)))

        patch.setattr(model.vlbert, "forward", forward)

    return apply


def regions_counted_up(model: VLBertForVQA, **given: Tensor) -> dict[str, Tensor]:
    after = given["token_mask"].sum(dim=1)[:, None]
    positions = model.vlbert.position_embeddings
    places = (after + torch.arange(given["region_mask"].shape[1])).clamp(max=15)
    return {"region_words": given["region_words"] + positions(places) - positions(after)}


def regions_in_segment(number: int) -> Callable[..., dict[str, Tensor]]:
    def change(model: VLBertForVQA, **given: Tensor) -> dict[str, Tensor]:
        segments = model.vlbert.token_type_embeddings.weight
        return {"region_words": given["region_words"] + segments[number] - segments[2]}

    return change


def without(name: str) -> Change:
    return lambda patch, model: patch.setattr(model.vlbert, name, nn.Identity())


def end_missing(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
    def pack(parts: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        return bert.pack(parts[:2], masks[:2])

    patch.setattr(vlbert, "pack", pack)


def end_with_the_regions_position(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
    def pack(parts: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        length = masks[0].sum(dim=1)
        table = model.vlbert.position_embeddings
        moved = parts[2] + (table(length) - table(length + 1))[:, None]
        return bert.pack([*parts[:2], moved], masks)

    patch.setattr(vlbert, "pack", pack)


def rough_gelu(patch: pytest.MonkeyPatch, model: VLBertForVQA) -> None:
    exact = F.gelu
    patch.setattr(F, "gelu", lambda states: exact(states, approximate="tanh"))


def no_cls(tokens: Tensor, segments: Tensor, real: Tensor, at: Tensor) -> tuple[Tensor, ...]:
    return tokens[:, 1:], segments[:, 1:], real[:, 1:], at - 1


def no_last_sep(tokens: Tensor, segments: Tensor, real: Tensor, at: Tensor) -> tuple[Tensor, ...]:
    return tokens, segments, torch.arange(real.shape[1]) <= at[:, None], at


def mistaken_word(name: int, place: int) -> Callable[..., tuple[Tensor, ...]]:
    """Another word, 5, where the [MASK] (0) or the [SEP] before it (-1) should stand."""

    def change(tokens: Tensor, segments: Tensor, real: Tensor, at: Tensor) -> tuple[Tensor, ...]:
        return tokens.scatter(1, at[:, None] + place, name), segments, real, at

    return change


MISTAKES: dict[str, Change] = {
    "geometry after appearance": geometry_after_appearance,
    "corners instead of centre and size": change_geometry(corners),
    "boxes a pixel larger": change_geometry(
        lambda boxes, size: boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    ),
    "shares instead of percents": constant("_GEOMETRY_SCALE", 1.0),
    "another wave base": constant("_GEOMETRY_BASE", 10_000.0),
    "answer slot in segment 0": change_slot(lambda t, s, r, at: (t, torch.zeros_like(s), r, at)),
    "whole text in segment 1": change_slot(lambda t, s, r, at: (t, torch.ones_like(s), r, at)),
    "[CLS] missing": change_slot(no_cls),
    "last [SEP] missing": change_slot(no_last_sep),
    "first [SEP] another word": change_slot(mistaken_word(5, -1)),
    "[MASK] another word": change_slot(mistaken_word(5, 0)),
    "answer read off [CLS]": change_slot(lambda t, s, r, at: (t, s, r, torch.zeros_like(at))),
    "answer read off the [SEP]": change_slot(lambda t, s, r, at: (t, s, r, at + 1)),
    "region positions counted up": change_embeddings(regions_counted_up),
    "regions in segment 0": change_embeddings(regions_in_segment(0)),
    "regions in segment 1": change_embeddings(regions_in_segment(1)),
    "words do not see the picture": change_embeddings(
        lambda model, **given: {"token_visuals": torch.zeros_like(given["token_visuals"])}
    ),
    "regions without the [IMG] word": change_embeddings(
        lambda model, **given: {"region_words": torch.zeros_like(given["region_words"])}
    ),
    "whole picture missing": change_embeddings(
        lambda model, **given: {
            "region_mask": given["region_mask"] & (torch.arange(6) > 0),
        }
    ),
    "padded regions attended to": change_embeddings(
        lambda model, **given: {"region_mask": torch.ones_like(given["region_mask"])}
    ),
    "no visual LayerNorm on words": without("visual_ln_text"),
    "no visual LayerNorm on regions": without("visual_ln_object"),
    "no LayerNorm on the sum": without("embedding_LayerNorm"),
    "[END] missing": end_missing,
    "[END] at the regions' position": end_with_the_regions_position,
    "tanh gelu": rough_gelu,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_the_golden_logits(
    golden: Any, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    expected = golden.outputs["outputs.label_logits"]
    assert ((golden.logits() - expected).abs() <= tolerance(expected)).all()
    MISTAKES[mistake](monkeypatch, golden.model)
    assert ((golden.logits() - expected).abs() > 3 * tolerance(expected)).any()


# ---------------------------------------------------------------- formulas


def slow_geometry(box: list[float], width: float, height: float, size: int) -> list[float]:
    """Written down number by number: for x, y, w, h in percent, first all sines, then all
    cosines."""
    x1, y1, x2, y2 = box
    place = [
        (x1 + x2) / 2 / width * 100,
        (y1 + y2) / 2 / height * 100,
        (x2 - x1) / width * 100,
        (y2 - y1) / height * 100,
    ]
    waves = size // 8
    numbers = []
    for coordinate in place:
        for function in (math.sin, math.cos):
            for wave in range(waves):
                numbers.append(function(coordinate / 1000 ** (wave / waves)))
    return numbers


@pytest.mark.parametrize("size", [8, 64, 2048])
def test_the_geometry_embedding_is_that_of_the_official_formula(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 5, 4, generator=generator, dtype=torch.float64) * 300
    sizes = torch.tensor([[400.0, 300.0], [96.0, 96.0], [333.0, 500.0]], dtype=torch.float64)
    found = geometry_embedding(boxes, sizes, size)
    assert found.shape == (3, 5, size)
    for picture in range(3):
        width, height = sizes[picture].tolist()
        for region in range(5):
            expected = slow_geometry(boxes[picture, region].tolist(), width, height, size)
            np.testing.assert_allclose(found[picture, region].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("count", range(11))
def test_a_soft_target_grows_by_three_tenths_up_to_one(count: int) -> None:
    answers = ("red",) * count + ("violet",) * (10 - count)
    found = soft_targets(answers, {"blue": 0, "red": 1})
    assert set(found) <= {1}  # violet is not in the vocabulary
    expected = {0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9}.get(count, 1.0)
    assert found.get(1, 0.0) == pytest.approx(expected, abs=1e-12)


def test_every_answer_that_was_given_has_its_soft_target() -> None:
    answers = ("a",) * 5 + ("b",) * 3 + ("c",) * 2
    expected = {0: 1.0, 1: 0.9, 2: 0.6}
    assert soft_targets(answers, {"a": 0, "b": 1, "c": 2, "d": 3}) == pytest.approx(expected)


def test_the_loss_is_summed_over_answers_and_averaged_over_questions() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 7, generator=generator, dtype=torch.float64) * 3
    targets = torch.rand(3, 7, generator=generator, dtype=torch.float64)
    total = 0.0
    for x, t in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        share = 1 / (1 + math.exp(-x))
        total -= t * math.log(share) + (1 - t) * math.log(1 - share)
    assert float(vqa_loss(logits, targets)) == pytest.approx(total / 3, rel=1e-10)


def test_at_the_start_pictures_contribute_nothing(golden: Any) -> None:
    fresh = VLBertForVQA(golden.model.config, *golden.model.special).eval()
    golden.model = fresh
    with_picture = golden.logits()
    golden.appearance = golden.appearance + 3.0
    assert torch.equal(golden.logits(), with_picture)
