"""VL-BERT's referring expressions against outputs of the official code: from the folder
vlbert_refcoco of HARNESS_GOLDENS, and from a small copy of its figures here, so that it runs
anywhere.

vlbert_refcoco_small.safetensors is cut down as test_vlbert_pretraining.py says; its outputs are the
official ones, whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from harness.baselines.vlbert_refcoco import VLBertForReferring, referred_region, referring_loss

if TYPE_CHECKING:
    from harness.baselines.vlbert import VisualLinguisticBert

    from .conftest import ChangeEmbeddings, Golden

    Excess = Callable[[Tensor, Tensor], float]
    ReadGolden = Callable[[Path], Golden]

FOLDER = Path(os.environ.get("HARNESS_GOLDENS", "")) / "vlbert_refcoco"
SMALL = Path(__file__).parent / "vlbert_refcoco_small.safetensors"


@pytest.fixture
def small(read_golden: ReadGolden) -> Golden:
    return read_golden(SMALL)


def network(golden: Golden) -> VLBertForReferring:
    """With the official weights."""
    model = VLBertForReferring(golden.config(), **golden.special).eval()
    model.load_state_dict(golden.weights, strict=True)
    return model


def logits_of(model: VLBertForReferring, golden: Golden) -> Tensor:
    with torch.inference_mode():
        boxes, appearance = golden.boxes[..., :4], golden.boxes[..., 4:]
        visuals = model.region_embeddings(boxes, appearance, golden.size)
        out: Tensor = model(golden.io["inputs.expression"], visuals, golden.mask)
        return out


@pytest.mark.parametrize("path", [FOLDER, SMALL], ids=["whole", "small"])
def test_the_official_logits_loss_and_boxes_come_out(
    path: Path, read_golden: ReadGolden, excess: Excess
) -> None:
    golden = read_golden(path)
    logits = logits_of(network(golden), golden)
    assert excess(logits, golden.io["outputs.label_logits"]) <= 0
    assert excess(logits, golden.io["outputs.train.label_logits"]) <= 0
    loss = referring_loss(logits, golden.io["outputs.train.label"], golden.mask)
    assert excess(loss, golden.io["outputs.train.cls_loss"]) <= 0
    best = referred_region(logits, golden.mask)
    assert torch.equal(
        golden.boxes[torch.arange(len(best)), best, :4], golden.io["outputs.pred_boxes"]
    )


def test_the_whole_picture_may_be_the_answer(small: Golden) -> None:
    assert 0 in referred_region(small.io["outputs.label_logits"], small.mask)


def test_a_loss_over_padded_regions_too_is_not_the_official_one(
    small: Golden, excess: Excess
) -> None:
    logits, labels = small.io["outputs.label_logits"], small.io["outputs.train.label"]
    official = small.io["outputs.train.cls_loss"]
    assert excess(referring_loss(logits, labels, small.mask), official) <= 0
    assert excess(referring_loss(logits, labels, torch.ones_like(small.mask)), official) > 3e-5


# ---------------------------------------------------------------- mistakes that must show


def assert_seen(model: VLBertForReferring, golden: Golden) -> None:
    """A mistake that was planted in the model changes its logits."""
    official = golden.io["outputs.label_logits"][golden.mask]
    change = (logits_of(model, golden)[golden.mask] - official).abs()
    assert (change > 3 * (1e-5 + 1e-6 * official.abs())).any()


def test_a_mistake_in_the_encoder_changes_the_golden_logits(
    small: Golden, spoil_encoder: Callable[[VisualLinguisticBert], None]
) -> None:
    model = network(small)
    spoil_encoder(model.vlbert)
    assert_seen(model, small)


def expression_in_segment_1(encoder: object, **given: Tensor) -> dict[str, Tensor]:
    return {"segments": torch.ones_like(given["segments"])}


def sep_missing(encoder: object, **given: Tensor) -> dict[str, Tensor]:
    mask = given["token_mask"]
    return {"token_mask": mask & (mask.cumsum(dim=1) < mask.sum(dim=1, keepdim=True))}


@pytest.mark.parametrize("change", [expression_in_segment_1, sep_missing])
def test_other_embeddings_change_the_golden_logits(
    small: Golden,
    change_embeddings: ChangeEmbeddings,
    change: Callable[..., dict[str, Tensor]],
) -> None:
    model = network(small)
    change_embeddings(model.vlbert, change)
    assert_seen(model, small)


def logits_of_the_neighbouring_region(model: VLBertForReferring) -> None:
    model.final_mlp.register_forward_pre_hook(lambda _, given: (given[0].roll(1, dims=1),))


def no_gelu(model: VLBertForReferring) -> None:
    model.final_mlp[0] = model.final_mlp[0].dense  # type: ignore[assignment]


def a_layer_norm(model: VLBertForReferring) -> None:
    model.final_mlp[1] = nn.LayerNorm(48)


@pytest.mark.parametrize("spoil", [logits_of_the_neighbouring_region, no_gelu, a_layer_norm])
def test_a_mistake_in_the_head_changes_the_golden_logits(
    small: Golden, spoil: Callable[[VLBertForReferring], None]
) -> None:
    model = network(small)
    spoil(model)
    assert_seen(model, small)
