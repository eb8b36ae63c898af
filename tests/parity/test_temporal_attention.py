"""Temporal attention against outputs of the official code: from the folder yao of HARNESS_GOLDENS,
and from a copy of its vectors here (weights.* and io.* in one file), so that it runs anywhere. The
mistakes that only a video's model can make are planted and must be seen; the shared decoder's stand
in test_show_attend_tell.py."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.baselines.attention_decoder import AttentionDecoder
from harness.baselines.captioning_losses import caption_costs, doubly_stochastic
from harness.baselines.temporal_attention import from_official

HERE = Path(__file__).parent
GOLDENS = Path(os.environ.get("HARNESS_GOLDENS", HERE.parents[2] / "shared" / "goldens"))
FOLDER = GOLDENS / "yao"
COPY = HERE / "temporal_attention.safetensors"

Vectors = dict[str, Tensor]

here_only = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"no golden vectors at {FOLDER}; name their folder in HARNESS_GOLDENS",
)


def vectors(of: str) -> tuple[Vectors, Vectors]:
    """The official weights, and inputs with outputs."""
    if of == "folder":
        weights, io = (load_file(FOLDER / f"{name}.safetensors") for name in ("weights", "io"))
        return weights, io
    both = load_file(COPY)
    weights, io = (
        {name.removeprefix(start): x for name, x in both.items() if name.startswith(start)}
        for start in ("weights.", "io.")
    )
    return weights, io


def assert_same(found: Tensor, golden: Tensor) -> None:
    """The same result, as the design defines it."""
    assert found.shape == golden.shape
    assert found.dtype == golden.dtype == torch.float32
    excess = (found - golden).abs() - (1e-5 + 1e-6 * golden.abs())
    assert excess.max() <= 0, f"{excess.max():.2e} over the tolerance"


def assert_official(decoder: AttentionDecoder, io: Vectors, frames: Tensor | None) -> None:
    """Cost, attention and regulariser of the golden vectors come out."""
    tokens, mask = io["x"].T, io["mask"].T
    with torch.inference_mode():
        output = decoder(io["ctx"], tokens, mask, frames)
    assert_same(caption_costs(output.logits, tokens, mask), io["cost"])
    assert_same(output.alphas.transpose(0, 1), io["alphas"])
    assert_same(doubly_stochastic(output.alphas, mask, form="official")[None], io["reg"])


@pytest.mark.parametrize("of", ["copy", pytest.param("folder", marks=here_only)])
def test_the_official_outputs_come_out(of: str) -> None:
    weights, io = vectors(of)
    assert_official(from_official(weights), io, io["ctx_mask"])


@here_only
def test_the_copy_is_of_the_golden_vectors() -> None:
    if "HARNESS_GOLDENS" in os.environ:
        pytest.skip("the copy is of the vectors beside this checkout")
    for copy, golden in zip(vectors("copy"), vectors("folder"), strict=True):
        assert set(copy) == set(golden)
        assert all(torch.equal(copy[name], golden[name]) for name in golden)


@pytest.mark.parametrize(
    "options",
    [
        {"lstm_dropout": False},
        {"dropout": "modern"},
        {"dropout": "none"},
        {"prev2out": False},
        {"mask_padding": True},
    ],
    ids=str,
)
def test_another_option_is_caught(options: dict[str, object]) -> None:
    weights, io = vectors("copy")
    decoder = from_official(weights)
    decoder.config = replace(decoder.config, **options)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(decoder, io, io["ctx_mask"])


def test_a_mean_over_padded_frames_is_caught() -> None:
    weights, io = vectors("copy")
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(from_official(weights), io, None)


@pytest.mark.parametrize("order", ["fioc", "ofic", "cfoi", "iofc"])
def test_another_order_of_the_gates_is_caught(order: str) -> None:
    """The dropout on i, f and o but not on c makes this another test than the picture's."""
    weights, io = vectors("copy")
    for name in ("decoder_W", "decoder_U", "decoder_Wc", "decoder_b"):
        parts = dict(zip("ifoc", weights[name].chunk(4, dim=-1), strict=True))
        weights[name] = torch.cat([parts[gate] for gate in order], dim=-1)
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(from_official(weights), io, io["ctx_mask"])


def test_a_selector_left_out_is_caught() -> None:
    weights, io = vectors("copy")
    del weights["decoder_W_sel"], weights["decoder_b_sel"]
    with pytest.raises(AssertionError, match="over the tolerance"):
        assert_official(from_official(weights), io, io["ctx_mask"])
