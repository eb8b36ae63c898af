"""Samples drawn for a person: a picture with its boxes, a clip as a sheet of frames over a ruler of
its moments, or as an animation, and the texts beside. Knows no data set, task or model; Pillow
loads with the first drawing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import BadInput
from ..types import Clip, Picture, Shown
from .lettering import cut, font, wrapped

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image as _Image

    from ..types import Frames, Pixels
    from .lettering import Font

_Colour: TypeAlias = tuple[int, int, int]
_Moment: TypeAlias = tuple[str, float, float]

# Okabe and Ito's, which most colour-blind people can tell apart, strongest first.
_COLOURS: Sequence[_Colour] = (
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
_WHITE, _BLACK, _GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_PALE, _LINE = (241, 241, 241), (200, 200, 200)

_MARGIN, _GAP = 24, 16  # pixels, as all that follow
_TEXT, _SMALL = 16, 13  # font sizes
_SMALL_PICTURE, _ENLARGED, _PHOTOGRAPH = 240, 480, 640  # longest sides
_COLUMN, _LEAST_WIDTH = 400, 560  # texts beside, texts below
_FRAME, _ANIMATED = 160, 320  # longest sides, about
_ACROSS, _LONG_CLIP = 8, 30.0  # frames a row; seconds from which a sheet has 32 frames, not 16
_MOST_LINES, _MOST_TEXTS, _MOST_ROWS = 14, 40, 12  # of a text; on a page; of a ruler


def draw_sample(visual: Picture | Clip, shown: Shown) -> _Image:
    """A sample as one RGB picture for a screen at 100%.

    A picture is enlarged by a whole factor if it is small, else fitted into 640 x 640 pixels, and
    has `shown.boxes` on it. A clip is a sheet of 16 frames, or 32 if it lasts 30 s and more, each
    with its time, above a ruler in seconds with a bar for each of `shown.moments`; frames inside
    the first moment have its colour around them. Boxes are for pictures, moments for clips. Long
    texts end in "…", as do long lists, and what the font lacks is replaced. Raises BadInput if
    `visual` cannot be read.
    """
    if isinstance(visual, Clip):
        count = 32 if visual.duration >= _LONG_CLIP else 16
        frames = visual.read(count)
        moments = _drawable(shown.moments)
        sheet = _sheet(frames, visual.duration, moments[:1])
        ruler = _ruler(sheet.width, visual.duration, count, moments)
        lines = [*shown.lines, *_not_drawn([(what, ends) for what, *ends in shown.moments])]
        return _page(_stacked([sheet, ruler, _text_block(lines, sheet.width, left=3)]))
    picture, scale = fit(visual.read(), _SMALL_PICTURE, _ENLARGED, _PHOTOGRAPH)
    _draw_boxes(picture, shown.boxes, scale)
    lines = [*shown.lines, *_not_drawn(shown.boxes)]
    if picture.height >= picture.width:
        return _page(_beside(picture, _text_block(lines, _COLUMN)))
    return _page(_stacked([picture, _text_block(lines, max(picture.width, _LEAST_WIDTH))]))


def animate_clip(clip: Clip, path: Path, shown: Shown | None = None, frames: int = 32) -> None:
    """Write `frames` frames of a clip as an animation that lasts as long as the clip does and
    repeats: .gif, .webp or .png by the suffix of `path`.

    While it is inside one of `shown.moments`, a border of that moment's colour stands around it.
    Raises BadInput if the suffix is another or the file cannot be written.
    """
    if path.suffix.lower() not in (".gif", ".webp", ".png"):
        raise BadInput(f"{path}: animations are .gif, .webp or .png; name the file so")
    if not (math.isfinite(clip.duration) and clip.duration > 0):
        raise BadInput(
            f"{path}: clip {clip.id!r} lasts {clip.duration} s, so it cannot be animated"
        )
    if frames < 1:
        raise BadInput(f"{path}: an animation of {frames} frames; ask for one or more")
    moments = _drawable(shown.moments if shown is not None else ())
    drawn = [
        _animated(pixels, (place + 0.5) / frames * clip.duration, clip.duration, moments)
        for place, pixels in enumerate(clip.read(frames))
    ]
    # in hundredths of a second, which is what .gif has; cut so that their sum is right
    ends = [round(100 * clip.duration * place / frames) for place in range(frames + 1)]
    milliseconds = [max(2, after - before) * 10 for before, after in itertools.pairwise(ends)]
    try:
        drawn[0].save(
            path,
            save_all=True,
            append_images=drawn[1:],
            duration=milliseconds,
            loop=0,
            lossless=True,
        )
    except OSError as error:
        raise BadInput(
            f"{path}: the animation cannot be written ({error.strerror or error}); "
            "correct the path or its rights"
        ) from None


# ---------------------------------------------------------------- pictures and their boxes


def fit(pixels: Pixels, small: int, enlarged: int, longest: int) -> tuple[_Image, float]:
    """The picture as shown, and by how much it is enlarged. One of at most `small` pixels grows by
    the whole factor that brings it nearest to `enlarged`; others are fitted to `longest`."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    side = max(picture.size)
    if side <= small:
        factor = max(1, round(enlarged / side))
        size = (picture.width * factor, picture.height * factor)
        return picture.resize(size, Image.Resampling.NEAREST), float(factor)
    scale = longest / side
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS), scale


