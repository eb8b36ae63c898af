"""What VL-BERT and ViLBERT see, whatever the task: the regions of a picture, the things that a text
names, what is in the frames of a clip or its windows, each a box with an appearance that a small
CNN, trained along, gives it. Knows no text and no task."""

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
    cut_up,
    pad_regions,
)
from .visual_encoder import VisualConfig, WindowEncoder, read_clips


@dataclass(frozen=True)
class VisionConfig:
    """How pictures and clips are looked at.

    `regions`: how pictures are cut up. `clips`: the CNN over frames that windows are seen by, None
    where none are; `moment_lengths`: of the windows that are moments, in frames. `frames`: how many
    of a clip's that is matched with captions are looked at, each cut up as a picture is.
    `appearance_size`: of what either CNN gives. `tags`: how many things a text can name.
    """

    regions: RegionConfig = field(default_factory=RegionConfig)
    clips: VisualConfig | None = None
    appearance_size: int = 96
    tags: int = 10
    moment_lengths: tuple[int, ...] = ()
    frames: int = 0

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
        if config.frames:
            self.when = nn.Embedding(config.frames + 1, config.appearance_size, padding_idx=0)
        if config.clips is not None:
            self.windows = WindowEncoder(config.clips, config.appearance_size)
            # no loss names what is in a window: this gives its appearance the scale of its place
            self.window_norm = nn.LayerNorm(config.appearance_size)

    def look_at_regions(self, batch: RegionBatch, tags: Tensor) -> Looked:
        """tags (pictures, regions): the number, from 1 on, of a thing that texts may name; 0 for
        others. Who sees no picture gets zeros."""
        if self.config.blind:
            appearance = batch.boxes.new_zeros(*batch.mask.shape, self.config.appearance_size)
        else:
            appearance = self.crops(batch)
            appearance = appearance + self.tags(tags).to(appearance.dtype)
        return Looked(batch.boxes, appearance, batch.mask, batch.size)

    def look_at_frames(self, batch: RegionBatch, frames: Tensor) -> Looked:
        """frames (clips, regions): the frame of each region, from 1 on; 0 for row 0."""
        appearance = self.crops(batch)
        appearance = appearance + self.when(frames).to(appearance.dtype)
        return Looked(batch.boxes, appearance, batch.mask, batch.size)

    def look_at_windows(self, clips: Tensor, windows: Tensor) -> Looked:
        """clips (clips, frames, side, side, 3) uint8, windows (windows, 2): the first frame and the
        one after the last."""
        count, frames = clips.shape[:2]
        whole = windows.new_tensor([[0, frames]])
        windows = torch.cat([whole, windows])
        appearance = self.window_norm(self.windows(clips, windows))
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


@dataclass(frozen=True)
class FrameRegions:
    """The regions of a clip's frames, one frame after the other, each frame whole and then what it
    was cut into; row 0 is the first frame once more, as the clip. `frames` (n,): the frame of each
    region, from 1 on; 0 for row 0."""

    regions: PictureRegions
    frames: npt.NDArray[np.int64]


def cut_up_frames(clip: Clip, config: VisionConfig) -> FrameRegions:
    """Few frames, well apart: what moves, grows or changes is another in the last than in the
    first."""
    parts = [cut_up(frame, config.regions) for frame in clip.read(config.frames)]
    counts = [len(part.boxes) for part in parts]
    return FrameRegions(
        PictureRegions(
            np.concatenate([parts[0].crops[:1], *(part.crops for part in parts)]),
            np.concatenate([parts[0].boxes[:1], *(part.boxes for part in parts)]),
            parts[0].size,
        ),
        np.concatenate([[0], np.repeat(np.arange(1, len(parts) + 1), counts)]),
    )


def frame_batch(clips: Sequence[FrameRegions]) -> tuple[RegionBatch, Tensor]:
    """Padded regions and the frame of each (clips, regions)."""
    batch = pad_regions([clip.regions for clip in clips])
    frames = torch.zeros(batch.mask.shape, dtype=torch.long)
    for row, clip in enumerate(clips):
        frames[row, : len(clip.frames)] = torch.from_numpy(clip.frames)
    return batch, frames
