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

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.baselines import bert, vlbert
from harness.baselines.vlbert import RegionProjection, VLBertConfig, geometry_embedding
from harness.baselines.vlbert_pretraining import (
    PretrainingLosses,
    VLBertForPretraining,
    masked_region_loss,
    masked_word_loss,
)

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("HARNESS_GOLDENS", "")) / "vlbert_pretrain"
SMALL = HERE / "vlbert_pretraining_small.safetensors"
LOSSES = HERE / "vlbert_pretraining_loss.safetensors"

Change = Callable[[pytest.MonkeyPatch, VLBertForPretraining], None]


class Golden:
    """The network with official weights, the inputs and the official outputs."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            sizes = json.loads((path / "config.json").read_text(encoding="utf-8"))
            tensors = load_file(path / "weights.safetensors") | load_file(path / "io.safetensors")
        else:
            with safe_open(path, framework="pt") as file:
                sizes = file.metadata()
            tensors = load_file(path)
        self.io = {k: v for k, v in tensors.items() if k.startswith(("inputs.", "outputs."))}
        weights = {k: v for k, v in tensors.items() if k not in self.io}
        words, hidden = weights["vlbert.word_embeddings.weight"].shape
        decoder = "vlbert.mlm_head.predictions.decoder.weight"
        weights.setdefault(decoder, weights["vlbert.word_embeddings.weight"])
        boxes = self.io["inputs.boxes"]
        appearance = boxes.shape[-1] - 4
        both = weights["image_feature_extractor.obj_downsample.1.weight"].shape[1]
        config = VLBertConfig(
            vocab_size=words,
            hidden_size=hidden,
            num_hidden_layers=len({k.split(".")[3] for k in weights if ".encoder.layer." in k}),
            num_attention_heads=int(sizes["num_attention_heads"]),
            intermediate_size=len(weights["vlbert.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(weights["vlbert.position_embeddings.weight"]),
            appearance_size=appearance,
            geometry_size=both - appearance,
            region_classes=len(weights["vlbert.mvrc_head.region_cls_pred.bias"]),
        )
        self.model = VLBertForPretraining(config).eval()
        self.model.load_state_dict(weights, strict=True)
        self.mask = boxes[..., 0] > -1.5
        self.masked = self.io["inputs.mvrc_ops"] == 1

    def logits(self) -> dict[str, Tensor]:
        """The project's logits under the official names."""
        boxes = self.io["inputs.boxes"]
        with torch.inference_mode():
            words, regions = self.model(
                self.io["inputs.caption"],
                boxes[..., :4],
                boxes[..., 4:],
                self.io["inputs.im_info"][:, :2],
                self.mask,
                self.masked,
            )
            text = self.model.read_text(self.io["inputs.aux_text"])
        return {"mlm_logits_wvc": words, "mlm_logits_aux": text, "mvrc_logits": regions}

    def official(self, name: str) -> Tensor:
        return self.io[f"outputs.0.{name}"]


def excess(found: Tensor, golden: Tensor) -> float:
    """How far beyond the tolerance, as the design defines the same result; 0 or less if within."""
    assert found.shape == golden.shape
    assert found.dtype == golden.dtype == torch.float32
    return float(((found - golden).abs() - (1e-5 + 1e-6 * golden.abs())).max())


# ---------------------------------------------------------------- parity


@pytest.mark.skipif(not FOLDER.is_dir(), reason="HARNESS_GOLDENS names no folder of golden vectors")
def test_the_official_logits_and_losses_come_out() -> None:
    golden = Golden(FOLDER)
    found = golden.logits()
    for name, logits in found.items():
        assert excess(logits, golden.official(name)) <= 0, name
    losses = PretrainingLosses(
        words=masked_word_loss(found["mlm_logits_wvc"], golden.io["inputs.mlm_labels"]),
        text=masked_word_loss(found["mlm_logits_aux"], golden.io["inputs.aux_mlm_labels"]),
        regions=masked_region_loss(found["mvrc_logits"], golden.io["inputs.mvrc_labels"]),
    )
    assert excess(losses.words, golden.official("mlm_loss_wvc")) <= 0
    assert excess(losses.text, golden.official("mlm_loss_aux")) <= 0
    assert excess(losses.regions, golden.official("mvrc_loss")) <= 0
    assert excess(losses.total, golden.io["outputs.1"]) <= 0


def test_the_official_logits_come_out_of_the_small_copy() -> None:
    golden = Golden(SMALL)
    for name, logits in golden.logits().items():
        assert excess(logits, golden.official(name)) <= 0, name


@pytest.mark.parametrize("unlabelled", [0, 3])
def test_the_official_losses_come_out_of_the_official_logits(unlabelled: int) -> None:
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


