"""VL-BERT and ViLBERT for several tasks against the official networks with the same weights, and
what is computed once against computing it for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.baselines.bert import BertEncoder, at_places
from harness.baselines.multitask_learning import Network
from harness.baselines.multitask_vision import Looked, Visuals
from harness.baselines.text_inputs import pad_texts
from harness.baselines.vilbert import ViLBertConfig, ViLBertOutput, box_locations
from harness.baselines.vilbert_heads import ViLBertForTasks
from harness.baselines.vilbert_multitask import HEADS, ViLBertMultitask
from harness.baselines.vilbert_streams import TwoStreamEncoder
from harness.baselines.vlbert import VLBertConfig, VLBertForVQA
from harness.baselines.vlbert_multitask import VLBertMultitask
from harness.baselines.vlbert_refcoco import VLBertForReferring
from harness.baselines.vlbert_vcr import VLBertForVCR

WORDS, ANSWERS, APPEARANCE = 40, 5, 8
CLS, SEP, MASK = 2, 3, 4
TAG0, TAG1, TAG9 = 10, 11, 12  # words that name regions 1, 2 and 10
NAMES = ["vlbert", "vilbert"]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def network_of(name: str) -> Network:
    torch.manual_seed(1)
    if name == "vlbert":
        return vlbert()
    return ViLBertMultitask(vilbert_config(), CLS, SEP, MASK).eval()


def vlbert() -> VLBertMultitask:
    return VLBertMultitask(vlbert_config(), CLS, SEP, MASK).eval()


def vlbert_config() -> VLBertConfig:
    return VLBertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        appearance_size=APPEARANCE,
        geometry_size=16,
        initializer_range=0.3,
        visual_scale_text_init=0.5,
        visual_scale_object_init=1.0,
        answers=ANSWERS,
    )


def vilbert_config() -> ViLBertConfig:
    return ViLBertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        v_feature_size=APPEARANCE,
        v_hidden_size=16,
        v_num_hidden_layers=2,
        v_num_attention_heads=2,
        v_intermediate_size=16,
        bi_hidden_size=16,
        bi_num_attention_heads=2,
        v_biattention_id=(0, 1),
        t_biattention_id=(1, 2),
        initializer_range=0.3,
        answers=ANSWERS,
    )


def looked() -> Looked:
    """Three pictures of 4, 1 and 3 regions."""
    torch.manual_seed(2)
    corners = torch.rand(3, 4, 2) * 30
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    boxes = torch.cat([corners, corners + torch.rand(3, 4, 2) * 20 + 1], dim=-1)
    appearance = torch.randn(3, 4, APPEARANCE)
    sizes = torch.tensor([[50.0, 60.0], [70.0, 50.0], [64.0, 64.0]])
    return Looked(boxes * mask[..., None], appearance * mask[..., None], mask, sizes)


def only(seen: Looked, row: int) -> Looked:
    """One picture, without padding."""
    real = seen.mask[row]
    return Looked(
        seen.boxes[row][real][None],
        seen.appearance[row][real][None],
        real[real][None],
        seen.sizes[row][None],
    )


TEXTS = torch.tensor(  # of no word, of one and of all
    [[20, 21, TAG0, 22, TAG1, TAG9], [0, 0, 0, 0, 0, 0], [23, 0, 0, 0, 0, 0]]
)
CHOICES = torch.tensor(
    [[[30, TAG1], [31, 32]], [[33, 0], [TAG0, 34]], [[0, 0], [TAG1, TAG9]]],
)


def named() -> Tensor:
    rows = torch.zeros(WORDS, dtype=torch.long)
    rows[TAG0], rows[TAG1], rows[TAG9] = 1, 2, 10
    return rows


def assert_same(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-5 + 1e-6 * wanted.abs().max()


def assert_tells_apart(logits: Tensor) -> None:
    assert logits.isfinite().all()
    assert logits.std() > 1e-3


# ---------------------------------------------------------------- the official networks


def take_weights(theirs: nn.Module, ours: nn.Module) -> None:
    state = ours.state_dict()
    own = theirs.state_dict()
    assert own.keys() <= state.keys()
    assert all("pooler" in name for name in state.keys() - own.keys())  # of the shared trunk
    theirs.load_state_dict({name: state[name] for name in own})


def test_vlbert_answers_as_the_official_network_for_questions() -> None:
    ours, theirs, seen = vlbert(), VLBertForVQA(vlbert_config(), CLS, SEP, MASK).eval(), looked()
    take_weights(theirs, ours.answers)
    visuals = theirs.region_embeddings(seen.boxes, seen.appearance, seen.sizes)
    wanted = theirs(TEXTS, visuals, seen.mask)
    assert_tells_apart(wanted)
    assert_same(ours.answer_logits(TEXTS, ours.see(seen)), wanted)


def test_vlbert_locates_as_the_official_network_for_expressions() -> None:
    ours, theirs, seen = vlbert(), VLBertForReferring(vlbert_config(), CLS, SEP).eval(), looked()
    take_weights(theirs, ours.expressions)
    visuals = theirs.region_embeddings(seen.boxes, seen.appearance, seen.sizes)
    wanted = theirs(TEXTS, visuals, seen.mask)[seen.mask]
    assert_tells_apart(wanted)
    assert_same(ours.region_logits(TEXTS, ours.see(seen))[seen.mask], wanted)


def test_vlbert_chooses_as_the_official_network_for_vcr() -> None:
    ours, theirs, seen = vlbert(), VLBertForVCR(vlbert_config(), CLS, SEP).eval(), looked()
    take_weights(theirs, ours.choices)
    visuals = theirs.region_embeddings(seen.boxes, seen.appearance, seen.sizes)
    # picture 0 has regions 1 and 2, picture 1 neither, picture 2 both; none has region 10
    query_tags = torch.tensor([[0, 0, 1, 0, 2, 0], [0] * 6, [0] * 6])
    choice_tags = torch.tensor([[[0, 2], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [2, 0]]])
    wanted = theirs(TEXTS, query_tags, CHOICES, choice_tags, visuals, seen.mask)
    assert_tells_apart(wanted)
    assert_same(ours.choice_logits(TEXTS, CHOICES, named(), ours.see(seen)), wanted)


def test_the_tasks_of_vlbert_share_one_trunk() -> None:
    model = vlbert()
    for part in (model.answers, model.expressions):
        assert part.vlbert is model.choices.encoder
        assert part.image_feature_extractor is model.choices.region_projection
        assert (
            part.object_linguistic_embeddings.weight
            is model.choices.object_linguistic_embeddings.weight
        )


def official_vilbert(
    sentences: list[list[list[int]]], seen: Looked
) -> tuple[ViLBertForTasks, ViLBertOutput]:
    """The official network called the official way: "[CLS] a [SEP]" or "[CLS] a [SEP] b [SEP]"."""
    model = ViLBertForTasks(vilbert_config(), HEADS).eval()
    ours = network_of("vilbert")
    assert isinstance(ours, ViLBertMultitask)
    model.load_state_dict(ours.network.state_dict())
    rows = [[CLS, *(word for one in parts for word in (*one, SEP))] for parts in sentences]
    second = [
        [0] * (len(first) + 2) + [1] * sum(len(some) + 1 for some in others)
        for first, *others in sentences
    ]
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    segments = torch.tensor([row + [0] * (longest - len(row)) for row in second])
    locations = box_locations(seen.boxes, seen.sizes)
    return model, model(tokens, segments, tokens > 0, seen.appearance, locations, seen.mask)


def words_of(text: Tensor) -> list[int]:
    found: list[int] = text[text > 0].tolist()
    return found


def test_vilbert_answers_locates_and_matches_as_the_official_network() -> None:
    ours, seen = network_of("vilbert"), looked()
    theirs, output = official_vilbert([[words_of(text)] for text in TEXTS], seen)
    visuals = ours.see(seen)
    for found, wanted in (
        (ours.answer_logits(TEXTS, visuals), theirs.answer_logits(output)),
        (ours.region_logits(TEXTS, visuals)[seen.mask], theirs.region_logits(output)[seen.mask]),
        (ours.match_logits(TEXTS, visuals), theirs.match_logit(output)),
    ):
        assert_tells_apart(wanted)
        assert_same(found, wanted)


def test_vilbert_chooses_as_the_official_network() -> None:
    ours, seen = network_of("vilbert"), looked()
    found = ours.choice_logits(TEXTS, CHOICES, named(), ours.see(seen))
    for place in range(CHOICES.shape[1]):
        sentences = [
            [words_of(text), words_of(some[place])]
            for text, some in zip(TEXTS, CHOICES, strict=True)
        ]
        theirs, output = official_vilbert(sentences, seen)
        assert_same(found[:, place], theirs.match_logit(output))
    assert_tells_apart(found)


# ---------------------------------------------------------------- exact savings


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_every_pair_scores_as_the_pair_alone(name: str, at_once: int) -> None:
    model, seen = network_of(name), looked()
    found = model.match_every_pair(TEXTS, model.see(seen), at_once)
    alone = [
        [
            model.match_logits(pad_texts([words_of(text)]), model.see(only(seen, row)))[0]
            for text in TEXTS
        ]
        for row in range(3)
    ]
    wanted = torch.stack([torch.stack(row) for row in alone])
    assert_tells_apart(wanted)
    assert_same(found, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_texts_and_pictures_moves_no_score(name: str) -> None:
    model, visuals = network_of(name), network_of(name).see(looked())
    found = model.match_every_pair(TEXTS, visuals, 4)
    order = torch.tensor([2, 0, 1])
    turned = model.match_every_pair(TEXTS[order], visuals.rows(order), 4)
    assert_same(turned, found[order][:, order])


@pytest.mark.parametrize("name", NAMES)
def test_one_look_at_a_picture_serves_each_choice(name: str) -> None:
    model, seen = network_of(name), looked()
    found = model.choice_logits(TEXTS, CHOICES, named(), model.see(seen))
    alone = [
        [
            model.choice_logits(
                TEXTS[row : row + 1],
                CHOICES[row : row + 1, place : place + 1],
                named(),
                model.see(only(seen, row)),
            )[0, 0]
            for place in range(CHOICES.shape[1])
        ]
        for row in range(3)
    ]
    assert_same(found, torch.stack([torch.stack(row) for row in alone]))


@pytest.mark.parametrize("name", NAMES)
def test_one_look_at_a_picture_serves_each_question(name: str) -> None:
    model, seen = network_of(name), looked()
    rows = torch.tensor([0, 1, 2, 0, 2])
    texts = TEXTS[[0, 1, 2, 2, 0]]
    visuals = model.see(seen).rows(rows)
    answers, regions = model.answer_logits(texts, visuals), model.region_logits(texts, visuals)
    for place, row in enumerate(rows.tolist()):
        own = model.see(only(seen, row))
        assert_same(answers[place], model.answer_logits(texts[place][None], own)[0])
        mask = visuals.mask[place]
        assert_same(regions[place][mask], model.region_logits(texts[place][None], own)[0])


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_padded_regions_moves_nothing(name: str) -> None:
    model, seen = network_of(name), looked()
    visuals = model.see(seen)
    other = Visuals(visuals.states.masked_fill(~visuals.mask[..., None], 7.0), visuals.mask)
    for states in (visuals, other):
        assert_same(model.answer_logits(TEXTS, states), model.answer_logits(TEXTS, visuals))
        assert_same(model.match_logits(TEXTS, states), model.match_logits(TEXTS, visuals))
        found = model.choice_logits(TEXTS, CHOICES, named(), states)
        assert_same(found, model.choice_logits(TEXTS, CHOICES, named(), visuals))


def logits_of(model: Network) -> list[Tensor]:
    visuals = model.see(looked())
    return [
        model.answer_logits(TEXTS, visuals),
        model.choice_logits(TEXTS, CHOICES, named(), visuals),
        model.match_logits(TEXTS, visuals),
        model.region_logits(TEXTS, visuals)[visuals.mask],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_no_logit_moves_for_what_the_last_layers_leave_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lean = logits_of(network_of(name))
    layers_of, streams_of = BertEncoder.forward, TwoStreamEncoder.from_first_coattention

    def every_place(
        self: BertEncoder, states: Tensor, mask: Tensor, read: Tensor | None = None
    ) -> list[Tensor]:
        *layers, last = layers_of(self, states, mask)
        return [*layers, last if read is None else at_places(last, read)]

    def every_position(
        self: TwoStreamEncoder, *given: Any, firsts: bool = False
    ) -> tuple[Tensor, Tensor]:
        text, image = streams_of(self, *given)
        return (text[:, :1], image[:, :1]) if firsts else (text, image)

    monkeypatch.setattr(BertEncoder, "forward", every_place)
    monkeypatch.setattr(TwoStreamEncoder, "from_first_coattention", every_position)
    for found, wanted in zip(lean, logits_of(network_of(name)), strict=True):
        assert_tells_apart(wanted)
        assert_same(found, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_layers_make_what_is_read_and_no_more(name: str) -> None:
    model = network_of(name)
    if isinstance(model, VLBertMultitask):
        last = [model.choices.encoder.encoder.layer[-1]]
    else:
        streams = model.network.bert.encoder
        last = [streams.layer[-1], streams.v_layer[-1]]
    made: list[int] = []
    for layer in last:
        layer.register_forward_hook(lambda _layer, _given, states: made.append(states.shape[1]))
    logits_of(model)
    alone = [1] * len(last)
    words = int((TEXTS[0] > 0).sum()) + 2  # of the longest, with [CLS] and [SEP]
    every = [words + 4 + 1] if name == "vlbert" else [words, 4]  # and regions, and [END]
    assert made == [*alone, *alone, *alone, *every]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_several_pairs_scores_as_if_given_with_each(name: str) -> None:
    model = network_of(name)
    which, pictures = torch.tensor([2, 0, 2, 1]), torch.tensor([1, 1, 0, 2])
    visuals = model.see(looked()).rows(pictures)
    wanted = model.match_logits(TEXTS[which], visuals)
    assert_tells_apart(wanted)
    assert_same(model.match_logits(TEXTS, visuals, which), wanted)


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("name", NAMES)
def test_the_region_loss_is_a_sum_over_real_regions(name: str) -> None:
    """A region is right that overlaps by more than half; padded ones count nothing."""
    model, visuals = network_of(name), network_of(name).see(looked())
    overlaps = torch.tensor([[0.1, 1.0, 0.0, 0.4], [0.2, 0, 0, 0], [0.0, 0.0, 1.0, 0.0]])
    logits = torch.zeros(3, 4).masked_fill(~visuals.mask, -1e4)  # as region_logits gives them
    undecided = model.region_loss(logits, overlaps, visuals)
    assert_same(undecided, visuals.mask.sum() / 3 * torch.tensor(2.0).log())
    sure = torch.where(overlaps > 0.5, 20.0, -20.0).masked_fill(~visuals.mask, -1e4)
    assert model.region_loss(sure, overlaps, visuals) < 1e-6
    assert model.region_loss(-sure.clamp(min=-20), overlaps, visuals) > 40
