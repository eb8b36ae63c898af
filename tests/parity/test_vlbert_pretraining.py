"""VL-BERT's pretraining against outputs of the official code: from the folder vlbert_pretrain of
HARNESS_GOLDENS, and from a small copy of its figures here, so that it runs anywhere.

vlbert_pretraining_small.safetensors holds the official weights, inputs and logits, cut down: the
words that occur (renumbered), the first 20 region classes and positions. The matrix over region
features is written for fewer numbers: appearance in a basis of what occurs, geometry over 64 waves
with weights fitted to give the same sums; test_vlbert_vqa.py holds it against the official code as
it is. vlbert_pretraining_loss.safetensors holds the official logits, labels and losses of the
places that have a label.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.baselines.vlbert_pretraining import (
    PretrainingLosses,
    VLBertForPretraining,
    masked_region_loss,
    masked_word_loss,
)

if TYPE_CHECKING:
    from harness.baselines.vlbert import VisualLinguisticBert

    from .conftest import ChangeEmbeddings, Golden

    Excess = Callable[[Tensor, Tensor], float]
    ReadGolden = Callable[[Path], Golden]

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("HARNESS_GOLDENS", "")) / "vlbert_pretrain"
SMALL = HERE / "vlbert_pretraining_small.safetensors"
LOSSES = HERE / "vlbert_pretraining_loss.safetensors"


@pytest.fixture
def small(read_golden: ReadGolden) -> Golden:
    return read_golden(SMALL)


def network(golden: Golden) -> VLBertForPretraining:
    """With the official weights, which may leave out the word head's matrix: it is the words'."""
    weights = {
        "vlbert.mlm_head.predictions.decoder.weight": golden.weights[
            "vlbert.word_embeddings.weight"
        ],
        **golden.weights,
    }
    classes = len(weights["vlbert.mvrc_head.region_cls_pred.bias"])
    model = VLBertForPretraining(golden.config(region_classes=classes)).eval()
    model.load_state_dict(weights, strict=True)
    return model


def logits_of(model: VLBertForPretraining, golden: Golden) -> dict[str, Tensor]:
    """The project's logits under the official names."""
    with torch.inference_mode():
        words, regions = model(
            golden.io["inputs.caption"],
            golden.boxes[..., :4],
            golden.boxes[..., 4:],
            golden.size,
            golden.mask,
            golden.io["inputs.mvrc_ops"] == 1,
        )
        text = model.read_text(golden.io["inputs.aux_text"])
    return {"mlm_logits_wvc": words, "mlm_logits_aux": text, "mvrc_logits": regions}


def official(golden: Golden, name: str) -> Tensor:
    return golden.io[f"outputs.0.{name}"]


# ---------------------------------------------------------------- parity


def test_the_official_logits_and_losses_come_out(read_golden: ReadGolden, excess: Excess) -> None:
    golden = read_golden(FOLDER)
    found = logits_of(network(golden), golden)
    for name, logits in found.items():
        assert excess(logits, official(golden, name)) <= 0, name
    losses = PretrainingLosses(
        words=masked_word_loss(found["mlm_logits_wvc"], golden.io["inputs.mlm_labels"]),
        text=masked_word_loss(found["mlm_logits_aux"], golden.io["inputs.aux_mlm_labels"]),
        regions=masked_region_loss(found["mvrc_logits"], golden.io["inputs.mvrc_labels"]),
    )
    assert excess(losses.words, official(golden, "mlm_loss_wvc")) <= 0
    assert excess(losses.text, official(golden, "mlm_loss_aux")) <= 0
    assert excess(losses.regions, official(golden, "mvrc_loss")) <= 0
    assert excess(losses.total, golden.io["outputs.1"]) <= 0


def test_the_official_logits_come_out_of_the_small_copy(small: Golden, excess: Excess) -> None:
    for name, logits in logits_of(network(small), small).items():
        assert excess(logits, official(small, name)) <= 0, name


@pytest.mark.parametrize("unlabelled", [0, 3])
def test_the_official_losses_come_out_of_the_official_logits(
    unlabelled: int, excess: Excess
) -> None:
    """Also with places beside them that are not to be told."""
    kept = load_file(LOSSES)

    def padded(name: str, value: float) -> Tensor:
        places = kept[name][None]
        beside = places.new_full((1, unlabelled, *places.shape[2:]), value)
        return torch.cat([places, beside], dim=1)

    losses = PretrainingLosses(
        words=masked_word_loss(padded("mlm_logits_wvc", 2.0), padded("mlm_labels_wvc", -1)),
        text=masked_word_loss(padded("mlm_logits_aux", 2.0), padded("mlm_labels_aux", -1)),
        regions=masked_region_loss(padded("mvrc_logits", 2.0), padded("mvrc_labels", 0.0)),
    )
    assert excess(losses.words, kept["mlm_loss_wvc"]) <= 0
    assert excess(losses.text, kept["mlm_loss_aux"]) <= 0
    assert excess(losses.regions, kept["mvrc_loss"]) <= 0
    assert excess(losses.total, kept["loss"]) <= 0


# ---------------------------------------------------------------- mistakes that must show


