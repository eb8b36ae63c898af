"""What VL-BERT learns from beside the answers: what is in a region, where it is, and which words
and phrases of the question speak of it. Training only; knows no data set and no optimiser.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .region_encoder import RegionBatch
from .vlbert import vqa_loss
from .vlbert_vqa import VLBertOverCrops
from .vqa_examples import PHRASES

_PLACING = 4.0  # weight of telling where a region is, against telling what is in it


class WithLosses(nn.Module):
    """The network, its answer loss and, where regions are annotated, four losses on them.

    They stand in for the original's pretraining. From a region's visual embedding, `naming` tells
    what is in it and `placing` where it is: they teach the CNN, as masked RoI classification does
    (section 3.4), and keep the geometry from drowning in the appearance. From a region's states
    between the first layer and the last, `mentions` tells which of its words stand in the question,
    and `roles` which phrases of the question speak of it, as referring expressions do (section
    4.2.3): they teach attention to match words with regions early enough for later layers to
    compare what was found. These layers are not kept.
    """

    def __init__(self, network: VLBertOverCrops, labels: int, region_loss: float) -> None:
        super().__init__()
        self.network = network
        hidden = network.model.config.hidden_size
        self.region_loss = region_loss if labels and network.sees_pictures else 0.0
        self.naming = nn.Linear(hidden, max(1, labels))
        self.placing = nn.Linear(hidden, 4)
        between = range(1, max(2, network.model.config.num_hidden_layers - 1))
        self.between = slice(between.start, between.stop)
        self.mentions = nn.ModuleList(nn.Linear(hidden, max(1, labels)) for _ in between)
        self.roles = nn.ModuleList(nn.Linear(hidden, PHRASES) for _ in between)

    def forward(
        self,
        question: Tensor,
        picture_of: Tensor,
        targets: Tensor,
        crops: Tensor,
        boxes: Tensor,
        mask: Tensor,
        size: Tensor,
        labels: Tensor,
        labelled: Tensor,
        mentions: Tensor,
        roles: Tensor,
    ) -> dict[str, Tensor]:
        visuals = self.network.region_visuals(RegionBatch(crops, boxes, mask, size))
        model = self.network.model
        answer, regions = model.encode(question, visuals[picture_of], mask[picture_of])
        logits = model.final_mlp(answer)
        loss = vqa_loss(logits, targets)
        if self.region_loss and bool(labelled.any()):
            seen = model.vlbert.visual_ln_object(visuals)
            places = _places(boxes, size)
            known = labelled[picture_of]  # (questions, regions)
            mentioned = labels[picture_of] * mentions[:, None, :]
            found = vqa_loss(self.naming(seen[labelled]), labels[labelled])
            found += _PLACING * F.mse_loss(self.placing(seen[labelled]), places[labelled])
            layers = zip(regions[self.between], self.mentions, self.roles, strict=False)
            for states, mention, role in layers:
                found += vqa_loss(mention(states[known]), mentioned[known])
                found += vqa_loss(role(states[known]), roles[known])
            loss = loss + self.region_loss * found
        return {"loss": loss, "logits": logits}


def _places(boxes: Tensor, size: Tensor) -> Tensor:
    """Centre, width and height of boxes (pictures, regions, 4) in pictures of size (pictures, 2),
    shifted and scaled to about unit variance: (pictures, regions, 4)."""
    # (pictures, regions, first or last corner, x or y)
    corners = boxes.view(*boxes.shape[:2], 2, 2) / size[:, None, None, :]
    first, last = corners.unbind(-2)
    return torch.cat([(first + last) / 2 - 0.5, last - first - 0.2], dim=-1) * 4