def _draw_boxes(
    picture: _Image, boxes: Sequence[tuple[str, tuple[float, float, float, float]]], scale: float
) -> None:
    """Outlines of 3 pixels between thin white lines, and a tag each where it covers no other."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    outlines: list[tuple[str, _Colour, tuple[int, int, int, int]]] = []
    for place, (what, box) in enumerate(boxes):
        if all(map(math.isfinite, box)):
            corners = _within(box, scale, picture.size)
            outlines.append((what, _COLOURS[place % len(_COLOURS)], corners))
    for _, colour, (x1, y1, x2, y2) in reversed(outlines):  # the first comes to lie on top
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_WHITE, width=5)
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=3)
    taken: list[tuple[int, int, int, int]] = []
    for what, colour, corners in outlines:
        if what:
            taken.append(_draw_tag(draw, picture.size, what, colour, corners, taken))


def _within(
    box: tuple[float, float, float, float], scale: float, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The box in pixels of the shown picture, its far ends included, cut at the picture's edge."""
    x = sorted(round(min(max(value * scale, 0), size[0])) for value in (box[0], box[2]))
    y = sorted(round(min(max(value * scale, 0), size[1])) for value in (box[1], box[3]))
    x1, y1 = min(x[0], size[0] - 1), min(y[0], size[1] - 1)
    return x1, y1, max(x1, x[1] - 1), max(y1, y[1] - 1)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    what: str,
    colour: _Colour,
    corners: tuple[int, int, int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """The tag above its box, else below, else inside: the first place that is free."""
    small = font(_SMALL)
    text = cut(what, small, min(220, size[0] - 12))
    width, height = math.ceil(small.getlength(text)) + 10, 19
    x1, y1, x2, y2 = corners
    rows = (y1 - height, y2 + 1, y1 + 4, y2 - height - 3)
    columns = (x1, x2 - width + 1)
    places = [
        (max(0, min(x, size[0] - width)), y)
        for y in rows
        for x in columns
        if 0 <= y <= size[1] - height
    ] or [(max(0, min(x1, size[0] - width)), max(0, min(y1, size[1] - height)))]
    free = [
        (x, y)
        for x, y in places
        if all(x + width <= a or c <= x or y + height <= b or d <= y for a, b, c, d in taken)
    ]
    x, y = (free or places)[0]
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 140
    draw.text((x + 5, y + height / 2), text, _WHITE if dark else _BLACK, small, anchor="lm")
    return x, y, x + width, y + height


# ---------------------------------------------------------------- clips


def _sheet(frames: Frames, duration: float, first: Sequence[_Moment]) -> _Image:
    """Eight frames a row, each with its time below and a border if it is inside the moment."""
    from PIL import Image, ImageDraw

    pictures = [fit(frame, 120, _FRAME, _FRAME)[0] for frame in frames]
    width, height = pictures[0].size
    across, down = width + 10, height + 32
    rows = math.ceil(len(pictures) / _ACROSS)
    sheet = Image.new("RGB", (across * _ACROSS - 4, down * rows - 4), _WHITE)
    draw, small = ImageDraw.Draw(sheet), font(_SMALL)
    for place, picture in enumerate(pictures):
        x, y = place % _ACROSS * across, place // _ACROSS * down
        time = (place + 0.5) / len(pictures) * duration
        inside = _moment_at(time, first) is not None
        if inside:
            draw.rectangle((x, y, x + width + 5, y + height + 5), fill=_COLOURS[0])
        sheet.paste(picture, (x + 3, y + 3))
        colour = _COLOURS[0] if inside else _GREY
        draw.text((x + 3 + width / 2, y + height + 9), _seconds(time), colour, small, anchor="ma")
    return sheet


def _ruler(width: int, duration: float, frames: int, moments: Sequence[_Moment]) -> _Image:
    """Seconds from the left to the right edge, a mark where each frame is, and a bar a moment."""
    from PIL import Image, ImageDraw

    rows = moments[:_MOST_ROWS]
    left_out = len(moments) - len(rows)
    axis = 24 * len(rows) + (20 if left_out else 0) + 14
    ruler = Image.new("RGB", (width, axis + 28), _WHITE)
    draw, small = ImageDraw.Draw(ruler), font(_SMALL)

    def at(seconds: float) -> float:
        return 3 + (width - 7) * _share(seconds, duration)

    for row, moment in enumerate(rows):
        top = 24 * row
        draw.rectangle((at(0), top, at(duration), top + 17), fill=_PALE)
        colour = _COLOURS[row % len(_COLOURS)]
        _draw_bar(draw, small, at(moment[1]), at(moment[2]), top, width, colour, moment)
    if left_out:
        draw.text((at(0), 24 * len(rows)), f"… and {left_out:,} more", _GREY, small)
    draw.line((at(0), axis, at(duration), axis), fill=_GREY, width=1)
    for place in range(frames):
        time = (place + 0.5) / frames * duration
        inside = _moment_at(time, moments[:1]) is not None
        x = at(time)
        draw.polygon(
            ((x, axis - 2), (x - 4, axis - 8), (x + 4, axis - 8)),
            fill=_COLOURS[0] if inside else _LINE,
        )
    for seconds, text in _ticks(duration):
        x = at(seconds)
        draw.line((x, axis, x, axis + 6), fill=_GREY, width=1)
        half = small.getlength(text) / 2
        draw.text((min(max(x, half), width - half), axis + 9), text, _GREY, small, anchor="ma")
    return ruler


def _draw_bar(
    draw: ImageDraw.ImageDraw,
    small: Font,
    start: float,
    end: float,
    top: int,
    width: int,
    colour: _Colour,
    moment: _Moment,
) -> None:
    """A bar from `start` to `end` and its label after it, else before it, else on it."""
    end = max(end, start + 3)
    draw.rectangle((start, top, end, top + 17), fill=colour)
    times = f"{moment[1]:.4g}-{moment[2]:.4g} s"
    text = cut(moment[0], small, max(width - 20 - small.getlength(times) - 12, 0))
    text = f"{text}  {times}" if text else times
    length = small.getlength(text)
    if end + 8 + length <= width:
        draw.text((end + 8, top + 9), text, _BLACK, small, anchor="lm")
    elif start - 8 - length >= 0:
        draw.text((start - 8, top + 9), text, _BLACK, small, anchor="rm")
    else:
        x = min(max(start + 8, 4), width - length - 8)
        draw.rectangle((x - 4, top + 1, x + length + 4, top + 16), fill=_WHITE)
        draw.text((x, top + 9), text, _BLACK, small, anchor="lm")


def _ticks(duration: float) -> Iterator[tuple[float, str]]:
    """About ten round times from 0 to the duration."""
    if not (math.isfinite(duration) and duration > 0):
        yield 0.0, "0 s"
        return
    power = 10.0 ** math.floor(math.log10(duration / 10))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= duration / 10 * 0.999)
    for place in range(math.floor(duration / step * 1.000001) + 1):
        yield place * step, f"{place * step:.6g} s"


