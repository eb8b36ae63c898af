"""The dual encoder's objectives by hand numbers, and what its encoders may not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.baselines.nce import (
    DualConfig,
    DualEncoder,
    Eye,
    hinge_loss,
    infonce_loss,
    nce_loss,
)
from harness.baselines.region_encoder import RegionBatch
from harness.baselines.visual_encoder import VisualConfig

# two rows of three candidates; the real ones stand at places 0 and 2
SCORES = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3]])
REAL = torch.tensor([0, 2])
ALL = torch.ones(2, 3, dtype=torch.bool)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_nce_classifies_real_pairs_against_k_mismatches_with_log_k_taken_off() -> None:
    k = math.log(2)
    first = -math.log(sigmoid(2 - k)) - sum(math.log(1 - sigmoid(s - k)) for s in (0.5, -1.0))
    second = -math.log(sigmoid(0.3 - k)) - sum(math.log(1 - sigmoid(s - k)) for s in (0.0, 1.0))
    assert nce_loss(SCORES, REAL, ALL).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_without_the_correction_nce_is_dai_and_lins() -> None:
    first = -math.log(sigmoid(2)) - sum(math.log(1 - sigmoid(s)) for s in (0.5, -1.0)) / 2
    second = -math.log(sigmoid(0.3)) - sum(math.log(1 - sigmoid(s)) for s in (0.0, 1.0)) / 2
    loss = nce_loss(SCORES, REAL, ALL, correction=False)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_nces_optimum_is_the_log_ratio_of_real_to_chance() -> None:
    """Three texts, drawn for the picture with p and as mismatches with q: s = log p / q."""
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    scores = (p / q).log().requires_grad_()
    rows = []
    for real in range(3):  # each text as the real one, each pair of texts as its k = 2 mismatches
        for a in range(3):
            for b in range(3):
                row = torch.stack([scores[real], scores[a], scores[b]])[None]
                weight = p[real] * q[a] * q[b]
                loss = nce_loss(row, torch.tensor([0]), torch.ones(1, 3, dtype=torch.bool))
                rows.append(weight * loss)
    (slope,) = torch.autograd.grad(torch.stack(rows).sum(), scores)
    assert slope.abs().max() < 1e-6


def test_infonce_is_cross_entropy_over_the_row() -> None:
    first = -2 + math.log(sum(map(math.exp, (2.0, 0.5, -1.0))))
    second = -0.3 + math.log(sum(map(math.exp, (0.0, 1.0, 0.3))))
    assert infonce_loss(SCORES, REAL, ALL).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_the_hinge_counts_the_hardest_mismatch_or_all() -> None:
    # margins with .2: row 1 none; row 2: 0 + .2 - .3 < 0 and 1 + .2 - .3 = .9
    close = torch.tensor([[2.0, 1.9, 1.85], [0.0, 1.0, 0.3]])
    assert hinge_loss(SCORES, REAL, ALL).item() == pytest.approx(0.9 / 2)
    assert hinge_loss(close, REAL, ALL).item() == pytest.approx((0.1 + 0.9) / 2)
    total = hinge_loss(close, REAL, ALL, hardest=False).item()
    assert total == pytest.approx((0.1 + 0.05 + 0.9) / 2)


@pytest.mark.parametrize("loss", [nce_loss, infonce_loss, hinge_loss])
def test_what_is_not_in_the_mask_has_no_say(loss: object) -> None:
    assert callable(loss)
    mask = ALL.clone()
    mask[0, 1] = mask[1, 1] = False
    changed = SCORES.masked_fill(~mask, 50.0)
    assert torch.isfinite(loss(SCORES, REAL, mask))
    assert torch.equal(loss(SCORES, REAL, mask), loss(changed, REAL, mask))
    assert not torch.equal(loss(SCORES, REAL, mask), loss(SCORES, REAL, ALL))


# ---------------------------------------------------------------- encoders


def network(eye: Eye, tagged: bool = False) -> DualEncoder:
    torch.manual_seed(0)
    visual = VisualConfig(side=16, channels=(8, 8), size=16, narrow=4, frames=4)
    config = DualConfig(
        *(30, eye),
        visual=visual,
        word_size=8,
        text_hidden=8,
        region_size=16,
        region_side=16,
        tagged=tagged,
        size=16,
    )
    return DualEncoder(config).eval()


def test_a_texts_vector_does_not_depend_on_the_padding_beside_it() -> None:
    model = network("pictures")
    short = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, 0, 0, 0], [9, 8, 7, 6, 5, 4]])
    assert torch.allclose(model.embed_texts(short)[0], model.embed_texts(padded)[0], atol=1e-6)


def test_the_order_of_words_matters() -> None:
    model = network("pictures")
    one, other = model.embed_texts(torch.tensor([[5, 6, 7, 8], [8, 6, 7, 5]]))
    assert not torch.allclose(one, other, atol=1e-3)


def test_the_order_of_frames_matters() -> None:
    model = network("clips")
    clip = torch.randint(0, 255, (1, 4, 16, 16, 3), dtype=torch.uint8)
    assert not torch.allclose(
        model.embed_visuals(clip), model.embed_visuals(clip.flip(1)), atol=1e-3
    )


def regions(count: int, padding: int = 0) -> RegionBatch:
    chance = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 255, (1, count, 16, 16, 4), generator=chance, dtype=torch.uint8)
    low = torch.randint(0, 40, (1, count, 2), generator=chance)
    boxes = torch.cat([low, low + 20], dim=2).float()
    mask = torch.ones(1, count, dtype=torch.bool)

    def padded(values: Tensor) -> Tensor:
        return torch.cat([values, torch.zeros(1, padding, *values.shape[2:]).to(values)], dim=1)

    size = torch.tensor([[96.0, 96.0]])
    return RegionBatch(padded(crops), padded(boxes), padded(mask), size)


def test_padded_regions_change_nothing() -> None:
    model = network("regions")
    plain = model.embed_visuals(regions(3), torch.zeros(1, 3, dtype=torch.long))
    padded = model.embed_visuals(regions(3, padding=2), torch.zeros(1, 5, dtype=torch.long))
    assert torch.allclose(plain, padded[:, :3], atol=1e-5)


def test_the_tags_of_things_can_be_told_apart() -> None:
    model = network("regions", tagged=True)
    one = model.embed_visuals(regions(3), torch.tensor([[0, 1, 2]]))
    other = model.embed_visuals(regions(3), torch.tensor([[0, 2, 1]]))
    assert not torch.allclose(one[:, 0], other[:, 0], atol=1e-4)


def test_windows_of_a_clip_differ_by_where_they_begin_and_end() -> None:
    model = network("moments")
    clip = torch.randint(0, 255, (1, 4, 16, 16, 3), dtype=torch.uint8)
    windows = torch.tensor([[0, 2], [2, 4], [0, 4], [0, 2]])
    seen = model.embed_visuals(clip, windows)[0]
    assert seen.shape == (4, 16)
    assert torch.equal(seen[0], seen[3])
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)
    assert not torch.allclose(seen[0], seen[2], atol=1e-3)
