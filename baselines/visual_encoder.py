"""Whole pictures and clips -> maps and vectors, by a small CNN that is trained along with the model
on top. Knows no task and no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from harness.types import Clip, Frames, Picture, Pixels


@dataclass(frozen=True)
class VisualConfig:
    """Sizes of the CNN. Pictures are scaled to `side` x `side` pixels. Each entry of `channels` is
    a convolution: the first makes the map `stem` times narrower, each other one halves it.
    `frames`: of a clip, 0 for pictures; `size`: of the pooled vector; `narrow`: channels of the map
    when it is pooled place by place."""

    side: int = 96
    channels: tuple[int, ...] = (32, 48, 64, 64)
    stem: int = 2
    size: int = 256
    narrow: int = 48
    frames: int = 0

    @property
    def map_side(self) -> int:
        """Locations of the map in a row and in a column."""
        return (self.side // self.stem) >> (len(self.channels) - 1)


# ---------------------------------------------------------------- pixels


def scaled(pixels: Pixels, side: int) -> Pixels:
    """A picture of any size as (side, side, 3) uint8. One of that size is left as it is."""
    if pixels.shape[:2] == (side, side):
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def read_pictures(pictures: Sequence[Picture], side: int) -> Pixels:
    """(pictures, side, side, 3) uint8."""
    out = np.empty((len(pictures), side, side, 3), dtype=np.uint8)
    for row, picture in enumerate(pictures):
        out[row] = scaled(picture.read(), side)
    return out


def read_clips(clips: Sequence[Clip], frames: int, side: int) -> Frames:
    """(clips, frames, side, side, 3) uint8: frames from the middles of equal parts."""
    out = np.empty((len(clips), frames, side, side, 3), dtype=np.uint8)
    for row, clip in enumerate(clips):
        for column, frame in enumerate(clip.read(frames)):
            out[row, column] = scaled(frame, side)
    return out


# ---------------------------------------------------------------- networks


class VisualMap(nn.Module):
    """Pictures -> a map: convolutions of stride 2 over the pixels and two channels that tell where
    each pixel is, without which a map that is averaged or attended to has no places."""

    coordinates: Tensor

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 5
        for place, channels in enumerate(config.channels):
            stride = config.stem if place == 0 else 2
            kernel = config.stem + 2 if place == 0 else 3
            layers += [
                nn.Conv2d(before, channels, kernel, stride=stride, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        self.convolutions = nn.Sequential(*layers)
        steps = torch.linspace(-1.0, 1.0, config.side)
        across, down = torch.meshgrid(steps, steps, indexing="xy")
        self.register_buffer("coordinates", torch.stack([across, down]), persistent=False)

    @property
    def channels(self) -> int:
        return self.config.channels[-1]

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, side, side, 3) uint8 -> (batch, locations, channels), row by row."""
        pixels = pictures.permute(0, 3, 1, 2).to(self.coordinates.dtype) / 127.5 - 1.0
        where = self.coordinates.expand(len(pictures), -1, -1, -1)
        both = torch.cat([pixels, where], dim=1)
        # a third faster on a processor than channel by channel
        seen: Tensor = self.convolutions(both.contiguous(memory_format=torch.channels_last))
        return seen.flatten(2).transpose(1, 2)


class PictureEncoder(nn.Module):
    """Pictures -> a vector each: the map, narrowed, as one long row through a dense layer, so that
    each place keeps weights of its own."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.map = VisualMap(config)
        self.narrow = nn.Linear(self.map.channels, config.narrow)
        self.dense = nn.Linear(config.narrow * config.map_side**2, config.size)

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, side, side, 3) uint8 -> (batch, size)."""
        narrow = torch.relu(self.narrow(self.map(pictures)))
        pooled: Tensor = self.dense(narrow.flatten(1))
        return pooled


class ClipEncoder(nn.Module):
    """Clips -> a state for each frame and a vector each: frames by PictureEncoder, then a recurrent
    layer in both directions, which knows what came before and after."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.frame = PictureEncoder(config)
        self.time = nn.GRU(2 * config.size, config.size // 2, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * config.size, config.size)

    def states(self, clips: Tensor) -> Tensor:
        """(batch, frames, side, side, 3) uint8 -> (batch, frames, size)."""
        batch, frames = clips.shape[:2]
        seen = self.frame(clips.flatten(0, 1)).view(batch, frames, -1)
        # what changed since the frame before: motion is small beside what is there
        change = torch.cat([torch.zeros_like(seen[:, :1]), seen[:, 1:] - seen[:, :-1]], dim=1)
        states: Tensor = self.time(torch.cat([seen, change], dim=2))[0]
        return states

    def forward(self, clips: Tensor) -> Tensor:
        """(batch, frames, side, side, 3) uint8 -> (batch, size)."""
        states = self.states(clips)
        pooled: Tensor = self.dense(torch.cat([states.mean(dim=1), states.amax(dim=1)], dim=1))
        return pooled


class WindowEncoder(nn.Module):
    """Windows of a clip -> a vector each: the frames' states inside, those at both ends against
    their neighbours outside, and how long the window is."""

    def __init__(self, config: VisualConfig, size: int) -> None:
        super().__init__()
        self.clips = ClipEncoder(config)
        self.dense = nn.Sequential(
            nn.Linear(6 * config.size + 1, size), nn.ReLU(), nn.Linear(size, size)
        )

    def forward(self, clips: Tensor, windows: Tensor) -> Tensor:
        """clips (batch, frames, side, side, 3) uint8; windows (windows, 2): the first frame and the
        one after the last -> (batch, windows, size)."""
        states = self.clips.states(clips)
        frames = states.shape[1]
        start, end = windows[:, 0], windows[:, 1]
        # sums of many frames in fp32: their differences are small beside them
        sums = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1).float().cumsum(dim=1)
        length = (end - start).to(states.dtype)[None, :, None]
        inside = (sums[:, end] - sums[:, start]).to(states.dtype) / length
        ends = [start - 1, start, (start + end) // 2, end - 1, end]
        around = [states[:, place.clamp(0, frames - 1)] for place in ends]
        lengths = (length / frames).expand(len(clips), -1, -1)
        encoded: Tensor = self.dense(torch.cat([inside, *around, lengths], dim=2))
        return encoded
