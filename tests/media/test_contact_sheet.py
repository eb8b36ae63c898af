"""Drawn samples: that things stand where they are, and that nothing odd stops a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from harness.errors import BadInput
from harness.media.contact_sheet import animate_clip, draw_sample
from harness.media.lettering import cut, font, readable, wrapped
from harness.types import Clip, Picture, Shown

FIRST, SECOND = (213, 94, 0), (0, 114, 178)  # the colours of boxes and moments, in order
MARGIN = 24
NOTHING = Shown(lines=())


def picture(height: int = 96, width: int = 96, seed: int = 0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 90, (height, width, 3), dtype=np.uint8)
    return Picture("p", lambda: pixels)


def clip(height: int = 48, width: int = 48, duration: float = 8.0) -> Clip:
    """Each frame is of one colour, its own."""

    def read(count: int) -> npt.NDArray[np.uint8]:
        colours = np.array([colour_of(place) for place in range(count)], dtype=np.uint8)
        return np.broadcast_to(colours[:, None, None], (count, height, width, 3)).copy()

    return Clip("c", read, duration)


def colour_of(place: int) -> tuple[int, int, int]:
    return 100 + 3 * place, 20, 160


def pixels_of(image: Any) -> npt.NDArray[np.uint8]:
    assert image.mode == "RGB"
    return np.asarray(image)


def places_of(pixels: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """(places, 2): y, x of the pixels of a colour."""
    return np.argwhere((pixels == colour).all(axis=2))


# ---------------------------------------------------------------- pictures


def test_a_small_picture_grows_by_a_whole_factor_and_no_pixel_changes() -> None:
    small = picture()
    drawn = pixels_of(draw_sample(small, NOTHING))
    large = small.read().repeat(5, axis=0).repeat(5, axis=1)
    assert_array_equal(drawn[MARGIN : MARGIN + 480, MARGIN : MARGIN + 480], large)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (1200, 1600), (300, 400)])
def test_a_photograph_is_fitted_to_640_pixels(height: int, width: int) -> None:
    grey = Picture("p", lambda: np.full((height, width, 3), 77, dtype=np.uint8))
    places = places_of(pixels_of(draw_sample(grey, NOTHING)), (77, 77, 77))
    assert_array_equal(places.max(axis=0) - places.min(axis=0) + 1, [480, 640])


def test_boxes_are_drawn_where_they_are() -> None:
    boxes = [("", (10.0, 20.0, 30.0, 50.0)), ("", (60.0, 60.0, 70.0, 90.0))]
    drawn = pixels_of(draw_sample(picture(), Shown((), boxes=boxes)))
    for colour, (_, (x1, y1, x2, y2)) in zip((FIRST, SECOND), boxes, strict=True):
        places = places_of(drawn, colour) - MARGIN
        assert_array_equal(places.min(axis=0), [5 * y1, 5 * x1])
        assert_array_equal(places.max(axis=0), [5 * y2 - 1, 5 * x2 - 1])


def test_tags_of_equal_boxes_do_not_cover_each_other() -> None:
    boxes = [("right", (40.0, 40.0, 60.0, 60.0)), ("predicted", (40.0, 40.0, 60.0, 60.0))]
    drawn = pixels_of(draw_sample(picture(), Shown((), boxes=boxes)))
    alone = pixels_of(draw_sample(picture(), Shown((), boxes=boxes[:1])))
    first = places_of(alone, FIRST)
    assert_array_equal(places_of(drawn, FIRST), first)
    assert len(places_of(drawn, SECOND)) > 500


@pytest.mark.parametrize(
    "box",
    [
        (float("nan"), 0.0, 5.0, 5.0),
        (-50.0, -50.0, 1e9, 1e9),
        (500.0, 500.0, 600.0, 600.0),
        (30.0, 30.0, 10.0, 10.0),
        (5.0, 5.0, 5.0, 5.0),
        (float("inf"),) * 4,
    ],
)
@pytest.mark.parametrize(("height", "width"), [(96, 96), (1, 1), (1, 3000), (3000, 1), (480, 640)])
def test_no_box_and_no_shape_stops_a_drawing(
    height: int, width: int, box: tuple[float, float, float, float]
) -> None:
    draw_sample(picture(height, width), Shown((("what", "text"),), boxes=[("a thing", box)]))


def test_a_box_that_has_no_place_is_told_in_a_line() -> None:
    box = ("lost", (float("nan"), 0.0, 1.0, 1.0))
    drawn = pixels_of(draw_sample(picture(), Shown((), boxes=[box])))
    assert (drawn[:, MARGIN + 480 + MARGIN :] < 128).any()
    without = pixels_of(draw_sample(picture(), NOTHING))
    assert not (without[:, MARGIN + 480 + MARGIN :] < 128).any()


def test_an_unreadable_picture_is_bad_input() -> None:
    def read() -> npt.NDArray[np.uint8]:
        raise BadInput("a.jpg: there is no such picture")

    with pytest.raises(BadInput, match=r"a\.jpg"):
        draw_sample(Picture("p", read), NOTHING)


# ---------------------------------------------------------------- clips


def test_a_sheet_has_sixteen_frames_in_two_rows_and_long_clips_have_four() -> None:
    for duration, count in ((8.0, 16), (29.9, 16), (30.0, 32), (200.0, 32)):
        drawn = pixels_of(draw_sample(clip(duration=duration), NOTHING))
        corners = []
        for place in range(count):
            places = places_of(drawn, colour_of(place))
            assert_array_equal(places.max(axis=0) - places.min(axis=0), [143, 143])
            corners.append(tuple(places.min(axis=0)))
        assert corners == sorted(corners)  # row by row
        assert len({y for y, _ in corners}) == count // 8
        assert len({x for _, x in corners}) == 8


def test_frames_inside_the_first_moment_have_its_border() -> None:
    """Frame i of 16 stands for (i + .5) / 2 seconds: 5, 6 and 7 lie in 2.5 to 4 s."""
    drawn = pixels_of(draw_sample(clip(), Shown((), moments=[("", 2.5, 4.0), ("", 0.0, 8.0)])))
    bordered = []
    for place in range(16):
        y, x = places_of(drawn, colour_of(place)).min(axis=0)
        if tuple(drawn[y, x - 1]) == FIRST:
            bordered.append(place)
    assert bordered == [5, 6, 7]


def test_bars_stand_at_their_seconds_over_the_width_of_the_sheet() -> None:
    moments = [("right", 2.0, 3.0), ("predicted", 4.0, 6.0)]
    drawn = pixels_of(draw_sample(clip(), Shown((), moments=moments)))
    left, right = MARGIN + 3, drawn.shape[1] - MARGIN - 4
    places = places_of(drawn, SECOND)
    start, end = places[:, 1].min(), places[:, 1].max()
    assert abs(start - (left + (right - left) * 4 / 8)) <= 2
    assert abs(end - (left + (right - left) * 6 / 8)) <= 2


@pytest.mark.parametrize("duration", [0.0, 1e-6, 3.0, 1e7, float("nan"), float("inf"), -1.0])
def test_no_duration_and_no_moment_stops_a_sheet(duration: float) -> None:
    moments = [
        ("backwards", 5.0, 1.0),
        ("outside", -3.0, 1e9),
        ("point", 2.0, 2.0),
        ("lost", float("nan"), 1.0),
        ("a long label " * 40, 1.0, 2.0),
        *((f"{number}", 0.0, 1.0) for number in range(30)),
    ]
    assert draw_sample(clip(duration=duration), Shown((), moments=moments)).height < 1200


# ---------------------------------------------------------------- animations


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("duration", [2.5, 10.57])
def test_an_animation_lasts_as_long_as_its_clip(
    tmp_path: Path, suffix: str, duration: float
) -> None:
    path = tmp_path / f"clip{suffix}"
    animate_clip(clip(duration=duration), path)
    milliseconds = 0.0
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 32
        for place in range(32):
            image.seek(place)
            image.load()
            milliseconds += image.info["duration"]
    assert abs(milliseconds / 1000 - duration) <= 0.006


def test_an_animation_has_the_border_of_the_moment_it_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "clip.webp"
    moments = [("right", 2.0, 4.0), ("predicted", 3.0, 6.0)]
    animate_clip(clip(), path, Shown((), moments=moments), frames=8)  # frame i: second i + .5
    corners = []
    with Image.open(path) as image:
        for place in range(8):
            image.seek(place)
            corners.append(image.convert("RGB").getpixel((1, 1)))
    assert corners[2:6] == [FIRST, FIRST, SECOND, SECOND]
    assert not {FIRST, SECOND} & {*corners[:2], *corners[6:]}


def test_animations_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "clip.avi", tmp_path / "absent" / "clip.gif"):
        with pytest.raises(BadInput) as caught:
            animate_clip(clip(), path)
        assert str(path) in str(caught.value)
    with pytest.raises(BadInput, match="lasts nan s"):
        animate_clip(clip(duration=float("nan")), tmp_path / "clip.gif")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- texts


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(), max_size=60), what=st.text(st.characters(), max_size=30))
def test_any_text_can_be_drawn(text: str, what: str) -> None:
    shown = Shown([(what, text)], boxes=[(what, (5, 5, 50, 50))], moments=[(text, 1.0, 2.0)])
    draw_sample(picture(), shown)
    draw_sample(clip(8, 8), shown)


def test_what_the_font_lacks_is_replaced() -> None:
    letters = font(16)
    assert readable("naïve café – 3 × 4", letters) == "naive cafe - 3 x 4"
    assert readable("\u4e2d\u6587 \U0001f600\ud800", letters) == "?? ??"
    assert readable("tab\there\x00\u200b\nnew", letters) == "tab here new"


def test_texts_wrap_within_the_width_and_keep_every_word() -> None:
    letters = font(16)
    text = "the quick brown fox jumps over the lazy dog " * 4
    lines = wrapped(text, letters, 200, most=50)
    assert " ".join(lines).split() == text.split()
    assert all(letters.getlength(line) <= 200 for line in lines)
    pieces = wrapped("x" * 100, letters, 200, most=50)
    assert "".join(pieces) == "x" * 100
    assert len(pieces) > 1


@pytest.mark.parametrize("text", ["word " * 2000, "x" * 10_000, "a\n" * 5000])
def test_ten_kilobytes_of_text_end_in_an_ellipsis(text: str) -> None:
    letters = font(16)
    lines = wrapped(text, letters, 300, most=10)
    assert len(lines) <= 10
    assert lines[-1].endswith("…")
    assert all(letters.getlength(line) <= 300 for line in lines)
    assert letters.getlength(cut(text, letters, 120)) <= 120
    assert draw_sample(picture(), Shown([("what", text)])).height < 700


def test_hundreds_of_lines_are_cut() -> None:
    assert draw_sample(picture(), Shown([("what", "text")] * 500)).height < 2500
