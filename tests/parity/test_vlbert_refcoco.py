"""VL-BERT's referring expressions against outputs of the official code: from the folder
vlbert_refcoco of HARNESS_GOLDENS, and from a small copy of its figures here, so that it runs
anywhere.

vlbert_refcoco_small.safetensors is cut down as test_vlbert_pretraining.py says; its outputs are the
official ones, whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.baselines import bert, vlbert
from harness.baselines.vlbert import RegionProjection, VLBertConfig, geometry_embedding
from harness.baselines.vlbert_refcoco import VLBertForReferring, referred_region, referring_loss

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("HARNESS_GOLDENS", "")) / "vlbert_refcoco"
SMALL = HERE / "vlbert_refcoco_small.safetensors"

Change = Callable[[pytest.MonkeyPatch, VLBertForReferring], None]


class Golden:
    """The network with official weights, the inputs and the official outputs."""

    def __init__(self, path: Path) -> None:
        special = {}
        if path.is_dir():
            sizes = json.loads((path / "config.json").read_text(encoding="utf-8"))
            tensors = load_file(path / "weights.safetensors") | load_file(path / "io.safetensors")
        else:
            with safe_open(path, framework="pt") as file:
                sizes = file.metadata()
            special = {name: int(sizes[name]) for name in ("cls", "sep")}
            tensors = load_file(path)
        self.io = {k: v for k, v in tensors.items() if k.startswith(("inputs.", "outputs."))}
        weights = {k: v for k, v in tensors.items() if k not in self.io}
        words, hidden = weights["vlbert.word_embeddings.weight"].shape
        self.boxes = self.io["inputs.boxes"]
        appearance = self.boxes.shape[-1] - 4
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
        )
        self.model = VLBertForReferring(config, **special).eval()
        self.model.load_state_dict(weights, strict=True)
        self.mask = self.boxes[..., 0] > -1.5

    def logits(self) -> Tensor:
        size = self.io["inputs.im_info"][:, :2]
        with torch.inference_mode():
            visuals = self.model.region_embeddings(self.boxes[..., :4], self.boxes[..., 4:], size)
            out: Tensor = self.model(self.io["inputs.expression"], visuals, self.mask)
            return out


def excess(found: Tensor, golden: Tensor) -> float:
    """How far beyond the tolerance, as the design defines the same result; 0 or less if within."""
    assert found.shape == golden.shape
    assert found.dtype == golden.dtype == torch.float32
    return float(((found - golden).abs() - (1e-5 + 1e-6 * golden.abs())).max())


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            FOLDER,
            marks=pytest.mark.skipif(
                not FOLDER.is_dir(), reason="HARNESS_GOLDENS names no folder of golden vectors"
            ),
            id="whole",
        ),
        pytest.param(SMALL, id="small"),
    ],
)
def test_the_official_logits_loss_and_boxes_come_out(path: Path) -> None:
    golden = Golden(path)
    logits = golden.logits()
    assert excess(logits, golden.io["outputs.label_logits"]) <= 0
    assert excess(logits, golden.io["outputs.train.label_logits"]) <= 0
    loss = referring_loss(logits, golden.io["outputs.train.label"], golden.mask)
    assert excess(loss, golden.io["outputs.train.cls_loss"]) <= 0
    best = referred_region(logits, golden.mask)
    assert torch.equal(
        golden.boxes[torch.arange(len(best)), best, :4], golden.io["outputs.pred_boxes"]
    )


def test_the_whole_picture_may_be_the_answer() -> None:
    golden = Golden(SMALL)
    assert 0 in referred_region(golden.io["outputs.label_logits"], golden.mask)


# ---------------------------------------------------------------- mistakes that must show


def change_embeddings(change: Callable[..., dict[str, Tensor]]) -> Change:
    """`change` gets the model and the arguments of VisualLinguisticBert.forward by name."""
    names = (
        *("tokens", "segments", "token_mask", "token_visuals"),
        *("region_words", "region_visuals", "region_mask"),
    )

    def apply(patch: pytest.MonkeyPatch, model: VLBertForReferring) -> None:
        original = model.vlbert.forward

        def forward(*given: Tensor) -> object:
            arguments = dict(zip(names, given, strict=True))
            return original(**(arguments | change(model, **arguments)))

        patch.setattr(model.vlbert, "forward", forward)

    return apply


def replaced(name: str, part: Callable[[], nn.Module]) -> Change:
    """The submodule `name` with another in its place."""

    def apply(patch: pytest.MonkeyPatch, model: VLBertForReferring) -> None:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, part())

    return apply


def geometry_after_appearance(patch: pytest.MonkeyPatch, model: VLBertForReferring) -> None:
    def forward(self: RegionProjection, boxes: Tensor, seen: Tensor, size: Tensor) -> Tensor:
        place = geometry_embedding(boxes, size, self.geometry_size)
        out: Tensor = self.obj_downsample(torch.cat([seen, place], dim=-1))
        return out

    patch.setattr(RegionProjection, "forward", forward)


def regions_counted_up(model: VLBertForReferring, **given: Tensor) -> dict[str, Tensor]:
    after = given["token_mask"].sum(dim=1)[:, None]
    positions = model.vlbert.position_embeddings
    places = (after + torch.arange(given["region_mask"].shape[1])).clamp(max=19)
    return {"region_words": given["region_words"] + positions(places) - positions(after)}


def regions_in_segment_1(model: VLBertForReferring, **given: Tensor) -> dict[str, Tensor]:
    segments = model.vlbert.token_type_embeddings.weight
    return {"region_words": given["region_words"] + segments[1] - segments[2]}


def end_missing(patch: pytest.MonkeyPatch, model: VLBertForReferring) -> None:
    patch.setattr(vlbert, "pack", lambda parts, masks: bert.pack(parts[:2], masks[:2]))


def sep_missing(model: VLBertForReferring, **given: Tensor) -> dict[str, Tensor]:
    mask = given["token_mask"]
    return {"token_mask": mask & (mask.cumsum(dim=1) < mask.sum(dim=1, keepdim=True))}


def read_one_place_on(patch: pytest.MonkeyPatch, model: VLBertForReferring) -> None:
    original: Callable[[Tensor], Tensor] = model.final_mlp.forward
    patch.setattr(model.final_mlp, "forward", lambda states: original(states.roll(1, dims=1)))


def linear_head(patch: pytest.MonkeyPatch, model: VLBertForReferring) -> None:
    model.final_mlp[0] = model.final_mlp[0].dense  # type: ignore[assignment]


MISTAKES: dict[str, Change] = {
    "geometry after appearance": geometry_after_appearance,
    "expression in segment 1": change_embeddings(
        lambda model, **given: {"segments": torch.ones_like(given["segments"])}
    ),
    "regions in segment 1": change_embeddings(regions_in_segment_1),
    "region positions counted up": change_embeddings(regions_counted_up),
    "[END] missing": end_missing,
    "[SEP] missing": change_embeddings(sep_missing),
    "words do not see the picture": change_embeddings(
        lambda model, **given: {"token_visuals": torch.zeros_like(given["token_visuals"])}
    ),
    "regions without the [IMG] word": change_embeddings(
        lambda model, **given: {"region_words": torch.zeros_like(given["region_words"])}
    ),
    "padded regions attended to": change_embeddings(
        lambda model, **given: {"region_mask": torch.ones_like(given["region_mask"])}
    ),
    "logits of the neighbouring region": read_one_place_on,
    "no gelu in the head": linear_head,
    "a LayerNorm in the head": replaced("final_mlp.1", lambda: nn.LayerNorm(48)),
    "no LayerNorm on words' visuals": replaced("vlbert.visual_ln_text", nn.Identity),
    "no LayerNorm on regions' visuals": replaced("vlbert.visual_ln_object", nn.Identity),
    "no LayerNorm on the sum": replaced("vlbert.embedding_LayerNorm", nn.Identity),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_the_golden_logits(monkeypatch: pytest.MonkeyPatch, mistake: str) -> None:
    golden = Golden(SMALL)
    MISTAKES[mistake](monkeypatch, golden.model)
    official = golden.io["outputs.label_logits"][golden.mask]
    change = (golden.logits()[golden.mask] - official).abs()
    assert (change > 3 * (1e-5 + 1e-6 * official.abs())).any()


def test_a_loss_over_padded_regions_too_is_not_the_official_one() -> None:
    golden = Golden(SMALL)
    logits, labels = golden.io["outputs.label_logits"], golden.io["outputs.train.label"]
    official = golden.io["outputs.train.cls_loss"]
    assert excess(referring_loss(logits, labels, golden.mask), official) <= 0
    assert excess(referring_loss(logits, labels, torch.ones_like(golden.mask)), official) > 3e-5
