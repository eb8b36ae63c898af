"""What a network learns of phrases and regions: which states are watched, what the loss asks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.baselines.grounding import GroundingLoss, RegionWatch, TellingLoss, naming_words
from harness.baselines.multitask_examples import PHRASES
from harness.baselines.multitask_learning import Network
from harness.baselines.vilbert import ViLBertConfig
from harness.baselines.vilbert_multitask import ViLBertMultitask
from harness.baselines.vlbert import VLBertConfig
from harness.baselines.vlbert_multitask import VLBertMultitask

from .test_multitask_networks import (
    CHOICES,
    CLS,
    MASK,
    SEP,
    TEXTS,
    looked,
    named,
    network_of,
    vilbert_config,
    vlbert_config,
)

HIDDEN = 16


def deep_vlbert() -> VLBertMultitask:
    torch.manual_seed(1)
    config = VLBertConfig(**{**vars(vlbert_config()), "num_hidden_layers": 4})
    return VLBertMultitask(config, CLS, SEP, MASK).eval()


def test_of_vlbert_the_layers_between_the_first_and_the_last_are_watched() -> None:
    network = deep_vlbert()
    watch = RegionWatch(network)
    every: list[Tensor] = []
    network.choices.encoder.register_forward_hook(lambda *given: every.extend(given[2][0]))
    seen = network.see(looked())
    network.answer_logits(TEXTS, seen)
    assert watch.layers == len(watch.states) == 2
    for states, whole in zip(watch.states, every[1:3], strict=True):
        for row, own in enumerate(seen.mask):
            start = int((TEXTS[row] > 0).sum()) + 4  # behind [CLS] question [SEP] [MASK] [SEP]
            regions = whole[row, start : start + int(own.sum())]
            assert torch.equal(states[row, own], regions)
            assert (states[row, ~own] == 0).all()


def test_of_vlbert_the_first_word_is_watched_in_the_last_layers_but_the_last() -> None:
    network = deep_vlbert()
    watch = RegionWatch(network)
    every: list[Tensor] = []
    network.choices.encoder.register_forward_hook(lambda *given: every.extend(given[2][0]))
    network.answer_logits(TEXTS, network.see(looked()))
    assert len(watch.whole) == 2
    for whole, states in zip(watch.whole, every[1:3], strict=True):
        assert torch.equal(whole, states[:, 0])


@pytest.mark.parametrize("name", ["vlbert", "vilbert"])
def test_watching_changes_no_logit_and_has_a_row_for_each_sequence(name: str) -> None:
    network = network_of(name)
    seen = network.see(looked())
    before = network.choice_logits(TEXTS, CHOICES, named(), seen)
    watch = RegionWatch(network)
    assert torch.equal(network.choice_logits(TEXTS, CHOICES, named(), seen), before)
    assert len(watch.states) == watch.layers
    many = CHOICES.shape[0] * CHOICES.shape[1]
    assert all(states.shape == (many, 4, HIDDEN) for states in watch.states)


@pytest.mark.parametrize("name", ["vlbert", "vilbert"])
def test_where_no_layer_is_between_what_comes_before_the_last_is_watched(name: str) -> None:
    """The last layer makes what is read of it, and no regions."""
    if name == "vlbert":
        network: Network = VLBertMultitask(vlbert_config(), CLS, SEP, MASK)
    else:
        sizes = {"v_num_hidden_layers": 1, "v_biattention_id": (0,), "t_biattention_id": (1,)}
        config = ViLBertConfig(**{**vars(vilbert_config()), **sizes})
        network = ViLBertMultitask(config, CLS, SEP, MASK)
    watch = RegionWatch(network)
    seen = network.see(looked())
    network.answer_logits(TEXTS, seen)
    assert watch.layers == len(watch.states) == 1
    assert watch.states[0].shape == (*seen.mask.shape, HIDDEN)
    assert watch.states[0][seen.mask].std() > 0.1


def test_words_name_labels_in_the_singular_or_a_regular_plural() -> None:
    naming = naming_words(["[PAD]", "cross", "crosses", "reds", "redder"], {"cross": 0, "red": 1})
    assert naming.tolist() == [[0, 0], [1, 0], [1, 0], [0, 1], [0, 0]]


def loss_with(logit: float, labels: Tensor, roles: Tensor, texts: Tensor) -> float:
    """Of one layer whose first label and first phrase are told with this logit, whatever the
    state; all else is told to be absent."""
    loss = GroundingLoss(HIDDEN, 1, naming_words(["", "red", "blue"], {"red": 0, "blue": 1}))
    with torch.no_grad():
        for layer in (loss.mentions[0], loss.roles[0]):
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.zero_()
            layer.bias.fill_(-20.0)
            layer.bias[0] = logit
        found: Tensor = loss([torch.zeros(1, 2, HIDDEN)], texts, labels, roles)
    return float(found)


def test_only_a_word_that_is_in_the_text_and_of_the_region_is_mentioned() -> None:
    labels = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])  # what the whole picture shows is not known
    roles = torch.zeros(1, 2, PHRASES)
    roles[0, 1, 0] = 1
    red, blue = torch.tensor([[1, 0]]), torch.tensor([[2, 0]])
    assert loss_with(20.0, labels, roles, red) < 1e-6
    assert loss_with(20.0, labels, roles, blue) == pytest.approx(20, rel=1e-3)
    assert loss_with(20.0, labels, 0 * roles, red) == pytest.approx(20, rel=1e-3)
    assert loss_with(-20.0, labels, roles, red) == pytest.approx(40, rel=1e-3)


def test_regions_that_are_not_known_teach_nothing() -> None:
    assert loss_with(20.0, torch.zeros(1, 2, 2), torch.ones(1, 2, PHRASES), TEXTS[:1] * 0) == 0


# ---------------------------------------------------------------- what is in them, what they share

LABELS = torch.tensor([[0.0, 0, 0], [1, 1, 0], [1, 0, 1]])  # of the whole picture, nothing


def telling(*roles: tuple[int, ...], told: Tensor | None = None, shared: float = -20.0) -> float:
    """The loss on a text whose phrases speak of these regions, where every label is told to be
    absent but for `told` (PHRASES, labels), and `shared` is the logit of the first being shared."""
    loss = TellingLoss(HIDDEN, 3)
    spoken = torch.zeros(1, 3, PHRASES)
    for phrase, regions in enumerate(roles):
        spoken[0, list(regions), phrase] = 1
    logits = torch.zeros(PHRASES, 3) if told is None else told
    with torch.no_grad():
        for layer in (loss.told, loss.shared):
            layer.weight.zero_()
            layer.bias.fill_(-20.0)
        loss.told.bias.add_(40 * logits.flatten())
        loss.shared.bias[0] = shared
        return float(loss([torch.zeros(1, HIDDEN)] * 2, LABELS[None], spoken))


def test_what_is_in_the_one_region_of_a_phrase_is_to_be_told() -> None:
    right = torch.zeros(PHRASES, 3)
    right[1] = LABELS[2]
    assert telling((), (2,), told=right) < 1e-6
    # both of its labels are missed; the mean is over the phrases that speak of one region
    assert telling((), (2,)) == pytest.approx(40, rel=1e-3)
    assert telling((), (2,), (1,), told=right) == pytest.approx(20, rel=1e-3)


def test_a_phrase_of_several_regions_or_of_an_unknown_one_teaches_nothing() -> None:
    assert telling((1, 2)) == 0
    assert telling((0,)) == 0


def test_what_the_first_two_have_in_common_is_to_be_told() -> None:
    right = torch.zeros(PHRASES, 3)
    right[0], right[1] = LABELS[1], LABELS[2]
    assert telling((1,), (2,), told=right, shared=20.0) < 1e-6
    assert telling((1,), (2,), told=right) == pytest.approx(20, rel=1e-3)
    right[2] = LABELS[2]
    assert telling((1,), (1, 2), (2,), told=right) < 1e-6  # of the second two, nothing is asked
