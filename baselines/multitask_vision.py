"""What VL-BERT and ViLBERT see, whatever the task: the regions of a picture, the things that a text
names, the frames of a clip or its windows, each a box with an appearance that a small CNN, trained
along, gives it. Knows no text and no task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.types import Clip

from .moment_windows import every_window
from .region_encoder import (
    PictureRegions,
    RegionBatch,
    RegionCNN,
    RegionConfig,
    pad_regions,
)
from .visual_encoder import VisualConfig, WindowEncoder, read_clips

FRAMES_AS_REGIONS = 16  # of a clip that is matched with captions


@dataclass(frozen=True)
class VisionConfig:
    """`regions`: how pictures are cut up. `clips`: the CNN over frames, None where no clip is seen.
    `appearance_size`: of what either CNN gives. `tags`: how many things a text can name.
    `moment_lengths`: of the windows that are moments, in frames."""

    regions: RegionConfig = field(default_factory=RegionConfig)
    clips: VisualConfig | None = None
    appearance_size: int = 96
    tags: int = 10
    moment_lengths: tuple[int, ...] = ()

    @property
    def blind(self) -> bool:
        return self.regions.kind == "none"


@dataclass(frozen=True)
class Looked:
    """Pictures or clips as the networks read them: boxes (visuals, regions, 4) as x1, y1, x2, y2,
    row 0 the whole; sizes (visuals, 2) as width, height, in the same unit; appearance (visuals,
    regions, appearance_size); mask (visuals, regions) True where real. A clip's "box" is a stretch
    of time: it is one high and as wide as it has frames."""

    boxes: Tensor
    appearance: Tensor
    mask: Tensor
    sizes: Tensor


@dataclass(frozen=True)
class Visuals:
    """A network's own first states of what was looked at: states (visuals, regions, hidden), mask
    (visuals, regions) True where real."""

    states: Tensor
    mask: Tensor

    def rows(self, index: Tensor) -> Visuals:
        """The named visuals, which may repeat: index (rows,)."""
        return Visuals(self.states[index], self.mask[index])


class Vision(nn.Module):
    """Pixels -> Looked."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        if not config.blind:
            regions = config.regions
            self.crops = RegionCNN(regions.side, regions.channels, config.appearance_size)
            self.tags = nn.Embedding(config.tags + 1, config.appearance_size, padding_idx=0)
        if config.clips is not None:
            self.windows = WindowEncoder(config.clips, config.appearance_size)

    def look_at_regions(self, batch: RegionBatch, tags: Tensor) -> Looked:
        """tags (pictures, regions): the number, from 1 on, of a thing that texts may name; 0 for
        others. Who sees no picture gets zeros."""
        if self.config.blind:
            appearance = batch.boxes.new_zeros(*batch.mask.shape, self.config.appearance_size)
        else:
            appearance = self.crops(batch)
            appearance = appearance + self.tags(tags).to(appearance.dtype)
        return Looked(batch.boxes, appearance, batch.mask, batch.size)

    def look_at_windows(self, clips: Tensor, windows: Tensor) -> Looked:
        """clips (clips, frames, side, side, 3) uint8, windows (windows, 2): the first frame and the
        one after the last."""
        count, frames = clips.shape[:2]
        whole = windows.new_tensor([[0, frames]])
        windows = torch.cat([whole, windows])
        appearance = self.windows(clips, windows)
        start, end = windows.to(torch.float32).unbind(1)
        boxes = torch.stack([start, torch.zeros_like(start), end, torch.ones_like(end)], dim=1)
        return Looked(
            boxes.expand(count, -1, -1),
            appearance,
            torch.ones(appearance.shape[:2], dtype=torch.bool, device=clips.device),
            boxes.new_tensor([float(frames), 1.0]).expand(count, -1),
        )


# ---------------------------------------------------------------- what there is to look at


def region_batch(
    pictures: Sequence[PictureRegions], named: bool, most: int
) -> tuple[RegionBatch, Tensor]:
    """Padded regions and their tags (pictures, regions): where things are `named`, row 1 is tag 1;
    those beyond `most` share the last."""
    batch = pad_regions(pictures)
    places = torch.arange(batch.mask.shape[1]).clamp(max=most)
    return batch, places * batch.mask if named else torch.zeros_like(batch.mask, dtype=torch.long)


def read_frames(clips: Sequence[Clip], config: VisualConfig) -> npt.NDArray[np.uint8]:
    """(clips, frames, side, side, 3)."""
    return read_clips(clips, config.frames, config.side)


def moments_of(config: VisionConfig) -> Tensor:
    """(windows, 2): every window that may be a moment."""
    assert config.clips is not None
    return torch.from_numpy(every_window(config.clips.frames, config.moment_lengths))


def frames_as_regions(config: VisionConfig) -> Tensor:
    """(windows, 2): equal short stretches of a clip, one after the other."""
    assert config.clips is not None
    frames = config.clips.frames
    marks = torch.linspace(0, frames, min(FRAMES_AS_REGIONS, frames) + 1).round().long()
    return torch.stack([marks[:-1], marks[1:]], dim=1)
