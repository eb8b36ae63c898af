"""VL-BERT's visual commonsense reasoning against outputs of the official code: from the folder
vlbert_vcr of HARNESS_GOLDENS, and from a small copy of its figures here, so that it runs anywhere.

vlbert_vcr_small.safetensors is cut down as test_vlbert_pretraining.py says; its outputs are the
official ones, whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from harness.baselines import bert
from harness.baselines.vlbert_vcr import VLBertForVCR, best_choice_loss, each_choice_loss

if TYPE_CHECKING:
    from harness.baselines.vlbert import VisualLinguisticBert

    from .conftest import ChangeEmbeddings, Golden

    Excess = Callable[[Tensor, Tensor], float]
    ReadGolden = Callable[[Path], Golden]

FOLDER = Path(os.environ.get("HARNESS_GOLDENS", "")) / "vlbert_vcr"
SMALL = Path(__file__).parent / "vlbert_vcr_small.safetensors"


@pytest.fixture
def small(read_golden: ReadGolden) -> Golden:
    return read_golden(SMALL)


def network(golden: Golden) -> VLBertForVCR:
    """With the official weights."""
    config = golden.config("vlbert._module.", "image_feature_extractor.fe.")
    model = VLBertForVCR(config, **golden.special).eval()
    model.load_state_dict(golden.weights, strict=True)
    return model


def logits_of(model: VLBertForVCR, golden: Golden) -> Tensor:
    question, answers = golden.io["inputs.question"], golden.io["inputs.answers"]
    with torch.inference_mode():
        boxes, appearance = golden.boxes[..., :4], golden.boxes[..., 4:]
        visuals = model.region_embeddings(boxes, appearance, golden.size)
        out: Tensor = model(
            question[..., 0],
            question[..., 1],
            answers[..., 0],
            answers[..., 1],
            visuals,
            golden.mask,
        )
        return out


@pytest.mark.parametrize("path", [FOLDER, SMALL], ids=["whole", "small"])
def test_the_official_logits_and_loss_come_out(
    path: Path, read_golden: ReadGolden, excess: Excess
) -> None:
    golden = read_golden(path)
    logits = logits_of(network(golden), golden)
    assert excess(logits, golden.io["outputs.label_logits"]) <= 0
    assert excess(logits, golden.io["outputs.train.label_logits"]) <= 0
    loss = each_choice_loss(logits, golden.io["outputs.train.label"])
    assert excess(loss, golden.io["outputs.train.ans_loss"]) <= 0


def test_the_two_losses_differ(small: Golden, excess: Excess) -> None:
    other = best_choice_loss(small.io["outputs.label_logits"], small.io["outputs.train.label"])
    assert excess(other, small.io["outputs.train.ans_loss"]) > 3e-5


# ---------------------------------------------------------------- mistakes that must show


def error_of(model: VLBertForVCR, golden: Golden) -> Tensor:
    return (logits_of(model, golden) - golden.io["outputs.label_logits"]).abs()


def assert_seen(model: VLBertForVCR, golden: Golden) -> None:
    """A mistake that was planted in the model changes its logits."""
    official = golden.io["outputs.label_logits"]
    assert (error_of(model, golden) > 3 * (1e-5 + 1e-6 * official.abs())).any()


def test_a_mistake_in_the_encoder_changes_the_golden_logits(
    small: Golden, spoil_encoder: Callable[[VisualLinguisticBert], None]
) -> None:
    model = network(small)
    spoil_encoder(model.encoder)
    assert_seen(model, small)


def sep_between_missing(
    tokens: Tensor, segments: Tensor, tags: Tensor, mask: Tensor
) -> tuple[Tensor, ...]:
    """One sentence, as the official code's other setting has it."""
    first = (mask & (segments == 0)).sum(dim=1, keepdim=True) - 1
    keep = mask & (torch.arange(mask.shape[1]) != first)
    kept, real = bert.pack([torch.stack([tokens, segments, tags], dim=-1)], [keep])
    return (*kept.unbind(-1), real)


Sentences = Callable[..., tuple[Tensor, ...]]  # of and to tokens, segments, tags and mask

SENTENCES: dict[str, Sentences] = {
    "choice in segment 0": lambda t, s, g, m: (t, torch.zeros_like(s), g, m),
    "segments swapped": lambda t, s, g, m: (t, 1 - s, g, m),
    "last [SEP] in segment 0": lambda t, s, g, m: (
        *(t, s * (m.cumsum(1) < m.sum(1, keepdim=True))),
        *(g, m),
    ),
    "[SEP] before the choice in segment 1": lambda t, s, g, m: (
        *(t, torch.cat([s[:, 1:], s[:, -1:]], dim=1)),
        *(g, m),
    ),
    "no [SEP] between": sep_between_missing,
    "no tags": lambda t, s, g, m: (t, s, torch.zeros_like(g), m),
    "tags off by one": lambda t, s, g, m: (t, s, (g - 1).clamp(min=0), m),
    "tags one too far": lambda t, s, g, m: (t, s, torch.where(g > 0, g + 1, g), m),
    "tags on the next word": lambda t, s, g, m: (t, s, g.roll(1, dims=1), m),
}

# A choice's segment hardly reaches [CLS] with these weights: the mistake is some 5e-6 large, within
# the tolerance of the golden vectors, though well above what is left when all is right (1e-7).
SUBTLE = {
    "choice in segment 0",
    "last [SEP] in segment 0",
    "[SEP] before the choice in segment 1",
}


@pytest.mark.parametrize("mistake", SENTENCES)
def test_other_sentences_change_the_golden_logits(
    small: Golden, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    model = network(small)
    rounding = error_of(model, small).max()
    original = model._two_sentences
    monkeypatch.setattr(
        model, "_two_sentences", lambda *given: SENTENCES[mistake](*original(*given))
    )
    assert error_of(model, small).max() > 3 * rounding
    if mistake not in SUBTLE:
        assert_seen(model, small)


def second_state(encoder: object, **given: Tensor) -> dict[str, Tensor]:
    return {"read": given["read"] + 1}


def state_of_end(encoder: object, **given: Tensor) -> dict[str, Tensor]:
    real = torch.cat([given["token_mask"], given["region_mask"]], dim=1)
    return {"read": given["read"] + real.sum(dim=1, keepdim=True)}


@pytest.mark.parametrize("change", [second_state, state_of_end])
def test_another_state_pooled_changes_the_golden_logits(
    small: Golden,
    change_embeddings: ChangeEmbeddings,
    change: Callable[..., dict[str, Tensor]],
) -> None:
    model = network(small)
    change_embeddings(model.encoder, change)
    assert_seen(model, small)


def test_a_pooler_without_tanh_changes_the_golden_logits(
    small: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(small)
    pooler = model.encoder.pooler
    monkeypatch.setattr(pooler, "forward", lambda states: pooler.dense(states[:, 0]))
    assert_seen(model, small)
