"""VL-BERT's question answering against outputs of the official code: from the folder vlbert_vqa of
HARNESS_GOLDENS, and from a small copy of its figures here, so that it runs anywhere.

vlbert_vqa_small.safetensors holds the official weights by the official names, inputs and outputs of
two questions of the three (one has padded words, the other padded regions), cut down by selection
alone: the first 40 answers, the words that occur (renumbered) and the first 16 positions.
vlbert_vqa_loss.safetensors holds the official logits, targets and loss as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.baselines.vlbert import vqa_loss

HERE = Path(__file__).parent
GOLDENS = Path(os.environ.get("HARNESS_GOLDENS", HERE.parents[2] / "shared" / "goldens"))
FOLDER = GOLDENS / "vlbert_vqa"

Excess = Callable[[Tensor, Tensor], float]

here_only = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"no golden vectors at {FOLDER}; name their folder in HARNESS_GOLDENS",
)


@here_only
def test_the_official_logits_and_loss_come_out(
    load_golden: Callable[[Path], Any], excess: Excess
) -> None:
    golden = load_golden(FOLDER)
    outputs = golden.outputs
    logits = golden.logits()
    assert excess(logits, outputs["outputs.label_logits"]) <= 0
    assert excess(logits, outputs["outputs.train.label_logits"]) <= 0
    loss = vqa_loss(logits, outputs["outputs.train.label"])
    assert excess(loss, outputs["outputs.train.ans_loss"]) <= 0


def test_the_official_logits_come_out_of_the_small_copy(
    load_golden: Callable[[Path], Any], excess: Excess
) -> None:
    golden = load_golden(HERE / "vlbert_vqa_small.safetensors")
    assert excess(golden.logits(), golden.outputs["outputs.label_logits"]) <= 0


def test_the_official_loss_comes_out_of_the_official_logits(excess: Excess) -> None:
    kept = load_file(HERE / "vlbert_vqa_loss.safetensors")
    loss = vqa_loss(kept["outputs.train.label_logits"], kept["outputs.train.label"])
    assert excess(loss, kept["outputs.train.ans_loss"]) <= 0


@here_only
def test_the_small_copy_is_a_part_of_the_golden_vectors(load_golden: Callable[[Path], Any]) -> None:
    if "HARNESS_GOLDENS" in os.environ:
        pytest.skip("the copy is of the vectors beside this checkout")
    whole, small = load_golden(FOLDER), load_golden(HERE / "vlbert_vqa_small.safetensors")
    rows, answers = [1, 2], slice(0, 40)
    torch.testing.assert_close(
        small.outputs["outputs.label_logits"],
        whole.outputs["outputs.label_logits"][rows, answers],
        rtol=0,
        atol=0,
    )
    state, part = whole.model.state_dict(), small.model.state_dict()
    assert set(state) == set(part)
    cut = {name for name in state if state[name].shape != part[name].shape}
    assert cut == {
        "vlbert.word_embeddings.weight",
        "vlbert.position_embeddings.weight",
        "final_mlp.2.weight",
        "final_mlp.2.bias",
    }
    assert all(torch.equal(state[name], part[name]) for name in state if name not in cut)


def test_a_weight_of_another_name_is_not_passed_over(load_golden: Callable[[Path], Any]) -> None:
    golden = load_golden(HERE / "vlbert_vqa_small.safetensors")
    state = golden.model.state_dict()
    state["vlbert.end_embeddings.weight"] = state.pop("vlbert.end_embedding.weight")
    with pytest.raises(RuntimeError, match="end_embedding"):
        golden.model.load_state_dict(state, strict=True)
