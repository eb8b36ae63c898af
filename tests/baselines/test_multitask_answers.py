"""VL-BERT as an answerer, from a folder of weights: what an answer depends on, and any question
there may be. test_multitask.py holds the other predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.baselines.multitask_folder import read_folder
from harness.baselines.multitask_model import MultitaskModel, load_multitask
from harness.baselines.multitask_vision import Visuals
from harness.baselines.region_encoder import RegionConfig, find_regions
from harness.media.checksums import sha256_of_file
from harness.types import Answer, LoadRequest, Picture, Question


def answerer(folder: Path) -> MultitaskModel:
    return load_multitask(LoadRequest("vqa", "toybox", weights=folder), "vlbert")


@pytest.fixture(scope="module")
def model(tiny_weights: Callable[..., Path]) -> MultitaskModel:
    return answerer(tiny_weights())


def ask(model: MultitaskModel, *questions: Question) -> list[Answer]:
    return cast(list[Answer], model.answer(questions))


def noise(name: str, seed: int, height: int = 40, width: int = 60) -> Picture:
    """Grey, with up to four squares of random colours."""
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    generator = np.random.default_rng(seed)
    for _ in range(1 + seed % 4):
        y, x = int(generator.integers(0, height - 12)), int(generator.integers(0, width - 12))
        pixels[y : y + 10, x : x + 10] = generator.integers(0, 256, 3)
    return Picture(name, lambda: pixels)


# ---------------------------------------------------------------- what an answer depends on


def test_the_order_of_words_matters(tiny_weights: Callable[..., Path]) -> None:
    network = read_folder(tiny_weights())[0].eval().network
    visuals = Visuals(torch.ones(2, 1, 16), torch.ones(2, 1, dtype=torch.bool))
    with torch.inference_mode():
        logits = network.answer_logits(torch.tensor([[6, 7, 8], [8, 7, 6]]), visuals)
    assert (logits[0] - logits[1]).abs().max() > 1e-2


@pytest.mark.parametrize("regions", ["segments", "grid"])
def test_who_sees_depends_on_the_picture(tiny_weights: Callable[..., Path], regions: str) -> None:
    asked = [Question(noise(str(seed), seed), "Is it red?") for seed in range(8)]
    answers = ask(answerer(tiny_weights(regions)), *asked)
    assert len({answer.confidence for answer in answers}) == 8


def test_who_sees_nothing_has_one_region_and_decodes_nothing() -> None:
    def read() -> Any:
        raise AssertionError("a blind model looked at a picture")

    found = find_regions(Picture("unreadable", read), RegionConfig(kind="none"))
    assert found.boxes.shape == (1, 4)
    assert not found.crops.any()


@pytest.mark.parametrize("regions", ["segments", "grid", "none"])
def test_an_answer_does_not_depend_on_what_is_asked_beside_it(
    tiny_weights: Callable[..., Path], regions: str
) -> None:
    """Pictures of several sizes, and questions of several lengths."""
    model = answerer(tiny_weights(regions))
    pictures = [noise(str(seed), seed, 30 + 7 * seed) for seed in range(5)]
    asked = [
        Question(pictures[n % 5], "Is there " + "a red thing to the left " * (n % 3) + "?")
        for n in range(15)
    ]
    together = ask(model, *asked)
    for question, expected in zip(asked, together, strict=True):
        (alone,) = ask(model, question)
        assert alone.text == expected.text
        assert alone.confidence == pytest.approx(expected.confidence, abs=1.2e-5)


def test_questions_about_one_picture_read_it_once(model: MultitaskModel) -> None:
    reads: list[int] = []
    pixels = noise("once", 3).read()
    picture = Picture("once", lambda: reads.append(1) or pixels)  # type: ignore[func-returns-value]
    ask(model, *(Question(picture, f"How many {n}?") for n in range(4)))
    ask(model, Question(picture, "Is it red?"))
    assert len(reads) == 1


def test_the_answer_is_the_greatest_logit_even_where_probabilities_round_to_one(
    model: MultitaskModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.tensor([[20.0, 18.0, 30.0, 25.0, -3.0]])
    monkeypatch.setattr(model.seer.network, "answer_logits", lambda *given: logits)
    (answer,) = ask(model, Question(noise("a", 0), "Is it red?"))
    assert answer.text == model.config.answers[2]
    assert answer.confidence == 1.0


# ---------------------------------------------------------------- any question, any sizes


def assert_answered(model: MultitaskModel, text: str) -> None:
    (answer,) = ask(model, Question(noise("a", 0), text))
    assert answer.text in model.config.answers
    assert answer.confidence is not None
    assert 0 <= answer.confidence <= 1


@pytest.mark.parametrize("text", ["", "?", "zzz qqq " * 100, "\u2028🦊", "[PAD] [MASK]", "\ud800"])
def test_a_strange_question_gets_an_answer(model: MultitaskModel, text: str) -> None:
    assert_answered(model, text)


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=80))
def test_any_question_gets_an_answer(model: MultitaskModel, text: str) -> None:
    assert_answered(model, text)


def test_a_model_of_one_layer_answers(tiny_weights: Callable[..., Path]) -> None:
    assert_answered(answerer(tiny_weights(num_hidden_layers=1)), "Is it red?")


def test_a_loaded_model_is_described(tiny_weights: Callable[..., Path]) -> None:
    folder = tiny_weights("grid")
    seer, vocabulary, config = read_folder(folder)
    assert len(vocabulary.words) == config.network.vocab_size
    assert all(value.dtype == torch.float32 for value in seer.state_dict().values())
    described = answerer(folder).description
    assert described.weights_sha256 == sha256_of_file(folder / "model.safetensors")
    assert described.parameters == sum(value.numel() for value in seer.state_dict().values())
    assert described.options["regions"] == "grid"
