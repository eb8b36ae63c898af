"""What stands in for a detector in pretraining: a small CNN that tells which combination of labels
a region has, fitted on annotated pictures and then frozen. Its probabilities are the soft classes
that pretraining tells masked regions by. Knows no text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .region_encoder import PictureRegions, RegionBatch, RegionCNN, RegionConfig, pad_regions

_PICTURES_AT_ONCE = 16
_LEARNING_RATE = 3e-3
_SIDES = 10.0  # boxes' sides, of some tenths of the picture, to about 1
_NO_LABEL = -1


@dataclass(frozen=True)
class AnnotatedRegions:
    """A picture's regions and the labels of each, as indices of label words; empty where a region
    is annotated with none, as the whole picture is."""

    regions: PictureRegions
    labels: tuple[tuple[int, ...], ...]


def classes_of(pictures: Sequence[AnnotatedRegions]) -> tuple[tuple[int, ...], ...]:
    """Every combination of labels that some region has, in order."""
    found = {tuple(sorted(labels)) for picture in pictures for labels in picture.labels if labels}
    return tuple(sorted(found))


class RegionClassifier(nn.Module):
    """A region's crop and the sides of its box -> logits of classes. A class's logit is the sum of
    those of its label words, so that rare combinations profit from frequent ones."""

    members: Tensor

    def __init__(
        self, config: RegionConfig, classes: Sequence[Sequence[int]], features: int
    ) -> None:
        super().__init__()
        words = 1 + max(word for labels in classes for word in labels)
        self.cnn = RegionCNN(config.side, config.channels, features)
        # crops are all of one size: only the box tells a large thing from a small one
        self.words = nn.Linear(features + 2, words)
        members = torch.zeros(len(classes), words)
        for row, labels in enumerate(classes):
            members[row, list(labels)] = 1.0
        self.register_buffer("members", members)

    def forward(self, batch: RegionBatch) -> Tensor:
        """-> (pictures, regions, classes)."""
        sides = (batch.boxes[..., 2:] - batch.boxes[..., :2]) / batch.size[:, None]
        seen = torch.cat([F.relu(self.cnn(batch)), _SIDES * sides], dim=-1)
        logits: Tensor = self.words(seen) @ self.members.T
        return logits


def fit_region_classes(
    pictures: Sequence[AnnotatedRegions],
    config: RegionConfig,
    classes: Sequence[tuple[int, ...]],
    features: int,
    seed: int,
    device: str = "cpu",
) -> RegionClassifier:
    """One pass over the pictures, in an order that the seed gives; `features`: of a region, from
    which its class is told. Leaves torch's generator as it
    was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = RegionClassifier(config, classes, features).to(device)
        order = torch.randperm(len(pictures)).tolist()
    optimiser = torch.optim.Adam(classifier.parameters(), lr=_LEARNING_RATE)
    for some in _batches([pictures[place] for place in order]):
        batch, right = _with_classes(some, classes, device)
        known = right != _NO_LABEL
        if not bool(known.any()):
            continue
        optimiser.zero_grad()
        loss = F.cross_entropy(classifier(batch)[known], right[known])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return classifier.eval().requires_grad_(False)


@torch.inference_mode()
def count_right(
    classifier: RegionClassifier,
    pictures: Sequence[AnnotatedRegions],
    classes: Sequence[tuple[int, ...]],
    device: str = "cpu",
) -> tuple[int, int]:
    """How many annotated regions get their own class, and of how many."""
    right, total = 0, 0
    for some in _batches(pictures):
        batch, wanted = _with_classes(some, classes, device)
        known = wanted != _NO_LABEL
        right += int((classifier(batch).argmax(dim=-1) == wanted)[known].sum())
        total += int(known.sum())
    return right, total


@torch.inference_mode()
def soft_classes(
    classifier: RegionClassifier, pictures: Sequence[AnnotatedRegions], device: str = "cpu"
) -> list[npt.NDArray[np.float32]]:
    """Of each picture (regions, classes): probabilities, but zeros in row 0, the whole picture."""
    found: list[npt.NDArray[np.float32]] = []
    for some in _batches(pictures):
        batch = pad_regions([picture.regions for picture in some]).to(device)
        probabilities = classifier(batch).softmax(dim=-1)
        probabilities[:, 0] = 0.0
        rows = probabilities.cpu().numpy()
        found += [rows[row, : len(one.regions.boxes)].copy() for row, one in enumerate(some)]
    return found


def _batches(pictures: Sequence[AnnotatedRegions]) -> Iterator[Sequence[AnnotatedRegions]]:
    for start in range(0, len(pictures), _PICTURES_AT_ONCE):
        yield pictures[start : start + _PICTURES_AT_ONCE]


def _with_classes(
    pictures: Sequence[AnnotatedRegions], classes: Sequence[tuple[int, ...]], device: str
) -> tuple[RegionBatch, Tensor]:
    """Padded regions and the class of each (pictures, regions), _NO_LABEL where it has none or one
    that is not among the classes."""
    batch = pad_regions([picture.regions for picture in pictures])
    numbers = {labels: number for number, labels in enumerate(classes)}
    wanted = torch.full(batch.mask.shape, _NO_LABEL)
    for row, picture in enumerate(pictures):
        for region, labels in enumerate(picture.labels):
            wanted[row, region] = numbers.get(tuple(sorted(labels)), _NO_LABEL)
    return batch.to(device), wanted.to(device)
