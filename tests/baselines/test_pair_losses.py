"""What a right pair of text and picture is told from: all of its batch, and the hard texts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.baselines.multitask_learning import WithLosses
from harness.baselines.multitask_vision import Visuals

# rows: texts 1 to 3, then their hard texts 4 to 6; columns: pictures 1 to 3
SCORES = torch.tensor(
    [
        [2.0, 0.5, -1.0],
        [0.0, 1.5, 0.3],
        [1.0, -0.5, 2.5],
        [0.7, 9.0, 9.0],
        [9.0, -0.2, 9.0],
        [9.0, 9.0, 0.1],
    ]
)


def learner() -> Any:
    """The loss with a network that looks its scores up in SCORES by the text's one word and the
    picture's one number."""

    def look_up(texts: Tensor, visuals: Visuals, which: Tensor) -> Tensor:
        return SCORES[texts[which, 0] - 1, visuals.states[:, 0, 0].long()]

    return SimpleNamespace(
        seer=SimpleNamespace(network=SimpleNamespace(match_logits=look_up)), negatives="batch"
    )


def loss(rows: list[int]) -> float:
    states = torch.arange(3.0)[:, None, None]
    visuals = Visuals(states, torch.ones(3, 1, dtype=torch.bool))
    texts, foils = torch.tensor([[1], [2], [3]]), torch.tensor([[4], [5], [6]])
    return float(WithLosses._among_all(learner(), texts, foils, torch.tensor(rows), visuals))


def test_a_text_is_told_from_all_texts_and_its_hard_one_a_picture_from_all_pictures() -> None:
    wanted = 0.0
    for i in range(3):
        texts = [*SCORES[:3, i], SCORES[3 + i, i]]
        pictures = [*SCORES[i]]
        for scores in (texts, pictures):
            wanted += float(torch.logsumexp(torch.stack(scores), 0) - SCORES[i, i])
    assert loss([0, 1, 2]) == pytest.approx(wanted / 6, abs=1e-6)


def test_another_text_of_the_same_picture_is_no_wrong_one() -> None:
    found = loss([0, 0, 2])
    # text 2 is of picture 1 too: neither is set against the other
    by_text = [
        torch.stack([SCORES[0, 0], SCORES[0, 2]]),
        torch.stack([SCORES[1, 0], SCORES[1, 2]]),
        torch.stack([SCORES[2, 0], SCORES[2, 0], SCORES[2, 2]]),
    ]
    by_picture = [
        torch.stack([SCORES[0, 0], SCORES[2, 0], SCORES[3, 0]]),
        torch.stack([SCORES[1, 0], SCORES[2, 0], SCORES[4, 0]]),
        torch.stack([SCORES[0, 2], SCORES[1, 2], SCORES[2, 2], SCORES[5, 2]]),
    ]
    right = [SCORES[0, 0], SCORES[1, 0], SCORES[2, 2]]
    each = [
        torch.logsumexp(scores, 0) - own
        for some in (by_text, by_picture)
        for scores, own in zip(some, right, strict=True)
    ]
    assert found == pytest.approx(float(torch.stack(each).sum()) / 6, abs=1e-6)


@pytest.mark.parametrize(("negatives", "own"), [("batch", [0, 3]), ("four", [0, 4])])
def test_own_pairs_are_where_a_text_meets_its_picture(negatives: str, own: list[int]) -> None:
    asked: Any = SimpleNamespace(negatives=negatives)
    assert WithLosses._own_pairs(asked, 2).tolist() == own
