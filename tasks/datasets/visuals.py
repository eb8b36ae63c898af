"""Pictures and clips of files, which need not be given: annotations alone are enough to score.
Knows no data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import BadInput
from harness.media.images import read_picture
from harness.media.video import video_clip
from harness.types import Clip, Picture

if TYPE_CHECKING:
    from harness.types import Frames, Pixels


def picture_of(id: str, path: Path | None, size: tuple[int, int] | None = None) -> Picture:
    """The picture in the file `path`; without one, reading it raises BadInput."""
    read = partial(_no_pixels, id) if path is None else partial(read_picture, path)
    return Picture(id=id, read=read, size=size)


def clip_of(id: str, path: Path | None, duration: float) -> Clip:
    """The video in the file `path`, its first `duration` seconds; without a file, reading it raises
    BadInput."""
    if path is None:
        return Clip(id=id, read=partial(_no_frames, id), duration=duration)
    return video_clip(id, path, duration)


def _no_pixels(id: str) -> Pixels:
    raise BadInput(f"picture {id}: no folder of pictures was given; add --data-dir")


def _no_frames(id: str, count: int) -> Frames:
    raise BadInput(f"video {id}: no folder of videos was given; add --data-dir")
