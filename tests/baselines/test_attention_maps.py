"""Where VL-BERT and ViLBERT looked: that it is what the networks computed, belongs to the right
words and regions, and moves no prediction."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from harness.baselines.attention_maps import attention_weights, kept_attention
from harness.baselines.multitask_folder import ModelName, MultitaskConfig, build
from harness.baselines.multitask_model import MultitaskModel
from harness.baselines.multitask_vision import VisionConfig
from harness.baselines.region_encoder import RegionConfig, RegionKind
from harness.baselines.vilbert import ViLBertConfig
from harness.baselines.visual_encoder import VisualConfig
from harness.baselines.vlbert import VLBertConfig
from harness.baselines.words import learn_vocabulary
from harness.types import Choice, Expression, ModelDescription, MomentQuery, Question

NAMES: list[ModelName] = ["vlbert", "vilbert"]
TEXT = (
    "is there a red thing to the left of it how many tag0 tag1 tag2 tag3 the big blue small circle "
    "square triangle moves then and what color are green yellow things above , ? ."
)


def network_of(name: ModelName, words: int, heads: int) -> VLBertConfig | ViLBertConfig:
    sizes: dict[str, Any] = {
        "vocab_size": words,
        "hidden_size": 16,
        "num_attention_heads": heads,
        "intermediate_size": 16,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "answers": 3,
    }
    if name == "vlbert":
        return VLBertConfig(
            num_hidden_layers=2,
            appearance_size=8,
            geometry_size=16,
            visual_scale_text_init=0.5,
            visual_scale_object_init=1.0,
            **sizes,
        )
    return ViLBertConfig(
        num_hidden_layers=3,
        v_feature_size=8,
        v_hidden_size=16,
        v_num_hidden_layers=2,
        v_num_attention_heads=heads,
        v_intermediate_size=16,
        bi_hidden_size=16,
        bi_num_attention_heads=heads,
        v_biattention_id=(0, 1),
        t_biattention_id=(1, 2),
        **sizes,
    )


def model_of(name: ModelName, regions: RegionKind = "segments", heads: int = 2) -> MultitaskModel:
    vocabulary = learn_vocabulary([TEXT])
    frames = VisualConfig(side=16, channels=(4, 8), stem=4, size=8, narrow=4, frames=8)
    vision = VisionConfig(
        RegionConfig(kind=regions, side=16, channels=(4, 4, 4)),
        None if regions == "none" else frames,
        appearance_size=8,
        moment_lengths=(2, 3, 5),
    )
    network = network_of(name, len(vocabulary.words), heads)
    config = MultitaskConfig(name, network, vision, ("yes", "no", "red"), ("vqa/toybox",))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seer = build(config, vocabulary)
    return MultitaskModel(seer, vocabulary, config, ModelDescription())


def inputs_of(module: str, count: int) -> list[Any]:
    dataset = import_module(f"harness.tasks.datasets.toybox.{module}").load(None, "val")
    return [sample.input for sample in dataset.samples[:count]]


def questions(count: int = 6) -> list[Question]:
    return list(inputs_of("vqa", count))


def choosing(count: int = 5) -> list[Question]:
    return [
        Question(one.visual, one.text, one.answers, one.kind, one.objects)
        for one in inputs_of("vcr", count)
    ]


# ---------------------------------------------------------------- what is computed


def test_the_weights_are_those_of_scaled_dot_product_attention() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    found = attention_weights(query, key, mask, heads=2)
    q, k = (x.view(2, -1, 2, 4).transpose(1, 2) for x in (query, key))
    every = torch.eye(5).expand(2, 2, 5, 5)  # values that show each weight for itself
    own = F.scaled_dot_product_attention(q, k, every, attn_mask=mask[:, None, None])
    assert torch.allclose(found, own.mean(dim=1), atol=1e-6)
    assert (found[1, :, 3:] == 0).all()


def test_vilberts_weights_are_what_its_last_co_attention_mixed_regions_with() -> None:
    model = model_of("vilbert", heads=1)
    network: Any = model.seer.network
    last = network.network.bert.encoder.c_layer[-1].biattention
    seen: list[Any] = []
    handle = last.register_forward_hook(
        lambda part, given, out: seen.append((part.value1(given[0]), out[1]))
    )
    with kept_attention(model.seer.network) as passes:
        model.answer(questions())
    handle.remove()
    values, words = seen[-1]
    assert torch.allclose(passes[-1].weights @ values, words, atol=1e-5)


def test_vlberts_weights_are_the_columns_of_the_regions() -> None:
    model = model_of("vlbert")
    network: Any = model.seer.network
    last = network.choices.encoder.encoder.layer[-1].attention.self
    seen: list[Any] = []
    handle = last.register_forward_pre_hook(lambda part, given: seen.append(given))
    with kept_attention(model.seer.network) as passes:
        model.answer(questions(1))  # one row: [CLS] words [SEP] [MASK] [SEP] | regions | [END]
    handle.remove()
    states, mask = (tensor.clone() for tensor in seen[-1])
    whole = attention_weights(last.query(states), last.key(states), mask, last.heads)
    words = int((passes[-1].tokens > 0).sum())
    assert torch.equal(passes[-1].weights[0], whole[0, :words, words:-1])


def test_nothing_is_hooked_afterwards() -> None:
    model = model_of("vlbert")
    with pytest.raises(RuntimeError, match="stop"), kept_attention(model.seer.network):
        raise RuntimeError("stop")
    assert not any(part._forward_pre_hooks for part in model.seer.network.modules())


# ---------------------------------------------------------------- what it belongs to


@pytest.mark.parametrize("name", NAMES)
def test_being_watched_changes_no_prediction(name: ModelName) -> None:
    def predicted(model: Any) -> list[Any]:
        return [
            model.answer(questions()),
            model.answer(choosing()),
            model.locate(inputs_of("expressions", 5)),
            model.find_moments(inputs_of("moments", 2)),
        ]

    assert predicted(model_of(name).watched()) == predicted(model_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_question_has_its_words_and_the_regions_of_its_picture(name: ModelName) -> None:
    asked = questions(6)
    watched = model_of(name).watched()
    watched.answer(asked)
    assert len(watched.maps) == 6
    for question, found in zip(asked, watched.maps, strict=True):
        weights = torch.tensor(found["weights"])
        assert weights.shape == (len(found["words"]), len(found["boxes"]))
        assert found["boxes"][0] == [0, 0, *(question.visual.size or ())]
        assert found["words"][0] == "[CLS]"
        assert "[PAD]" not in found["words"]
        total = weights.sum(dim=1)
        assert (total <= 1.01).all()
        if name == "vilbert":  # words attend to regions alone there
            assert (total - 1).abs().max() < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_map_does_not_depend_on_what_is_asked_beside(name: ModelName) -> None:
    asked = [*questions(4), *choosing(3)]
    together, alone = model_of(name).watched(), model_of(name).watched()
    together.answer(asked)
    for one in asked:
        alone.answer([one])
    for a, b in zip(together.maps, alone.maps, strict=True):
        assert (a["words"], a["boxes"]) == (b["words"], b["boxes"])
        assert torch.allclose(torch.tensor(a["weights"]), torch.tensor(b["weights"]), atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_of_a_question_with_choices_the_choice_that_was_taken_is_shown(name: ModelName) -> None:
    asked = [
        Question(one.visual, one.text, ("red", "a big blue circle", "green"), objects=one.objects)
        for one in choosing(4)
    ]
    watched = model_of(name).watched()
    choices = (["red"], ["a", "big", "blue", "circle"], ["green"])
    for answer, found in zip(watched.answer(asked), watched.maps, strict=True):
        assert isinstance(answer, Choice)
        said = found["words"]  # [CLS] query [SEP] choice [SEP]
        first = said.index("[SEP]") + 1
        assert said[first:-1] == choices[answer.index]


@pytest.mark.parametrize("name", NAMES)
def test_things_that_are_named_are_called_as_the_text_calls_them(name: ModelName) -> None:
    thing = choosing(1)[0]
    watched = model_of(name).watched()
    watched.answer([Question(thing.visual, "is [0] red", ("yes", "no"), objects=thing.objects)])
    assert "[0]" in watched.maps[0]["words"]
    assert watched.maps[0]["boxes"][1] == [int(x) for x in thing.objects[0].box]


@pytest.mark.parametrize("name", NAMES)
def test_expressions_and_moments_have_maps_too(name: ModelName) -> None:
    watched = model_of(name).watched()
    expressions: list[Expression] = inputs_of("expressions", 3)
    queries: list[MomentQuery] = inputs_of("moments", 2)
    watched.locate(expressions)
    watched.find_moments(queries)
    assert len(watched.maps) == 5
    assert all("boxes" in found for found in watched.maps[:3])
    for query, found in zip(queries, watched.maps[3:], strict=True):
        assert found["spans"][0] == [0.0, pytest.approx(query.visual.duration, abs=1e-3)]
        assert len(found["spans"]) == len(found["weights"][0]) > 10


@pytest.mark.parametrize("name", NAMES)
def test_who_sees_no_picture_looks_nowhere(name: ModelName) -> None:
    watched = model_of(name, regions="none").watched()
    watched.answer(questions())
    watched.locate(inputs_of("expressions", 2))
    assert watched.maps == []


def test_a_model_that_is_watched_still_says_what_it_is() -> None:
    model: MultitaskModel = model_of("vlbert")
    assert model.watched().description is model.description
    assert import_module("harness.baselines.attention_maps").WatchedModel is type(model.watched())
