"""Videos through PyAV, from small files written here whose every frame is of one grey."""

from __future__ import annotations

import builtins
import contextlib
import socket
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import BadInput
from harness.media.video import read_frames, video_clip

av = pytest.importorskip("av", reason="PyAV is not installed")

STEP = 20  # between the greys of two frames; compression moves them by less than half of it


def write_video(
    path: Path,
    frames: int = 10,
    times: Sequence[int] | None = None,
    format: str | None = None,
    b_frames: int = 0,
    codec: str = "mpeg4",
) -> Path:
    """`frames` frames of 48 x 64, the i-th of grey STEP * i, at `times` in milliseconds or ten a
    second."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=10, options={"bf": str(b_frames)})
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            pixels = np.full((48, 64, 3), STEP * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(frames: Any) -> list[int]:
    """Which frames these are, by their grey."""
    return [round(float(frame.mean()) / STEP) for frame in frames]


def message_of_reading(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_frames(path, 3)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mkv"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_frames_are_those_at_the_middles_of_equal_parts(
    tmp_path: Path, name: str, b_frames: int
) -> None:
    path = write_video(tmp_path / name, b_frames=b_frames)
    assert numbers(read_frames(path, 1)) == [5]
    assert numbers(read_frames(path, 2)) == [2, 7]
    assert numbers(read_frames(path, 5)) == [1, 3, 5, 7, 9]
    assert numbers(read_frames(path, 10)) == list(range(10))


def test_frames_are_an_array_of_rgb_pixels(tmp_path: Path) -> None:
    frames = read_frames(write_video(tmp_path / "a.mp4"), 4)
    assert frames.shape == (4, 48, 64, 3)
    assert frames.dtype == np.uint8


def test_colours_stand_in_the_order_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        pixels = np.zeros((48, 64, 3), dtype=np.uint8)
        pixels[..., 0] = 200
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    red, green, blue = read_frames(path, 1)[0].reshape(-1, 3).mean(axis=0)
    assert red > 150
    assert max(green, blue) < 50


def test_more_frames_than_there_are_repeat_some(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=3)
    assert numbers(read_frames(path, 9)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    one = write_video(tmp_path / "one.mp4", frames=1)
    assert numbers(read_frames(one, 3)) == [0, 0, 0]


def test_frames_are_chosen_by_when_they_are_shown_not_by_number(tmp_path: Path) -> None:
    times = [0, 100, 200, 300, 1000, 4000]  # the fifth is shown for three of some five seconds
    path = write_video(tmp_path / "a.mkv", frames=6, times=times)
    assert numbers(read_frames(path, 4)) == [3, 4, 4, 4]


def test_a_start_later_than_zero_moves_nothing(tmp_path: Path) -> None:
    times = [5000 + 100 * number for number in range(10)]
    path = write_video(tmp_path / "a.mkv", times=times)
    assert numbers(read_frames(path, 5)) == [1, 3, 5, 7, 9]


UNEVEN = [0, 50, 400, 450, 500, 1200, 1250, 1900]  # milliseconds


def test_a_frame_that_is_lost_moves_none_of_the_later_ones(tmp_path: Path) -> None:
    """What counts is when the decoder says that a frame is shown, not which one in a row it is."""
    path = write_video(tmp_path / "a.mkv", frames=8, times=UNEVEN, codec="mjpeg")
    at = [100, 300, 500, 700, 900, 1100, 1300, 1500, 1700, 1900]
    shown = [max(i for i, time in enumerate(UNEVEN) if time <= one) for one in at]
    assert numbers(read_frames(path, 10, 2.0)) == shown == [1, 1, 4, 4, 4, 4, 6, 6, 6, 7]
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    position, size = packets[4]
    start = content.index(b"\xff\xd8", position)
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    assert numbers(read_frames(path, 10, 2.0)) == [1, 1, 3, 3, 3, 3, 6, 6, 6, 7]


def test_a_clip_is_as_long_as_annotated_not_as_its_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")  # a second
    assert numbers(video_clip("some/a", path, 0.5).read(5)) == [0, 1, 2, 3, 4]
    assert numbers(video_clip("some/a", path, 0.2).read(1)) == [1]
    assert numbers(video_clip("some/a", path, 0.0).read(5)) == [1, 3, 5, 7, 9]


def test_times_after_the_end_give_the_last_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    assert numbers(read_frames(path, 4, 2.0)) == [2, 7, 9, 9]
    assert numbers(read_frames(path, 2, 1.0, start=5.0)) == [9, 9]


@pytest.mark.parametrize("times", [None, [5000 + 100 * number for number in range(10)]])
def test_a_part_of_a_video_counts_from_its_first_frame(
    tmp_path: Path, times: list[int] | None
) -> None:
    path = write_video(tmp_path / "a.mkv", times=times)
    assert numbers(read_frames(path, 3, 0.3, start=0.4)) == [4, 5, 6]
    assert numbers(read_frames(path, 3, start=0.4)) == [5, 7, 9]


def test_a_middle_on_the_border_of_two_frames_is_the_later_ones(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", frames=12)
    assert numbers(read_frames(path, 1, 0.6)) == [3]  # 0.3 s, where no float is a tenth
    assert numbers(read_frames(path, 3, 0.6)) == [1, 3, 5]


def test_a_part_that_is_none_cannot_be_asked_for(tmp_path: Path) -> None:
    for duration, start in ((-1.0, 0.0), (1.0, -1.0), (float("nan"), 0.0), (float("inf"), 0.0)):
        with pytest.raises(ValueError, match="no part of a video"):
            read_frames(tmp_path / "a.mp4", 1, duration, start)


def test_a_raw_stream_without_any_duration_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.m4v", format="m4v")
    with av.open(str(path)) as container:
        assert container.streams.video[0].duration is None
    assert numbers(read_frames(path, 2, 0.4)) == [1, 3]
    assert numbers(read_frames(path, 5)) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_a_video_that_breaks_off_gives_the_frames_there_are(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(content[: starts[5]])
    found = numbers(read_frames(path, 5))
    assert found == sorted(found)
    assert found[0] == 0
    assert 3 <= found[-1] <= 5


def test_broken_packets_are_passed_over(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi")
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    position, size = packets[4]
    content[position + 8 : position + 8 + size] = bytes(size)
    path.write_bytes(content)
    frames = read_frames(path, 10)
    assert frames.shape == (10, 48, 64, 3)
    assert numbers(frames[:4]) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4"])
def test_no_damage_gives_anything_but_frames_or_bad_input(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 10):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(BadInput):
            assert len(read_frames(path, 3)) == 3


def test_a_title_in_another_encoding_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_video(path)
    content = path.read_bytes()
    assert content.count(b"Lavf") >= 1
    path.write_bytes(content.replace(b"Lavf", b"L\xff\xfe\xdd"))
    assert numbers(read_frames(path, 2)) == [2, 7]


def test_a_clip_opens_its_file_only_when_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    clip = video_clip("some/a", path, 1.0)
    assert (clip.id, clip.duration) == ("some/a", 1.0)
    with pytest.raises(BadInput, match=r"a\.mp4: there is no such video"):
        clip.read(2)
    write_video(path)
    assert numbers(clip.read(2)) == [2, 7]


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    assert "there is no such video; put it there" in message_of_reading(tmp_path / "absent.mp4")


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\x00" * 5000])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert "not a video that PyAV can read" in message_of_reading(path)


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    message_of_reading(tmp_path)


def test_an_mp4_without_its_index_is_no_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    assert "not a video that PyAV can read" in message_of_reading(path)


def test_a_file_of_sound_alone_has_no_picture_track(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    assert "there is no picture track" in message_of_reading(path)


def test_a_playlist_does_not_reach_for_the_network(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        )
        server.settimeout(0.1)
        message_of_reading(path)
        with pytest.raises(TimeoutError):
            server.accept()


def test_without_pyav_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4")
    usual = builtins.__import__

    def without_av(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError("No module named 'av'")
        return usual(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_av)
    assert "pip install 'harness[video]'" in message_of_reading(path)


def test_fewer_than_one_frame_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 frames"):
        read_frames(tmp_path / "a.mp4", 0)
