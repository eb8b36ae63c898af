"""Pictures and clips as small files that pages show: each visual once for a whole report, a clip as
a strip of its frames. Knows no page and no run."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError
from harness.media.contact_sheet import fit
from harness.types import Clip, Json, Visual

if TYPE_CHECKING:
    from PIL.Image import Image as _Image

    from harness.types import Pixels

FRAMES = 16  # of a clip
_SMALL = 240  # longest side of a picture that is kept as it is, pixel by pixel
_PICTURE, _FRAME = 400, 128  # longest sides of others, and of a frame
_LOSSY, _QUICK = {"quality": 82}, {"lossless": True, "quality": 20, "method": 1}


@dataclass
class Drawings:
    """The folder of a report's pictures. `draw` gives what a page must know of a visual: {"file",
    "width", "height"} in pixels of the original (of a frame, and "frames", for a clip), or {"lost":
    why there is none}."""

    folder: Path
    _known: dict[str, Json] = field(default_factory=dict)

    def draw(self, visual: Visual) -> Json:
        if visual.id not in self._known:
            try:
                self._known[visual.id] = self._drawn(visual)
            except HarnessError as error:
                self._known[visual.id] = {"lost": str(error)}
            except Exception as error:  # a plug-in's code: anything can happen
                self._known[visual.id] = {"lost": f"it cannot be read: {error!r}"}
        return self._known[visual.id]

    def _drawn(self, visual: Visual) -> Json:
        name = hashlib.sha256(visual.id.encode("utf-8", "surrogatepass")).hexdigest()[:20]
        file = f"{name[:2]}/{name[2:]}.webp"
        path = self.folder / file
        if isinstance(visual, Clip):
            frames = visual.read(FRAMES)
            height, width = frames.shape[1:3]
            self._write(path, frames)
            return {"file": file, "width": width, "height": height, "frames": FRAMES}
        pixels = visual.read()
        self._write(path, pixels[None])
        return {"file": file, "width": pixels.shape[1], "height": pixels.shape[0]}

    def _write(self, path: Path, frames: Pixels) -> None:
        if path.is_file():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        small = max(frames.shape[1:3]) <= _SMALL
        how = _QUICK if small and len(frames) == 1 else _LOSSY
        side_by_side(frames).save(beside, "WEBP", **how)
        os.replace(beside, path)


def side_by_side(frames: Pixels) -> _Image:
    """Frames (frames, height, width, 3) as one picture, one after the other; a single one is a
    picture. Large ones are made smaller."""
    from PIL import Image

    most = _FRAME if len(frames) > 1 else _PICTURE
    if max(frames.shape[1:3]) <= (most if len(frames) > 1 else _SMALL):
        return Image.fromarray(np.ascontiguousarray(np.concatenate(list(frames), axis=1)))
    parts = [fit(frame, 0, 0, most)[0] for frame in frames]
    whole = Image.new("RGB", (sum(part.width for part in parts), parts[0].height))
    for place, part in enumerate(parts):
        whole.paste(part, (place * part.width, 0))
    return whole
