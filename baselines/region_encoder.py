"""Pictures -> padded batches of region crops -> appearance features, by a small CNN that is trained
along with the model on top. Knows no task."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.media.regions import Regions, crops, grid, segment, whole_picture_first
from harness.types import NamedBox, Picture

if TYPE_CHECKING:
    from harness.types import Pixels

_CACHED_PICTURES = 512


RegionKind: TypeAlias = Literal["segments", "grid", "none"]


@dataclass(frozen=True)
class RegionConfig:
    """How a picture is cut up: "segments" (connected areas of one hue, at most `most`), "grid"
    (`rows` x `columns`), or "none" (a model that sees no picture). Crops are `side` pixels."""

    kind: RegionKind = "segments"
    most: int = 10
    rows: int = 4
    columns: int = 4
    side: int = 24
    channels: tuple[int, int, int] = (16, 32, 64)


@dataclass(frozen=True)
class PictureRegions:
    """One picture's regions, row 0 the whole picture: crops (n, side, side, 4) uint8, boxes (n, 4)
    in pixels, size (2,) as width, height."""

    crops: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]


@dataclass(frozen=True)
class RegionBatch:
    """Regions of several pictures, padded: crops (pictures, regions, side, side, 4) uint8, boxes
    (pictures, regions, 4), mask (pictures, regions) True where real, size (pictures, 2)."""

    crops: Tensor
    boxes: Tensor
    mask: Tensor
    size: Tensor

    def to(self, device: torch.device | str) -> RegionBatch:
        return RegionBatch(
            self.crops.to(device), self.boxes.to(device), self.mask.to(device), self.size.to(device)
        )


def find_regions(picture: Picture, config: RegionConfig) -> PictureRegions:
    """Cuts a picture up. A model without pictures gets one black region and never decodes."""
    if config.kind == "none":
        black = np.zeros((1, config.side, config.side, 4), dtype=np.uint8)
        return PictureRegions(black, np.array([[0, 0, 1, 1]]), np.array([1, 1]))
    return cut_up(picture.read(), config)


def cut_up(pixels: Pixels, config: RegionConfig) -> PictureRegions:
    """The regions of pixels (height, width, 3), row 0 all of them."""
    if config.kind == "segments":
        regions = segment(pixels, config.most)
    elif config.kind == "grid":
        regions = grid(pixels, config.rows, config.columns)
    else:
        raise ValueError(f"regions of the unknown kind {config.kind!r}")
    return PictureRegions(
        crops(pixels, regions, config.side),
        whole_picture_first(pixels, regions),
        np.array([pixels.shape[1], pixels.shape[0]]),
    )


def named_regions(
    picture: Picture, objects: Sequence[NamedBox], config: RegionConfig
) -> PictureRegions:
    """The whole picture and then the named things, in the order of their tags. Who sees no picture
    is not told where they are."""
    if config.kind == "none":
        return find_regions(picture, config)
    pixels = picture.read()
    height, width = pixels.shape[:2]
    boxes = np.array([thing.box for thing in objects], dtype=np.float64).reshape(-1, 4)
    low = np.floor(boxes[:, :2]).clip(0, (width - 1, height - 1))
    high = np.ceil(boxes[:, 2:]).clip(low + 1, (width, height))
    regions = Regions(np.concatenate([low, high], axis=1).astype(np.int64))
    return PictureRegions(
        crops(pixels, regions, config.side),
        whole_picture_first(pixels, regions),
        np.array([width, height]),
    )


class RegionCache:
    """Regions of the pictures asked for last: questions about one picture come together."""

    def __init__(self, config: RegionConfig) -> None:
        self.config = config
        self._kept: OrderedDict[str, PictureRegions] = OrderedDict()

    def __call__(self, picture: Picture) -> PictureRegions:
        if picture.id not in self._kept:
            self._kept[picture.id] = find_regions(picture, self.config)
            if len(self._kept) > _CACHED_PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(picture.id)
        return self._kept[picture.id]


def pad_regions(pictures: Sequence[PictureRegions]) -> RegionBatch:
    """Regions of pictures of different numbers, padded with 0 to the most that one has."""
    most = max(len(picture.boxes) for picture in pictures)
    side = pictures[0].crops.shape[1]
    all_crops = np.zeros((len(pictures), most, side, side, 4), dtype=np.uint8)
    boxes = np.zeros((len(pictures), most, 4), dtype=np.float32)
    mask = np.zeros((len(pictures), most), dtype=np.bool_)
    for row, picture in enumerate(pictures):
        count = len(picture.boxes)
        all_crops[row, :count] = picture.crops
        boxes[row, :count] = picture.boxes
        mask[row, :count] = True
    size = np.stack([picture.size for picture in pictures]).astype(np.float32)
    return RegionBatch(
        torch.from_numpy(all_crops),
        torch.from_numpy(boxes),
        torch.from_numpy(mask),
        torch.from_numpy(size),
    )


class RegionCNN(nn.Module):
    """Three convolutions, each followed by a halving, and one dense layer."""

    def __init__(self, side: int, channels: tuple[int, int, int], appearance_size: int) -> None:
        super().__init__()
        first, second, third = channels
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(4, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(second, third, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.dense = nn.Linear(third * (side // 8) ** 2, appearance_size)

    def forward(self, batch: RegionBatch) -> Tensor:
        """-> appearance (pictures, regions, appearance_size), 0 in padding."""
        real = batch.crops[batch.mask]  # (real regions, side, side, 4)
        scaled = real.permute(0, 3, 1, 2).to(self.dense.weight.dtype) / 127.5 - 1.0
        features = self.dense(self.convolutions(scaled).flatten(1))
        out: Tensor = features.new_zeros(*batch.mask.shape, features.shape[-1])
        out[batch.mask] = features
        return out
