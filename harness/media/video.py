"""Frames of video files, decoded with PyAV, which loads with the first video. Knows no data set and
no model.

Frames stand as stored: a rotation that a file's metadata asks for is not applied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput
from ..types import Clip

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from ..types import Frames, Pixels

_LOCAL = {"protocol_whitelist": "file"}  # a playlist in a file must not reach for the network


def video_clip(id: str, path: Path, duration: float) -> Clip:
    """The first `duration` seconds of the video in the file `path` as a clip, the whole of it where
    that is 0; the file is opened only when the clip is read, as by `read_frames`."""
    return Clip(id=id, read=partial(read_frames, path, duration=duration), duration=duration)


def read_frames(
    path: Path, count: int, duration: float | None = None, start: float = 0.0
) -> Frames:
    """`count` frames of a video file, (count, height, width, 3), RGB, 0 to 255.

    They are what the video shows at the middles of `count` equal parts of the `duration` seconds
    from `start` on, which counts from the first frame: frame i at start + (i + .5) / count *
    duration. A duration of None or 0 stands for the rest of the video's real length, which is read
    off the file's packets, not off its header. Times after the end give the last frame.

    The file is decoded once, from its start, no further than needed. A video of few frames repeats
    some; one that breaks off gives the frames it has. Frames of another size than the first are
    scaled to that one's. Raises BadInput, naming the file, if it is missing, no video or holds no
    frame that decodes, and if PyAV is not installed.
    """
    if count < 1:
        raise ValueError(f"{count} frames were asked for; ask for one or more")
    if not 0 <= start < math.inf or not 0 <= (duration or 0) < math.inf:
        raise ValueError(f"{duration} seconds from {start} on are no part of a video")
    try:
        import av
    except ImportError:
        raise BadInput(
            f"{path}: reading videos needs PyAV, which is absent; pip install 'harness[video]'"
        ) from None
    try:
        times, tick = _packet_times(path)
        wanted = _middles(times, tick, count, _exact(start), _exact(duration or 0.0))
        frames = list(_frames_at(path, times, wanted))
    except FileNotFoundError:
        raise BadInput(
            f"{path}: there is no such video; put it there, or correct the folder given"
        ) from None
    except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:  # PyAV raises all of them
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise BadInput(
            f"{path}: this is not a video that PyAV can read ({reason}); fetch the file again"
        ) from None
    if not frames:
        raise BadInput(f"{path}: no frame of this video can be decoded; fetch the file again")
    frames += [frames[-1]] * (count - len(frames))
    return np.stack(frames)


def _open(path: Path) -> InputContainer:
    """The absolute path, so that no name is taken for a protocol. Titles and the like, which nobody
    reads, may have any bytes."""
    import av

    return av.open(str(path.absolute()), options=_LOCAL, metadata_errors="replace")


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise BadInput(f"{path}: there is no picture track in this file; fetch the file again")
    return container.streams.video[0]


# ---------------------------------------------------------------- the length, off the packets


def _packet_times(path: Path) -> tuple[list[int], Fraction]:
    """When each frame is first shown, in ticks, in order, and last the end of the last frame; and
    the seconds of a tick. Nothing is decoded. Empty if the file has no packets."""
    with _open(path) as container:
        stream = _video_stream(container, path)
        moments = [
            (_time(packet), packet.duration or 0) for packet in _full_packets(container, stream)
        ]
        tick = stream.time_base or Fraction(1, 1000)
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    if not moments:
        return [], tick
    if any(time is None for time, _ in moments):  # a raw stream: its frames are taken as even
        return list(range(len(moments) + 1)), 1 / rate
    known = sorted((time, duration) for time, duration in moments if time is not None)
    times = [time for time, _ in known]
    last = known[-1][1] or _even_step(times)
    return [*times, times[-1] + last], tick


def _full_packets(
    container: InputContainer, stream: VideoStream
) -> Iterator[av.Packet[VideoStream]]:
    """The packets with something in them, up to where the file breaks off."""
    import av

    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                yield packet
    except av.FFmpegError:  # what came before it is used
        return


def _time(packet: av.Packet[VideoStream]) -> int | None:
    return packet.dts if packet.pts is None else packet.pts


def _even_step(times: list[int]) -> int:
    """How long the last frame stays when the file does not say: as the others do on average."""
    return max(1, (times[-1] - times[0]) // max(1, len(times) - 1))


# ---------------------------------------------------------------- the frames, decoded once


def _middles(
    times: list[int], tick: Fraction, count: int, start: Fraction, duration: Fraction
) -> list[Fraction]:
    """The middles of `count` equal parts, in ticks; exact, so that a middle on the border of two
    frames is the later one's."""
    if not times:
        return []
    first = times[0] + start / tick
    length = duration / tick or max(times[-1] - first, Fraction(0))
    return [first + length * (2 * part + 1) / (2 * count) for part in range(count)]


def _exact(seconds: float) -> Fraction:
    """0.1 as a tenth, which no float is."""
    return Fraction(seconds).limit_denominator(1_000_000)


def _frames_at(path: Path, times: list[int], wanted: list[Fraction]) -> Iterator[Pixels]:
    """What is shown at the `wanted` times, at most a frame for each: fewer where the video ends
    before them."""
    place = 0
    shown: av.VideoFrame | None = None
    size = (0, 0)
    with _open(path) as container:
        for number, frame in enumerate(_decoded(container, _video_stream(container, path))):
            time = times[min(number, len(times) - 1)] if frame.pts is None else frame.pts
            if shown is None:
                shown, size = frame, (frame.width, frame.height)
            due = place
            while due < len(wanted) and wanted[due] < time:
                due += 1
            if due > place:
                yield from [_pixels(shown, size)] * (due - place)
                place = due
            if place == len(wanted):
                return
            shown = frame
    if shown is not None:
        yield _pixels(shown, size)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """The frames in order of presentation; a packet that does not decode is passed over."""
    import av

    for packet in _all_packets(container, stream):
        try:
            yield from packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            continue


def _all_packets(container: InputContainer, stream: VideoStream) -> Iterator[Any]:
    """Every packet and the empty one that flushes the decoder, also where the file breaks off."""
    import av

    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        yield av.Packet()


def _pixels(frame: av.VideoFrame, size: tuple[int, int]) -> Pixels:
    width, height = size
    pixels: Any = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.asarray(pixels, dtype=np.uint8)
