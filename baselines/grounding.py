"""What a network learns of texts and regions before its last layer: which of a region's words stand
in the text, which phrases of the text speak of it, and what two phrases' regions have in common.
Training only; the network stays as it is: its states are watched, not returned. Knows no data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .multitask_examples import PHRASES
from .vilbert_multitask import ViLBertMultitask
from .vlbert import region_states, vqa_loss
from .vlbert_multitask import VLBertMultitask


class RegionWatch:
    """Keeps the regions' states that the network last computed, of every layer between the first
    and the last: (rows, regions, hidden) each, a row for each text with its picture. Of VL-BERT
    also `whole`, the states of [CLS] (rows, hidden) two layers before the last and one before.

    The last layer makes but what is read of it. Where none is between, VL-BERT's first is watched,
    or the co-attention before ViLBERT's only layer; who has a single layer cannot be watched."""

    def __init__(self, network: VLBertMultitask | ViLBertMultitask) -> None:
        self.states: list[Tensor] = []
        self.whole: list[Tensor] = []
        if isinstance(network, VLBertMultitask):
            network.choices.encoder.register_forward_hook(self._see_single_stream)
            self.layers = max(1, network.config.num_hidden_layers - 2)
        else:
            encoder = network.network.bert.encoder
            for layer in encoder.v_layer[:-1]:
                layer.register_forward_hook(self._see_image_stream)
            self.layers = len(encoder.v_layer) - 1
            if not self.layers:
                encoder.c_layer[-1].register_forward_hook(self._see_coattention)
                self.layers = 1

    def forget(self) -> None:
        self.states, self.whole = [], []

    def _see_single_stream(self, _module: nn.Module, inputs: Any, output: Any) -> None:
        token_mask, region_mask = inputs[2], inputs[6]
        layers = output[0]
        between = layers[1:-1] if len(layers) > 2 else layers[:1]
        self.states = [region_states(layer, token_mask, region_mask) for layer in between]
        self.whole = [layers[max(0, len(layers) - back)][:, 0] for back in (3, 2)]

    def _see_image_stream(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.states.append(output)

    def _see_coattention(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self.states.append(output[0])


class GroundingLoss(nn.Module):
    """From a region's states between the first layer and the last, `mentions` tells which of its
    words stand in the text, `roles` which phrases of the text speak of it, as referring expressions
    do (VL-BERT, section 4.2.3): they teach attention to match words with regions early enough for
    later layers to compare what was found. These layers are not kept."""

    def __init__(self, hidden: int, layers: int, naming: Tensor) -> None:
        """naming: (vocabulary, labels), whether a word of the vocabulary stands for a label."""
        super().__init__()
        self.register_buffer("naming", naming, persistent=False)
        self.mentions = nn.ModuleList(nn.Linear(hidden, naming.shape[1]) for _ in range(layers))
        self.roles = nn.ModuleList(nn.Linear(hidden, PHRASES) for _ in range(layers))

    def forward(
        self, layers: Sequence[Tensor], texts: Tensor, labels: Tensor, roles: Tensor
    ) -> Tensor:
        """layers: (rows, regions, hidden) each; texts (rows, words) token ids; labels (rows,
        regions, labels) what is in each region, nothing where that is not known; roles (rows,
        regions, PHRASES) -> ()."""
        known = labels.any(dim=-1)  # (rows, regions)
        if not bool(known.any()):
            return layers[0].new_zeros(())
        mentioned = (labels * self.mentioned(texts)[:, None, :])[known]
        spoken_of = roles[known]
        losses = [
            vqa_loss(mention(states[known]), mentioned) + vqa_loss(role(states[known]), spoken_of)
            for states, mention, role in zip(layers, self.mentions, self.roles, strict=True)
        ]
        return torch.stack(losses).sum()

    def mentioned(self, texts: Tensor) -> Tensor:
        """Which labels stand in each text: (rows, words) token ids -> (rows, labels) of 0 and 1."""
        naming: Tensor = self.get_buffer("naming")
        return naming[texts].amax(dim=1)


class TellingLoss(nn.Module):
    """What a comparison needs, one layer after the other: from the state of [CLS] two layers before
    the last, what is in the region that each phrase speaks of, where it speaks of one; from that
    before the last, what the regions of the first two phrases have in common. The last layer has
    but to choose what was asked for. These layers are not kept."""

    def __init__(self, hidden: int, labels: int) -> None:
        super().__init__()
        self.told = nn.Linear(hidden, PHRASES * labels)
        self.shared = nn.Linear(hidden, labels)

    def forward(self, whole: Sequence[Tensor], labels: Tensor, roles: Tensor) -> Tensor:
        """whole: twice (rows, hidden), as RegionWatch has it; labels (rows, regions, labels) and
        roles (rows, regions, PHRASES) as GroundingLoss takes them -> ()."""
        named = torch.einsum("brp,brl->bpl", roles, labels)
        one = (roles.sum(dim=1) == 1) & named.any(dim=-1)  # (rows, PHRASES)
        loss = whole[0].new_zeros(())
        if bool(one.any()):
            told = self.told(whole[0]).view(named.shape)
            loss = loss + vqa_loss(told[one], named[one])
        two = one[:, 0] & one[:, 1]
        if bool(two.any()):
            loss = loss + vqa_loss(self.shared(whole[1][two]), (named[:, 0] * named[:, 1])[two])
        return loss


def naming_words(words: Sequence[str], labels: Mapping[str, int]) -> Tensor:
    """(vocabulary, labels): 1 where a word of the vocabulary is a label, in the singular or a
    regular plural."""
    naming = torch.zeros(len(words), len(labels))
    for row, word in enumerate(words):
        for singular in {word, re.sub("s$", "", word), re.sub("es$", "", word)} & set(labels):
            naming[row, labels[singular]] = 1.0
    return naming
