"""VL-BERT's and ViLBERT's pretraining networks over the trunk of a Seer, under their losses. What
they learn stays in the Seer; their heads go, but for those that the official fine-tuning starts
from. Training only; knows no data set and no optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .multitask_learning import Seer
from .multitask_vision import Looked
from .pretraining_batches import PretrainingBatch
from .region_encoder import RegionBatch
from .vilbert import box_locations
from .vilbert_heads import PretrainingLogits, ViLBertForPretraining, pretraining_losses
from .vilbert_multitask import ViLBertMultitask
from .vlbert_multitask import VLBertMultitask, with_shared, without_shared
from .vlbert_pretraining import (
    PretrainingLosses,
    VLBertForPretraining,
    masked_region_loss,
    masked_word_loss,
)


@dataclass(frozen=True)
class Told:
    """Logits of words (rows, words, vocabulary), of regions (rows, regions, classes) and, from
    ViLBERT, of whether caption and picture go together (rows, 2)."""

    words: Tensor
    regions: Tensor
    alignment: Tensor | None = None


class PretrainingVLBert(nn.Module):
    """VLBertForPretraining with the encoder, the projection of regions and the "[IMG]" word of the
    Seer's network. The whole picture's appearance is that of its blanked crop, where the official
    code takes the mean of the regions that are left: here a CNN sees pixels."""

    def __init__(self, seer: Seer, classes: int) -> None:
        super().__init__()
        self.seer = seer
        trunk = _vlbert_of(seer).choices
        config = replace(_vlbert_of(seer).config, region_classes=classes)
        self.network = VLBertForPretraining(config)
        for name, part in trunk.encoder.named_children():
            if name != "pooler":
                setattr(self.network.vlbert, name, part)
        words = trunk.encoder.word_embeddings.weight
        self.network.vlbert.mlm_head.predictions.decoder.weight = words
        self.network.image_feature_extractor = trunk.region_projection
        self.network.object_linguistic_embeddings = trunk.object_linguistic_embeddings

    def tell(self, caption: Tensor, regions: RegionBatch, hidden: Tensor) -> Told:
        """Shapes as in PretrainingBatch."""
        seen = _look(self.seer, regions)
        words, classes = self.network(
            caption, seen.boxes, seen.appearance, seen.sizes, seen.mask, hidden
        )
        return Told(words, classes)

    def forward(self, batch: PretrainingBatch) -> dict[str, Tensor]:
        """-> {"loss": ()}."""
        batch = batch.to(self.network.object_mask_word_embedding.weight.device)
        told = self.tell(batch.caption, batch.regions, batch.hidden)
        text = told.words.new_zeros(())
        if batch.text is not None and batch.text_labels is not None:
            text = masked_word_loss(self.network.read_text(batch.text), batch.text_labels)
        losses = PretrainingLosses(
            words=masked_word_loss(told.words, batch.word_labels),
            text=text,
            regions=masked_region_loss(told.regions, batch.targets),
        )
        return {"loss": losses.total}

    def hand_over(self) -> None:
        """Copies the heads that official fine-tuning starts from: that on words to the answers,
        that on regions to the expressions."""
        network, heads = _vlbert_of(self.seer), self.network.vlbert
        _copy(heads.mlm_head.predictions.transform, network.answers.final_mlp[0])
        _copy(heads.mvrc_head.transform, network.expressions.final_mlp[0])

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Each weight once, under its name in the Seer."""
        state = super().state_dict(*args, **kwargs)
        return without_shared(self, state, kwargs.get("prefix", ""))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes what state_dict() gives."""
        super()._load_from_state_dict(with_shared(self, state, prefix), prefix, *args)


class PretrainingViLBert(nn.Module):
    """ViLBertForPretraining with both streams of the Seer's network. No head is handed over: those
    of tasks start afresh, as in the official code."""

    def __init__(self, seer: Seer, classes: int) -> None:
        super().__init__()
        self.seer = seer
        trunk = _vilbert_of(seer)
        self.network = ViLBertForPretraining(replace(trunk.config, v_target_size=classes))
        self.network.bert = trunk.network.bert
        words = trunk.network.bert.embeddings.word_embeddings.weight
        self.network.cls.predictions.decoder.weight = words

    def tell(self, caption: Tensor, regions: RegionBatch, hidden: Tensor) -> Told:
        """Shapes as in PretrainingBatch. Hidden regions have an appearance of zeros."""
        seen = _look(self.seer, regions)
        appearance = seen.appearance.masked_fill(hidden[..., None], 0.0)
        logits = self.network(
            caption,
            torch.zeros_like(caption),
            caption > 0,
            appearance,
            box_locations(seen.boxes, seen.sizes),
            seen.mask,
        )
        return Told(logits.words, logits.regions, logits.alignment)

    def forward(self, batch: PretrainingBatch) -> dict[str, Tensor]:
        """-> {"loss": ()}."""
        batch = batch.to(self.network.cls.bi_seq_relationship.weight.device)
        told = self.tell(batch.caption, batch.regions, batch.hidden)
        assert told.alignment is not None
        logits = PretrainingLogits(told.words, told.regions, told.alignment)
        targets = batch.targets[:, 1:]
        losses = pretraining_losses(
            logits, batch.word_labels, targets, targets.sum(dim=-1) > 0.5, batch.aligned
        )
        return {"loss": torch.stack(list(losses.values())).sum()}

    def hand_over(self) -> None:
        """Nothing: the trunk is the Seer's own."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Each weight once, under its name in the Seer."""
        state = super().state_dict(*args, **kwargs)
        return without_shared(self, state, kwargs.get("prefix", ""))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes what state_dict() gives."""
        super()._load_from_state_dict(with_shared(self, state, prefix), prefix, *args)


Pretraining: TypeAlias = PretrainingVLBert | PretrainingViLBert


def pretraining_of(seer: Seer, classes: int) -> Pretraining:
    """The pretraining network that the Seer's own asks for."""
    if isinstance(seer.network, VLBertMultitask):
        return PretrainingVLBert(seer, classes)
    return PretrainingViLBert(seer, classes)


def _look(seer: Seer, regions: RegionBatch) -> Looked:
    """No text of pretraining names a thing by its tag."""
    return seer.vision.look_at_regions(regions, torch.zeros_like(regions.mask, dtype=torch.long))


def _vlbert_of(seer: Seer) -> VLBertMultitask:
    assert isinstance(seer.network, VLBertMultitask)
    return seer.network


def _vilbert_of(seer: Seer) -> ViLBertMultitask:
    assert isinstance(seer.network, ViLBertMultitask)
    return seer.network


def _copy(start: nn.Module, end: nn.Module) -> None:
    end.load_state_dict(start.state_dict())
