"""Pictures and clips -> the annotation vectors that the captioners look at: a vector a location of
a picture, a vector a frame of a clip. Knows no words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .visual_encoder import VisualConfig, VisualMap, read_clips, read_pictures

VisionKind: TypeAlias = Literal["pictures", "clips", "frames", "efficientnet-lite0"]

_IMAGENET_CHANNELS, _IMAGENET_SIDE = 1280, 7  # of EfficientNet-Lite0's last map
_AT_ONCE = 256  # frames
Read: TypeAlias = Callable[[Sequence[Any], "VisionConfig", str], npt.NDArray[Any]]


@dataclass(frozen=True)
class VisionConfig:
    """`kind`: "pictures" and "clips", by a CNN that is trained along; "frames", clips by the frozen
    CNN of a captioner of pictures, as Yao et al. take GoogLeNet's; "efficientnet-lite0", pictures
    by a frozen CNN with ImageNet weights. `size`: of an annotation vector. `visual`: the
    CNN's sizes. `deeper`: convolutions over the map, for things larger than its locations. `roots`:
    of the frozen CNN's features, which are never negative, so that a few large ones do not drown
    the others; `dropout`: of those features, while training."""

    kind: VisionKind = "pictures"
    visual: VisualConfig = field(default_factory=VisualConfig)
    deeper: int = 2
    size: int = 96
    roots: bool = False
    dropout: float = 0.0

    @property
    def of_clips(self) -> bool:
        return self.kind in ("clips", "frames")

    @property
    def map_side(self) -> int:
        """Locations in a row and in a column of a picture's map."""
        return _IMAGENET_SIDE if self.kind == "efficientnet-lite0" else self.visual.map_side

    @property
    def locations(self) -> int:
        """Annotation vectors of a visual."""
        return self.visual.frames if self.of_clips else self.map_side**2


def read_visuals(
    visuals: Sequence[Any], config: VisionConfig, device: str = "cpu"
) -> npt.NDArray[Any]:
    """Visuals as the network takes them, a row each: uint8 pixels, or, where the CNN is frozen, its
    maps (visuals, locations, channels) in fp16, computed on the device."""
    if config.of_clips:
        return read_clips(visuals, config.visual.frames, config.visual.side)
    if config.kind == "pictures":
        return read_pictures(visuals, config.visual.side)
    from .efficientnet import maps_of

    return maps_of(visuals, device)


def remembering() -> Read:
    """read_visuals that computes the maps of a frozen CNN once for each visual, and keeps them."""
    known: dict[str, npt.NDArray[Any]] = {}

    def read(visuals: Sequence[Any], config: VisionConfig, device: str = "cpu") -> npt.NDArray[Any]:
        if config.kind != "efficientnet-lite0":
            return read_visuals(visuals, config, device)
        new = [visual for visual in visuals if visual.id not in known]
        if new:
            maps = read_visuals(new, config, device)
            known.update(zip([visual.id for visual in new], maps, strict=True))
        return np.stack([known[visual.id] for visual in visuals])

    return read


class Vision(nn.Module):
    """Visuals -> annotation vectors (batch, locations, size)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.see: nn.Module
        if config.kind == "pictures":
            self.see = _PictureMap(config)
        elif config.kind == "clips":
            self.see = _ClipFrames(config)
        elif config.kind == "frames":
            self.see = _FrozenFrames(config)
        elif config.kind == "efficientnet-lite0":
            self.see = nn.Sequential(
                nn.LayerNorm(_IMAGENET_CHANNELS), nn.Linear(_IMAGENET_CHANNELS, config.size)
            )
        else:
            raise ValueError(f"vision of the unknown kind {config.kind!r}")
        # without it annotations grow until the attention's tanh is flat and no word moves it
        self.norm = nn.LayerNorm(config.size)
        self.place = nn.Parameter(torch.randn(config.locations, config.size) * 0.1)

    @torch.no_grad()
    def prepare(self, visuals: Tensor) -> Tensor:
        """What read_visuals gives -> what training need compute once only: the maps of a frozen
        CNN, (batch, frames, locations, channels) in fp16; else the same."""
        if not isinstance(self.see, _FrozenFrames):
            return visuals
        flat = visuals.flatten(0, 1)
        maps = torch.cat([self.see.map.map_of(some) for some in torch.split(flat, _AT_ONCE)])
        return maps.view(*visuals.shape[:2], *maps.shape[1:]).half()

    def forward(self, visuals: Tensor) -> Tensor:
        """What `prepare` gives -> (batch, locations, size)."""
        if self.config.kind == "efficientnet-lite0":
            visuals = self._frozen_features(visuals)
        seen = self.see(visuals)
        placed: Tensor = self.norm(seen) + self.place
        return placed

    def _frozen_features(self, maps: Tensor) -> Tensor:
        """A feature that is dropped is dropped at all locations: neighbours show the same."""
        if self.config.roots:
            maps = maps.clamp(min=0.0).sqrt()
        if self.config.dropout and self.training:
            kept = F.dropout(torch.ones_like(maps[:, :1]), self.config.dropout)
            maps = maps * kept
        return maps

    def windows(self, visuals: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Clips by some of their frames alone: windows (batch, n, 2), the first frame and the one
        after the last -> annotations (batch * n, longest, size), 0 where padded, and their mask
        (batch * n, longest)."""
        assert isinstance(self.see, _Frames)
        frames = self.see.frames(visuals)
        length = windows[..., 1] - windows[..., 0]
        offsets = torch.arange(int(length.max()), device=windows.device)
        mask = offsets < length[..., None]  # (batch, n, longest)
        places = (windows[..., :1] + offsets).clamp(max=frames.shape[1] - 1)
        rows = torch.arange(len(frames), device=windows.device)[:, None, None]
        cut = frames[rows, places].flatten(0, 1)
        mask = mask.flatten(0, 1)
        seen = self.norm(self.see.over_time(cut, mask)) + self.place[: len(offsets)]
        return seen * mask[..., None], mask