def _moment_at(time: float, moments: Sequence[_Moment]) -> int | None:
    return next((i for i, (_, start, end) in enumerate(moments) if start <= time <= end), None)


def _drawable(moments: Sequence[_Moment]) -> Sequence[_Moment]:
    return [
        (what, min(start, end), max(start, end))
        for what, start, end in moments
        if math.isfinite(start) and math.isfinite(end)
    ]


def _share(time: float, duration: float) -> float:
    """How much of the clip, from 0 to 1, is over at a time."""
    if not (math.isfinite(duration) and duration > 0):
        return 0.0
    return min(max(time / duration, 0.0), 1.0)


def _seconds(time: float) -> str:
    return f"{time:.2f} s" if time < 10 else f"{time:.1f} s"


def _animated(pixels: Pixels, time: float, duration: float, moments: Sequence[_Moment]) -> _Image:
    """A frame with its border and, below, the time on a strip with the moments."""
    from PIL import Image, ImageDraw

    picture = fit(pixels, _FRAME, _ANIMATED, _ANIMATED)[0]
    width, height = picture.width + 12, picture.height + 12
    rows = len(moments[:_MOST_ROWS])
    page = Image.new("RGB", (width, height + 26 + 6 * rows), _WHITE)
    draw, small = ImageDraw.Draw(page), font(_SMALL)
    now = _moment_at(time, moments)
    colour = _PALE if now is None else _COLOURS[now % len(_COLOURS)]
    draw.rectangle((0, 0, width - 1, height - 1), fill=colour)
    page.paste(picture, (6, 6))
    for row, (_, start, end) in enumerate(moments[:rows]):
        top = height + 4 + 6 * row
        draw.rectangle((0, top, width - 1, top + 3), fill=_PALE)
        ends = [(width - 1) * _share(at, duration) for at in (start, end)]
        draw.rectangle((ends[0], top, ends[1], top + 3), fill=_COLOURS[row % len(_COLOURS)])
    x = (width - 1) * _share(time, duration)
    draw.line((x, height + 2, x, height + 5 + 6 * rows), fill=_BLACK, width=2)
    times = f"{time:.1f} / {duration:.1f} s"
    draw.text((width - 2, page.height - 3), times, _GREY, small, anchor="rb")
    if now is not None:
        what = cut(moments[now][0], small, width - small.getlength(times) - 16)
        draw.text((2, page.height - 3), what, _BLACK, small, anchor="lb")
    return page


