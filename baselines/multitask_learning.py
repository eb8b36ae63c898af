"""What VL-BERT and ViLBERT learn from when they are trained for several tasks: each task's own loss
and, where regions are annotated, what is in them, where they are and which phrases speak of them.
Training only; knows no data set and no optimiser."""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .grounding import GroundingLoss, RegionWatch, TellingLoss
from .multitask_recipes import Recipe
from .multitask_vision import Vision, Visuals
from .region_encoder import RegionBatch
from .vilbert_heads import retrieval_choices, retrieval_loss
from .vilbert_multitask import ViLBertMultitask
from .vlbert import vqa_loss
from .vlbert_multitask import VLBertMultitask

Network: TypeAlias = VLBertMultitask | ViLBertMultitask

_PLACING = 4.0  # weight of telling where a region is, against telling what is in it
_MOMENTS = 0.25  # of a clip's windows, which are twenty times as many as a picture's regions


class Seer(nn.Module):
    """A network and the vision that feeds it: what is trained, kept and used."""

    def __init__(self, vision: Vision, network: Network) -> None:
        super().__init__()
        self.vision = vision
        self.network = network

    def see_regions(self, batch: RegionBatch, tags: Tensor) -> Visuals:
        """Arguments as in Vision.look_at_regions."""
        return self.network.see(self.vision.look_at_regions(batch, tags))

    def see_frames(self, batch: RegionBatch, frames: Tensor) -> Visuals:
        """Arguments as in Vision.look_at_frames."""
        return self.network.see(self.vision.look_at_frames(batch, frames))

    def see_windows(self, clips: Tensor, windows: Tensor) -> Visuals:
        """Arguments as in Vision.look_at_windows."""
        return self.network.see(self.vision.look_at_windows(clips, windows))


