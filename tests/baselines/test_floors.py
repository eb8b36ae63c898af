"""The floors chance and prior, and the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from harness.baselines.floors import Prior, load_chance, load_oracle, load_prior
from harness.errors import BadInput
from harness.tasks.datasets.toybox.vqa import load
from harness.tasks.targets import VqaTarget
from harness.types import Dataset, LoadRequest, Picture, Question, Sample, UniformAnswer

PICTURE = Picture("p", lambda: np.zeros((1, 1, 3), dtype=np.uint8))


def asked(text: str, kind: str) -> Question:
    return Question(PICTURE, text, kind=kind)


def train(*samples: tuple[str, str, tuple[str, ...]]) -> Dataset:
    made = [
        Sample(str(n), asked(text, kind), VqaTarget(answers), "p")
        for n, (text, kind, answers) in enumerate(samples)
    ]
    return Dataset("set", "train", made, "sha")


def test_prior_backs_off_from_the_question_to_its_type_to_all() -> None:
    prior = Prior(
        train(
            ("Is it red?", "is it", ("yes",) * 10),
            ("Is it blue?", "is it", ("no",) * 10),
            ("Is it green?", "is it", ("no",) * 10),
            ("What is it?", "what", ("cat",) * 10 + ("dog",) * 30),
        )
    )
    cases = {
        "yes": asked(" is it RED? ", "is it"),  # the question itself
        "no": asked("Is it pink?", "is it"),  # its type
        "dog": asked("Why?", "why"),  # all
    }
    assert [answer.text for answer in prior.answer(list(cases.values()))] == list(cases)


def test_prior_takes_the_first_seen_of_equally_frequent_answers() -> None:
    prior = Prior(train(("Q?", "k", ("b", "a")), ("Q?", "k", ("a", "b"))))
    assert prior.answer([asked("Q?", "k")])[0].text == "b"


def test_prior_says_what_it_was_fitted_on() -> None:
    options = Prior(train(("Q?", "k", ("a",)))).description.options
    assert options == {"fitted_on": "set/train", "train_sha256": "sha"}


def test_prior_without_a_training_part_says_so() -> None:
    with pytest.raises(BadInput, match="no training part"):
        load_prior(LoadRequest("vqa", "x"))


def test_chance_answers_anything_alike() -> None:
    chance = load_chance(LoadRequest("vqa", "x"))
    assert chance.answer([asked("Q?", "k")] * 3) == [UniformAnswer()] * 3


def test_the_oracle_reads_toyboxs_scenes_and_no_other_pictures() -> None:
    oracle = load_oracle(LoadRequest("vqa", "toybox"))
    samples = load(None, "val").samples[:50]
    for sample, answer in zip(samples, oracle.answer([s.input for s in samples]), strict=True):
        assert answer.text in sample.target.answers
    with pytest.raises(BadInput, match="toybox"):
        load_oracle(LoadRequest("vqa", "easy-vqa"))
    with pytest.raises(BadInput, match="Toybox"):
        oracle.answer([asked("Is there a circle?", "existence")])