class _PictureMap(nn.Module):
    """VisualMap, then residual convolutions, each of which sees three locations in a row."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.map = VisualMap(config.visual)
        channels = self.map.channels
        self.deeper = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
            for _ in range(config.deeper)
        )
        self.dense = nn.Linear(channels, config.size)

    def forward(self, pictures: Tensor) -> Tensor:
        dense: Tensor = self.dense(self.map_of(pictures))
        return dense

    def map_of(self, pictures: Tensor) -> Tensor:
        """(batch, side, side, 3) uint8 -> (batch, locations, channels)."""
        side = self.map.config.map_side
        seen = self.map(pictures).transpose(1, 2).unflatten(2, (side, side))
        for layer in self.deeper:
            seen = seen + layer(seen)
        rows: Tensor = seen.flatten(2).transpose(1, 2)
        return rows


class _Frames(nn.Module):
    """Clips -> a vector a frame, each beside its neighbours'."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.near = nn.Linear(3 * config.visual.size, config.size)

    def forward(self, clips: Tensor) -> Tensor:
        return self.over_time(self.frames(clips), None)

    def frames(self, clips: Tensor) -> Tensor:
        """-> (batch, frames, visual.size)."""
        raise NotImplementedError

    def over_time(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Each frame's vector from its own and its neighbours'; those that the mask leaves out and
        those beyond the ends count as 0."""
        if mask is not None:
            frames = frames * mask[..., None]
        padded = F.pad(frames, (0, 0, 1, 1))
        near: Tensor = self.near(torch.cat([padded[:, :-2], frames, padded[:, 2:]], dim=2))
        return near


class _FrozenFrames(_Frames):
    """The maps of a CNN that is not trained, each beside what changed since the frame before."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        visual = config.visual
        self.map = _PictureMap(config).requires_grad_(False)
        self.narrow = nn.Linear(2 * self.map.map.channels, visual.narrow)
        self.dense = nn.Linear(visual.narrow * visual.map_side**2, visual.size)

    def train(self, mode: bool = True) -> _FrozenFrames:
        super().train(mode)
        self.map.eval()  # its batch norms stay as they are
        return self

    def frames(self, clips: Tensor) -> Tensor:
        maps = clips.to(self.dense.weight.dtype)
        change = torch.cat([torch.zeros_like(maps[:, :1]), maps[:, 1:] - maps[:, :-1]], dim=1)
        narrow = torch.relu(self.narrow(torch.cat([maps, change], dim=3)))
        return torch.relu(self.dense(narrow.flatten(2)))


class _ClipFrames(_Frames):
    """Frames through one CNN, each beside what changed since the frame before, which stands in for
    the paper's local motion features; then each vector beside its neighbours'."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        visual = config.visual
        layers: list[nn.Module] = []
        before = 8  # colours, what changed in them, and where
        for place, channels in enumerate(visual.channels):
            layers += [
                nn.Conv2d(before, channels, 3 if place else 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            before = channels
        self.convolutions = nn.Sequential(*layers)
        self.narrow = nn.Conv2d(before, visual.narrow, 1)
        self.dense = nn.Linear(visual.narrow * visual.map_side**2, visual.size)
        steps = torch.linspace(-1.0, 1.0, visual.side)
        across, down = torch.meshgrid(steps, steps, indexing="xy")
        self.where: Tensor
        self.register_buffer("where", torch.stack([across, down]), persistent=False)

    def frames(self, clips: Tensor) -> Tensor:
        """(batch, frames, side, side, 3) uint8 -> (batch, frames, visual.size)."""
        pixels = clips.permute(0, 1, 4, 2, 3).to(self.where.dtype) / 127.5 - 1.0
        change = torch.cat([torch.zeros_like(pixels[:, :1]), pixels[:, 1:] - pixels[:, :-1]], 1)
        where = self.where.expand(*pixels.shape[:2], -1, -1, -1)
        both = torch.cat([pixels, change, where], dim=2).flatten(0, 1)
        # a third faster on a processor than channel by channel
        seen = self.convolutions(both.contiguous(memory_format=torch.channels_last))
        narrow = torch.relu(self.narrow(seen)).flatten(1)
        return torch.relu(self.dense(narrow)).view(*clips.shape[:2], -1)


def cells_of(boxes: npt.NDArray[np.float64], side: float, cells: int) -> npt.NDArray[np.float64]:
    """How much of each cell of a map boxes cover: boxes (n, 4) in a picture `side` pixels wide and
    high -> (n, cells * cells), parts of a cell's area in [0, 1], row by row."""
    edges = np.arange(cells + 1) * side / cells

    def covered(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Any:
        first = np.maximum(low[:, None], edges[None, :-1])
        last = np.minimum(high[:, None], edges[None, 1:])
        return (last - first).clip(0.0) * cells / side

    across, down = covered(boxes[:, 0], boxes[:, 2]), covered(boxes[:, 1], boxes[:, 3])
    area: npt.NDArray[np.float64] = down[:, :, None] * across[:, None, :]
    return area.reshape(len(boxes), -1)