class WithLosses(nn.Module):
    """The network under the loss of whatever task a batch is of.

    `naming` tells from a region's first state what is in it, `placing` where it is: they teach the
    CNN and keep the geometry from drowning in the appearance, as detectors' features come with
    both. `grounded` tells which words and phrases of a text speak of a region. Their layers are not
    kept.
    """

    def __init__(self, seer: Seer, recipe: Recipe, naming: Tensor) -> None:
        """naming: (vocabulary, labels) as `naming_words` makes it, with no labels where regions are
        not annotated."""
        super().__init__()
        self.seer = seer
        self.negatives = recipe.negatives
        labels = naming.shape[1]
        sees = not seer.vision.config.blind and labels > 0
        self.region_loss = recipe.region_loss if sees else 0.0
        self.grounding = recipe.grounding if sees and recipe.layers > 1 else 0.0
        self.naming = nn.Linear(recipe.hidden_size, max(1, labels))
        self.placing = nn.Linear(recipe.hidden_size, 4)
        if self.grounding:
            self.watch = RegionWatch(seer.network)
            self.grounded = GroundingLoss(recipe.hidden_size, self.watch.layers, naming)
        self.telling = recipe.telling if self.grounding else 0.0
        if self.telling:
            self.told = TellingLoss(recipe.hidden_size, labels)

    def forward(self, kind: str, texts: Tensor, rows: Tensor, **batch: Tensor) -> dict[str, Tensor]:
        """A batch as Collator makes it -> {"loss": ()}."""
        visuals = self._see(batch)
        if self.grounding:
            self.watch.forget()
        loss = self._task_loss(kind, texts, rows, visuals, batch)
        if self.region_loss and "labels" in batch:
            loss = loss + self.region_loss * self._of_regions(visuals, batch)
        if self.grounding and "labels" in batch:
            loss = loss + self.grounding * self._of_phrases(texts, rows, batch)
        return {"loss": loss}

    def _see(self, batch: dict[str, Tensor]) -> Visuals:
        if "clips" in batch:
            return self.seer.see_windows(batch["clips"], batch["windows"])
        regions = RegionBatch(batch["crops"], batch["boxes"], batch["mask"], batch["size"])
        if "frames" in batch:
            return self.seer.see_frames(regions, batch["frames"])
        return self.seer.see_regions(regions, batch["tags"])

    def _task_loss(
        self, kind: str, texts: Tensor, rows: Tensor, visuals: Visuals, batch: dict[str, Tensor]
    ) -> Tensor:
        network = self.seer.network
        if kind == "answers":
            logits = network.answer_logits(texts, visuals.rows(rows))
            return network.answer_loss(logits, batch["targets"])
        if kind == "choices":
            scores = network.choice_logits(
                texts, batch["choices"], batch["named"], visuals.rows(rows)
            )
            return network.choice_loss(scores, batch["right"])
        if kind in ("regions", "moments"):
            own = visuals.rows(rows)
            logits = network.region_logits(texts, own)
            loss = network.region_loss(logits, batch["overlaps"], own)
            return loss * (_MOMENTS if kind == "moments" else 1.0)
        texts, foils = _as_long(texts, batch["foils"])
        if self.negatives == "four":
            return self._among_four(texts, foils, batch["others"], rows, visuals)
        return self._among_all(texts, foils, rows, visuals)

    def _among_four(
        self, texts: Tensor, foils: Tensor, other: Tensor, rows: Tensor, visuals: Visuals
    ) -> Tensor:
        """The right pair among four (ViLBERT's retrieval): the others have another picture's text,
        another picture, and the hard text."""
        place = torch.arange(len(texts), device=texts.device)
        captions, pictures = retrieval_choices(place, rows, other, rows[other], place + len(texts))
        scores = self.seer.network.match_logits(
            torch.cat([texts, foils]), visuals.rows(pictures.flatten()), captions.flatten()
        )
        return retrieval_loss(scores.view(-1, 4))

    def _among_all(self, texts: Tensor, foils: Tensor, rows: Tensor, visuals: Visuals) -> Tensor:
        """The right text of a picture among all of the batch and the hard one, and the right
        picture of a text among all of the batch."""
        count = len(texts)
        place = torch.arange(count, device=texts.device)
        # every text with every picture, then each hard text with its picture
        captions = torch.cat([place.repeat_interleave(count), place + count])
        pictures = torch.cat([rows.repeat(count), rows])
        scores = self.seer.network.match_logits(
            torch.cat([texts, foils]), visuals.rows(pictures), captions
        )
        every, hard = scores[: count * count].view(count, count), scores[count * count :]
        # another text of the same picture is no wrong one
        same = (rows[:, None] == rows) & (place[:, None] != place)
        every = every.masked_fill(same, -torch.inf)
        of_picture = torch.cat([every.T, hard[:, None]], dim=1)
        return (F.cross_entropy(every, place) + F.cross_entropy(of_picture, place)) / 2

    def _own_pairs(self, texts: int) -> Tensor:
        """The rows of the sequences in which a text stands with its own picture."""
        step = 4 if self.negatives == "four" else texts + 1
        return torch.arange(texts) * step

    def _of_phrases(self, texts: Tensor, rows: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Of each text with its own picture; of a query, with each of its choices."""
        layers, whole = self.watch.states, self.watch.whole
        labels, roles = batch["labels"][rows], batch["roles"]
        if "choices" in batch:
            many = batch["choices"].shape[1]
            texts = texts.repeat_interleave(many, dim=0)
            texts = torch.cat([texts, batch["choices"].flatten(0, 1)], dim=1)
            labels, roles = (x.repeat_interleave(many, dim=0) for x in (labels, roles))
        elif "foils" in batch:
            own = self._own_pairs(len(texts))
            layers = [states[own] for states in layers]
            whole = [states[own] for states in whole]
        found: Tensor = self.grounded(layers, texts, labels, roles)
        if self.telling and whole:
            found = found + self.telling * self.told(whole, labels, roles)
        return found

    def _of_regions(self, visuals: Visuals, batch: dict[str, Tensor]) -> Tensor:
        known = batch["labels"].any(dim=-1)  # (visuals, regions)
        if not bool(known.any()):
            return visuals.states.new_zeros(())
        vectors = self.seer.network.region_vectors(visuals)[known]
        named = vqa_loss(self.naming(vectors), batch["labels"][known])
        places = places_of(batch["boxes"], batch["size"])[known]
        return named + _PLACING * F.mse_loss(self.placing(vectors), places)


def places_of(boxes: Tensor, size: Tensor) -> Tensor:
    """Centre, width and height of boxes (pictures, regions, 4) in pictures of size (pictures, 2),
    shifted and scaled to about unit variance: (pictures, regions, 4)."""
    # (pictures, regions, first or last corner, x or y)
    corners = boxes.view(*boxes.shape[:2], 2, 2) / size[:, None, None, :]
    first, last = corners.unbind(-2)
    return torch.cat([(first + last) / 2 - 0.5, last - first - 0.2], dim=-1) * 4


def _as_long(texts: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Both padded to the longer one's length."""
    longest = max(texts.shape[1], others.shape[1])
    return (
        F.pad(texts, (0, longest - texts.shape[1])),
        F.pad(others, (0, longest - others.shape[1])),
    )