# ---------------------------------------------------------------- texts


def _text_block(lines: Sequence[tuple[str, str]], width: int, left: int = 0) -> _Image:
    """What each text is, in grey, beside the text if there is room, else above it."""
    from PIL import Image, ImageDraw

    large, small = font(_TEXT), font(_SMALL)
    if len(lines) > _MOST_TEXTS:
        lines = [*lines[:_MOST_TEXTS], ("", f"… and {len(lines) - _MOST_TEXTS:,} more")]
    beside = width >= _LEAST_WIDTH
    whats = [cut(what, small, 140 if beside else width) for what, _ in lines]
    indent = 16 + math.ceil(max(map(small.getlength, whats), default=0)) if beside else 0
    placed: list[tuple[int, int, str, bool]] = []  # x, the baseline's y, text, whether it is a what
    y = 0
    for what, (_, text) in zip(whats, lines, strict=True):
        placed.append((left, y + 14, what, True))
        y += 0 if beside else 18
        for line in wrapped(text, large, min(width - left, 900) - indent, _MOST_LINES):
            placed.append((left + indent, y + 14, line, False))
            y += 22
        y += 6 if beside else 12
    block = Image.new("RGB", (width, max(y, 1)), _WHITE)
    draw = ImageDraw.Draw(block)
    for x, baseline, line, grey in placed:
        draw.text(
            (x, baseline), line, _GREY if grey else _BLACK, small if grey else large, anchor="ls"
        )
    return block


def _not_drawn(things: Sequence[tuple[str, Sequence[float]]]) -> list[tuple[str, str]]:
    """A line for each box or moment that has no place."""
    return [
        ("not drawn", f"{what}: {', '.join(map(str, numbers))}")
        for what, numbers in things
        if not all(map(math.isfinite, numbers))
    ]


# ---------------------------------------------------------------- pages


def _page(content: _Image) -> _Image:
    from PIL import Image

    page = Image.new("RGB", (content.width + 2 * _MARGIN, content.height + 2 * _MARGIN), _WHITE)
    page.paste(content, (_MARGIN, _MARGIN))
    return page


def _stacked(blocks: Sequence[_Image]) -> _Image:
    from PIL import Image

    height = sum(block.height for block in blocks) + _GAP * (len(blocks) - 1)
    page = Image.new("RGB", (max(block.width for block in blocks), height), _WHITE)
    y = 0
    for block in blocks:
        page.paste(block, (0, y))
        y += block.height + _GAP
    return page


def _beside(left: _Image, right: _Image) -> _Image:
    from PIL import Image

    size = (left.width + _MARGIN + right.width, max(left.height, right.height))
    page = Image.new("RGB", size, _WHITE)
    page.paste(left, (0, 0))
    page.paste(right, (left.width + _MARGIN, 0))
    return page
