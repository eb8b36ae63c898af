"""How questions meet regions: named things by hand numbers, and what padding may not change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.baselines.nce_matching import SeenThroughQuestion, WordsOnThings
from harness.baselines.text_inputs import rows_of_tags
from harness.baselines.words import SPECIAL, Vocabulary


def words_on_things() -> WordsOnThings:
    """One whose queries are the words' states themselves."""
    model = WordsOnThings(4, 4)
    with torch.no_grad():
        model.query.weight.copy_(torch.eye(4))
        model.query.bias.zero_()
    return model


STATES = torch.tensor([[[2.0, 0, 0, 0], [0, 4.0, 0, 0]]])
REGIONS = torch.tensor([[[1.0, 1, 0, 0], [3.0, 0, 0, 0], [0, 5.0, 0, 0]]])
MASK = torch.ones(1, 3, dtype=torch.bool)
BOTH = torch.ones(1, 2, dtype=torch.bool)


def test_a_word_that_names_a_thing_meets_that_thing_alone() -> None:
    named = torch.tensor([[1, 2]])
    scores = words_on_things()(STATES, BOTH, named, REGIONS, MASK)
    # 2 * 3 / sqrt(4) + 4 * 5 / sqrt(4)
    assert scores.tolist() == pytest.approx([13.0])
    swapped = words_on_things()(STATES, BOTH, torch.tensor([[2, 1]]), REGIONS, MASK)
    assert swapped.tolist() == pytest.approx([0.0])


def test_any_other_word_meets_all_the_regions_the_best_counting_most() -> None:
    scores = words_on_things()(STATES, BOTH, torch.tensor([[1, 0]]), REGIONS, MASK)
    anywhere = math.log((math.exp(2) + math.exp(0) + math.exp(10)) / 3)
    assert scores.tolist() == pytest.approx([3 + anywhere])


def test_a_tag_of_no_thing_counts_as_any_other_word() -> None:
    model = words_on_things()
    beyond = model(STATES, BOTH, torch.tensor([[1, 9]]), REGIONS, MASK)
    assert torch.equal(beyond, model(STATES, BOTH, torch.tensor([[1, 0]]), REGIONS, MASK))
    masked = torch.tensor([[True, True, False]])
    padding = model(STATES, BOTH, torch.tensor([[1, 2]]), REGIONS, masked)
    assert torch.equal(padding, model(STATES, BOTH, torch.tensor([[1, 0]]), REGIONS, masked))


def padded(values: Tensor, count: int) -> Tensor:
    return torch.cat([values, torch.ones(1, count, values.shape[2])], dim=1)


def test_padded_words_and_regions_have_no_say() -> None:
    model = words_on_things()
    named, no_word = torch.tensor([[1, 0]]), torch.zeros(1, 2)
    alone = model(STATES, BOTH, named, REGIONS, MASK)
    beside = model(
        padded(STATES, 2),
        torch.cat([BOTH, no_word.bool()], dim=1),
        torch.cat([named, no_word.long()], dim=1),
        padded(REGIONS, 2),
        torch.cat([MASK, no_word.bool()], dim=1),
    )
    assert torch.allclose(alone, beside)


def test_a_picture_seen_through_a_question_depends_on_both_and_on_no_padding() -> None:
    torch.manual_seed(0)
    model = SeenThroughQuestion(6, 4, queries=2).eval()
    asked = torch.randn(2, 6)
    once, _ = model(asked, REGIONS.expand(2, -1, -1), MASK.expand(2, -1))
    assert not torch.allclose(once[0], once[1], atol=1e-3)
    other, _ = model(asked[:1], REGIONS.flip(2), MASK)
    assert not torch.allclose(once[:1], other, atol=1e-3)
    mask = torch.cat([MASK, torch.zeros(1, 2, dtype=torch.bool)], dim=1)
    assert torch.allclose(once[:1], model(asked[:1], padded(REGIONS, 2), mask)[0], atol=1e-6)


def test_how_many_regions_fit_is_seen() -> None:
    torch.manual_seed(0)
    model = SeenThroughQuestion(6, 4, queries=2).eval()
    asked, two = torch.randn(1, 6), REGIONS[:, 1:2].expand(-1, 2, -1)
    one, _ = model(asked, REGIONS[:, 1:2], MASK[:, :1])
    other, (_, fits) = model(asked, two, MASK[:, :2])
    assert not torch.allclose(one, other, atol=1e-3)
    assert torch.equal(fits[..., 0], fits[..., 1])


def test_tags_are_found_in_the_vocabulary() -> None:
    vocabulary = Vocabulary([*SPECIAL, "tag0", "red", "tag12", "tags"])
    assert rows_of_tags(vocabulary).tolist() == [0, 0, 0, 0, 0, 1, 0, 13, 0]