def change_embeddings(change: Callable[..., dict[str, Tensor]]) -> Change:
    """`change` gets the model and the arguments of VisualLinguisticBert.forward by name."""
    names = (
        *("tokens", "segments", "token_mask", "token_visuals"),
        *("region_words", "region_visuals", "region_mask"),
    )

    def apply(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
        original = model.vlbert.forward

        def forward(*given: Tensor) -> object:
            arguments = dict(zip(names, given, strict=True))
            return original(**(arguments | change(model, **arguments)))

        patch.setattr(model.vlbert, "forward", forward)

    return apply


def set_weight(name: str, change: Callable[[VLBertForPretraining], Tensor]) -> Change:
    """`change` gives another value for the parameter `name`."""

    def apply(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
        with torch.no_grad():
            model.get_parameter(name).copy_(change(model))

    return apply


def replaced(name: str, part: Callable[[], nn.Module]) -> Change:
    """The submodule `name` with another in its place."""

    def apply(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, part())

    return apply


def geometry_after_appearance(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
    def forward(self: RegionProjection, boxes: Tensor, seen: Tensor, size: Tensor) -> Tensor:
        place = geometry_embedding(boxes, size, self.geometry_size)
        out: Tensor = self.obj_downsample(torch.cat([seen, place], dim=-1))
        return out

    patch.setattr(RegionProjection, "forward", forward)


def regions_counted_up(model: VLBertForPretraining, **given: Tensor) -> dict[str, Tensor]:
    after = given["token_mask"].sum(dim=1)[:, None]
    positions = model.vlbert.position_embeddings
    places = (after + torch.arange(given["region_mask"].shape[1])).clamp(max=19)
    return {"region_words": given["region_words"] + positions(places) - positions(after)}


def regions_in_segment_1(model: VLBertForPretraining, **given: Tensor) -> dict[str, Tensor]:
    segments = model.vlbert.token_type_embeddings.weight
    return {"region_words": given["region_words"] + segments[1] - segments[2]}


def end_missing(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
    patch.setattr(vlbert, "pack", lambda parts, masks: bert.pack(parts[:2], masks[:2]))


def linear_regions(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
    head = model.vlbert.mvrc_head
    patch.setattr(head.transform, "forward", head.transform.dense.forward)


def another_region_hidden(patch: pytest.MonkeyPatch, model: VLBertForPretraining) -> None:
    """The next region is hidden instead."""
    original: Callable[..., object] = model.forward

    def forward(*given: Tensor) -> object:
        return original(*given[:-1], given[-1].roll(1, dims=1))

    patch.setattr(model, "forward", forward)


def whole_picture_of_the_text(model: VLBertForPretraining, **given: Tensor) -> dict[str, Tensor]:
    if given["region_mask"].shape[1]:
        return {}
    return {"token_visuals": torch.zeros_like(given["token_visuals"])}


def a_region_beside_the_text(model: VLBertForPretraining, **given: Tensor) -> dict[str, Tensor]:
    if given["region_mask"].shape[1]:
        return {}
    one = given["token_visuals"][:, :1]
    words = model.object_linguistic_embeddings.weight.expand_as(one)
    real = torch.ones(len(one), 1, dtype=torch.bool)
    return {"region_words": words, "region_visuals": one, "region_mask": real}


MISTAKES: dict[str, Change] = {
    "geometry after appearance": geometry_after_appearance,
    "caption in segment 1": change_embeddings(
        lambda model, **given: {"segments": torch.ones_like(given["segments"])}
    ),
    "regions in segment 1": change_embeddings(regions_in_segment_1),
    "region positions counted up": change_embeddings(regions_counted_up),
    "[END] missing": end_missing,
    "words do not see the picture": change_embeddings(
        lambda model, **given: {"token_visuals": torch.zeros_like(given["token_visuals"])}
    ),
    "padded regions attended to": change_embeddings(
        lambda model, **given: {"region_mask": torch.ones_like(given["region_mask"])}
    ),
    "no LayerNorm on words' visuals": replaced("vlbert.visual_ln_text", nn.Identity),
    "no LayerNorm on regions' visuals": replaced("vlbert.visual_ln_object", nn.Identity),
    "no LayerNorm on the sum": replaced("vlbert.embedding_LayerNorm", nn.Identity),
    "no LayerNorm in the word head": replaced(
        "vlbert.mlm_head.predictions.transform.LayerNorm", nn.Identity
    ),
    "no gelu in the region head": linear_regions,
    "a LayerNorm in the region head": replaced(
        "vlbert.mvrc_head.region_cls_pred", lambda: nn.Sequential(nn.LayerNorm(48))
    ),
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
    "text alone sees no learned vector": change_embeddings(whole_picture_of_the_text),
    "text alone has a region": change_embeddings(a_region_beside_the_text),
    "text alone sees the [IMG] word": set_weight(
        "aux_text_visual_embedding.weight", lambda model: model.object_linguistic_embeddings.weight
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_the_golden_logits(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    golden = Golden(SMALL)
    MISTAKES[mistake](monkeypatch, golden.model)
    changes = []
    for name, logits in golden.logits().items():
        official = golden.official(name)
        if logits.shape != official.shape:  # a head of another size
            changes.append(float("inf"))
        else:
            changes.append(
                float(((logits - official).abs() / (1e-5 + 1e-6 * official.abs())).max())
            )
    assert max(changes) > 3


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
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    kept = load_file(LOSSES)
    logits, targets = (
        F.pad(kept[name], (0, 0, 0, 3))[None] for name in ("mvrc_logits", "mvrc_labels")
    )
    assert excess(masked_region_loss(logits, targets), kept["mvrc_loss"]) <= 0
    assert excess(loss(logits, targets), kept["mvrc_loss"]) > 3e-5