def assert_seen(model: VLBertForPretraining, golden: Golden) -> None:
    """A mistake that was planted in the model changes its logits."""
    changes = []
    for name, logits in logits_of(model, golden).items():
        right = official(golden, name)
        change = (logits - right).abs() / (1e-5 + 1e-6 * right.abs())
        changes.append(float(change.max()))
    assert max(changes) > 3


def test_a_mistake_in_the_encoder_changes_the_golden_logits(
    small: Golden, spoil_encoder: Callable[[VisualLinguisticBert], None]
) -> None:
    model = network(small)
    spoil_encoder(model.vlbert)
    assert_seen(model, small)


def caption_in_segment_1(encoder: object, **given: Tensor) -> dict[str, Tensor]:
    return {"segments": torch.ones_like(given["segments"])}


def text_alone_sees_no_learned_vector(encoder: object, **given: Tensor) -> dict[str, Tensor]:
    if given["region_mask"].shape[1]:
        return {}
    return {"token_visuals": torch.zeros_like(given["token_visuals"])}


@pytest.mark.parametrize("change", [caption_in_segment_1, text_alone_sees_no_learned_vector])
def test_other_embeddings_change_the_golden_logits(
    small: Golden,
    change_embeddings: ChangeEmbeddings,
    change: Callable[..., dict[str, Tensor]],
) -> None:
    model = network(small)
    change_embeddings(model.vlbert, change)
    assert_seen(model, small)


def test_a_region_beside_the_text_alone_changes_the_golden_logits(
    small: Golden, change_embeddings: ChangeEmbeddings
) -> None:
    model = network(small)

    def a_region(encoder: object, **given: Tensor) -> dict[str, Tensor]:
        if given["region_mask"].shape[1]:
            return {}
        one = given["token_visuals"][:, :1]
        words = model.object_linguistic_embeddings.weight.expand_as(one)
        real = torch.ones(len(one), 1, dtype=torch.bool)
        return {"region_words": words, "region_visuals": one, "region_mask": real}

    change_embeddings(model.vlbert, a_region)
    assert_seen(model, small)


Mistake = Callable[[VLBertForPretraining], object]


def without(norm: str) -> Mistake:
    parent, _, name = norm.rpartition(".")
    return lambda model: setattr(model.get_submodule(parent), name, nn.Identity())


def set_weight(name: str, value: Callable[[VLBertForPretraining], Tensor]) -> Mistake:
    """Another value for the parameter `name`."""
    return lambda model: model.get_parameter(name).data.copy_(value(model))


def linear_regions(model: VLBertForPretraining) -> None:
    head = model.vlbert.mvrc_head
    head.transform = head.transform.dense  # type: ignore[assignment]


def a_layer_norm_on_regions(model: VLBertForPretraining) -> None:
    head = model.vlbert.mvrc_head
    head.transform.register_forward_hook(lambda _, given, out: F.layer_norm(out, out.shape[-1:]))


def another_region_hidden(model: VLBertForPretraining) -> None:
    """The next region is hidden instead."""
    model.register_forward_pre_hook(lambda _, given: (*given[:-1], given[-1].roll(1, dims=1)))


MISTAKES: dict[str, Mistake] = {
    "no LayerNorm in the word head": without("vlbert.mlm_head.predictions.transform.LayerNorm"),
    "no gelu in the region head": linear_regions,
    "a LayerNorm in the region head": a_layer_norm_on_regions,
    "word head without its bias": set_weight(
        "vlbert.mlm_head.predictions.bias", lambda model: torch.zeros(())
    ),
    "masked regions keep the [IMG] word": set_weight(
        "object_mask_word_embedding.weight",
        lambda model: model.object_linguistic_embeddings.weight,
    ),
    "masked regions' appearance is zeros": set_weight(
        "object_mask_visual_embedding.weight", lambda model: torch.zeros(())
    ),
    "another region is masked": another_region_hidden,
    "text alone sees the [IMG] word": set_weight(
        "aux_text_visual_embedding.weight", lambda model: model.object_linguistic_embeddings.weight
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_the_golden_logits(small: Golden, mistake: str) -> None:
    model = network(small)
    MISTAKES[mistake](model)
    assert_seen(model, small)


def hard_targets(logits: Tensor, targets: Tensor) -> Tensor:
    told = targets.sum(dim=-1) > 0.5
    return F.cross_entropy(logits[told], targets[told].argmax(dim=-1))


def every_region(logits: Tensor, targets: Tensor) -> Tensor:
    return -(F.log_softmax(logits, dim=-1) * targets).sum(dim=-1).mean()


def probabilities_averaged(logits: Tensor, targets: Tensor) -> Tensor:
    told = targets.sum(dim=-1) > 0.5
    return -(F.log_softmax(logits, dim=-1) * targets)[told].mean()


@pytest.mark.parametrize("loss", [hard_targets, every_region, probabilities_averaged])
def test_another_region_loss_is_not_the_official_one(
    loss: Callable[[Tensor, Tensor], Tensor], excess: Excess
) -> None:
    kept = load_file(LOSSES)
    logits, targets = (
        F.pad(kept[name], (0, 0, 0, 3))[None] for name in ("mvrc_logits", "mvrc_labels")
    )
    assert excess(masked_region_loss(logits, targets), kept["mvrc_loss"]) <= 0
    assert excess(loss(logits, targets), kept["mvrc_loss"]) > 3e-5
