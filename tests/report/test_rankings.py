"""Which candidates a retrieval run ranked first."""

from __future__ import annotations

import numpy as np

from harness.report.rankings import CAPTIONS, VISUALS, Found, Rankings

SCORES = np.array([[5.0, 1.0, 4.0], [0.0, 2.0, 9.0]])  # two visuals, of two captions and of one


def test_captions_come_best_first_with_whose_they_are() -> None:
    found = Rankings(SCORES, [2, 1]).captions_of(0)
    assert found == [Found(0, 0, 5.0, True), Found(1, 0, 4.0, False), Found(0, 1, 1.0, True)]


def test_visuals_come_best_first() -> None:
    rankings = Rankings(SCORES, [2, 1])
    assert [one.sample for one in rankings.visuals_of(0, 1)] == [1, 0]
    assert rankings.visuals_of(1, 0) == [Found(1, 0, 9.0, True), Found(0, 0, 4.0, False)]


def test_only_the_first_few_are_kept() -> None:
    scores = np.random.default_rng(0).random((30, 30))
    rankings = Rankings(scores, [1] * 30)
    assert len(rankings.captions_of(3)) == CAPTIONS
    assert len(rankings.visuals_of(3, 0)) == VISUALS
    assert rankings.captions_of(3)[0].sample == int(scores[3].argmax())
