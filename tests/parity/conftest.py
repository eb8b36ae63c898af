"""What the tests of VL-BERT's heads share: golden vectors, the tolerance, and mistakes in the
network below a head, which each of them must see. Knows no head: a test file builds its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.baselines import bert, vlbert
from harness.baselines.vlbert import (
    RegionProjection,
    VisualLinguisticBert,
    VLBertConfig,
    geometry_embedding,
)

ChangeEmbeddings = Callable[[VisualLinguisticBert, Callable[..., dict[str, Tensor]]], None]
Mistake = Callable[[pytest.MonkeyPatch, VisualLinguisticBert], None]


# ---------------------------------------------------------------- golden vectors


@dataclass(frozen=True)
class Golden:
    """Official weights by the official names, and inputs with outputs by theirs."""

    weights: dict[str, Tensor]
    io: dict[str, Tensor]
    heads: int
    special: dict[str, int]  # the ids of [CLS] and [SEP] where the words are renumbered

    @property
    def boxes(self) -> Tensor:
        """(batch, regions, 4 + appearance)."""
        return self.io["inputs.boxes"]

    @property
    def size(self) -> Tensor:
        """(batch, 2)."""
        return self.io["inputs.im_info"][:, :2]

    @property
    def mask(self) -> Tensor:
        """(batch, regions), True where real."""
        return self.boxes[..., 0] > -1.5

    def config(
        self, encoder: str = "vlbert.", regions: str = "image_feature_extractor.", **more: int
    ) -> VLBertConfig:
        """The sizes that the weights have; the names of the encoder's and of the regions' weights
        begin with `encoder` and `regions`."""
        layer = f"{encoder}encoder.layer."
        words, hidden = self.weights[f"{encoder}word_embeddings.weight"].shape
        appearance = self.boxes.shape[-1] - 4
        both = self.weights[f"{regions}obj_downsample.1.weight"].shape[1]
        layers = {k[len(layer) :].split(".")[0] for k in self.weights if k.startswith(layer)}
        return VLBertConfig(
            vocab_size=words,
            hidden_size=hidden,
            num_hidden_layers=len(layers),
            num_attention_heads=self.heads,
            intermediate_size=len(self.weights[f"{layer}0.intermediate.dense.bias"]),
            max_position_embeddings=len(self.weights[f"{encoder}position_embeddings.weight"]),
            appearance_size=appearance,
            geometry_size=both - appearance,
            **more,
        )


@pytest.fixture
def read_golden() -> Callable[[Path], Golden]:
    """Reads a folder of golden vectors, or a copy that is one file. Skips where HARNESS_GOLDENS
    names no such folder."""

    def read(path: Path) -> Golden:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                about = file.metadata()
            special = {name: int(about[name]) for name in ("cls", "sep")}
            return split(load_file(path), int(about["num_attention_heads"]), special)
        if not path.is_dir():
            pytest.skip("HARNESS_GOLDENS names no folder of golden vectors")
        sizes = json.loads((path / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(path / "weights.safetensors") | load_file(path / "io.safetensors")
        return split(tensors, int(sizes["num_attention_heads"]), {})

    def split(tensors: dict[str, Tensor], heads: int, special: dict[str, int]) -> Golden:
        io = {k: v for k, v in tensors.items() if k.startswith(("inputs.", "outputs."))}
        return Golden({k: v for k, v in tensors.items() if k not in io}, io, heads, special)

    return read


@pytest.fixture
def excess() -> Callable[[Tensor, Tensor], float]:
    """How far a result lies beyond the tolerance, as the design defines the same result; 0 or less
    if within."""

    def beyond(found: Tensor, golden: Tensor) -> float:
        assert found.shape == golden.shape
        assert found.dtype == golden.dtype == torch.float32
        return float(((found - golden).abs() - (1e-5 + 1e-6 * golden.abs())).max())

    return beyond


# ---------------------------------------------------------------- mistakes that must show


@pytest.fixture
def change_embeddings(monkeypatch: pytest.MonkeyPatch) -> ChangeEmbeddings:
    """Has an encoder called with other arguments: `change` gets the encoder and the arguments of
    VisualLinguisticBert.forward by name, and gives those that are other."""
    return partial(_change_embeddings, monkeypatch)


def _change_embeddings(
    patch: pytest.MonkeyPatch,
    encoder: VisualLinguisticBert,
    change: Callable[..., dict[str, Tensor]],
) -> None:
    original = encoder.forward
    names = (
        *("tokens", "segments", "token_mask", "token_visuals"),
        *("region_words", "region_visuals", "region_mask"),
    )

    def forward(*given: Tensor, **named: Tensor) -> object:
        arguments = dict(zip(names, given, strict=True)) | named
        return original(**(arguments | change(encoder, **arguments)))

    patch.setattr(encoder, "forward", forward)


def _regions_counted_up(encoder: VisualLinguisticBert, **given: Tensor) -> dict[str, Tensor]:
    after = given["token_mask"].sum(dim=1)[:, None]
    positions = encoder.position_embeddings
    places = (after + torch.arange(given["region_mask"].shape[1])).clamp(max=19)
    return {"region_words": given["region_words"] + positions(places) - positions(after)}


def _regions_in_segment_1(encoder: VisualLinguisticBert, **given: Tensor) -> dict[str, Tensor]:
    segments = encoder.token_type_embeddings.weight
    return {"region_words": given["region_words"] + segments[1] - segments[2]}


def _geometry_after_appearance(patch: pytest.MonkeyPatch, encoder: VisualLinguisticBert) -> None:
    def forward(self: RegionProjection, boxes: Tensor, seen: Tensor, size: Tensor) -> Tensor:
        place = geometry_embedding(boxes, size, self.geometry_size)
        out: Tensor = self.obj_downsample(torch.cat([seen, place], dim=-1))
        return out

    patch.setattr(RegionProjection, "forward", forward)


def _end_missing(patch: pytest.MonkeyPatch, encoder: VisualLinguisticBert) -> None:
    patch.setattr(vlbert, "pack", lambda parts, masks: bert.pack(parts[:2], masks[:2]))


def _without(norm: str) -> Mistake:
    return lambda patch, encoder: setattr(encoder, norm, nn.Identity())


def _embedding(change: Callable[..., dict[str, Tensor]]) -> Mistake:
    return lambda patch, encoder: _change_embeddings(patch, encoder, change)


_MISTAKES: dict[str, Mistake] = {
    "geometry after appearance": _geometry_after_appearance,
    "regions in segment 1": _embedding(_regions_in_segment_1),
    "region positions counted up": _embedding(_regions_counted_up),
    "[END] missing": _end_missing,
    "words do not see the picture": _embedding(
        lambda encoder, **given: {"token_visuals": torch.zeros_like(given["token_visuals"])}
    ),
    "regions without the [IMG] word": _embedding(
        lambda encoder, **given: {"region_words": torch.zeros_like(given["region_words"])}
    ),
    "padded regions attended to": _embedding(
        lambda encoder, **given: {"region_mask": torch.ones_like(given["region_mask"])}
    ),
    "no LayerNorm on words' visuals": _without("visual_ln_text"),
    "no LayerNorm on regions' visuals": _without("visual_ln_object"),
    "no LayerNorm on the sum": _without("embedding_LayerNorm"),
}


@pytest.fixture(params=_MISTAKES)
def spoil_encoder(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[VisualLinguisticBert], None]:
    """Plants a mistake that any head must see in its encoder, or below; one a test."""
    return partial(_MISTAKES[request.param], monkeypatch)
