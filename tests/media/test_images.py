"""Reading pictures and checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import BadInput
from harness.media.checksums import sha256_of_file, sha256_of_files
from harness.media.images import file_picture, read_picture

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)  # height 4, width 5


def message_of_reading(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_picture(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_picture_is_read_as_rows_of_rgb_bytes(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    pixels = read_picture(tmp_path / "a.png")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, PIXELS)
    pixels[0, 0, 0] = 255  # a caller may write into its own copy


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    grey_first = "L" if mode == "LA" else mode
    Image.fromarray(PIXELS).convert(grey_first).convert(mode).save(path)
    assert read_picture(path).shape == (4, 5, 3)


def test_a_picture_is_opened_only_when_read(tmp_path: Path) -> None:
    picture = file_picture("set/test/0", tmp_path / "a.png")
    assert picture.id == "set/test/0"
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.read(), PIXELS)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    assert "no such picture" in message_of_reading(tmp_path / "absent.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_named(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    assert "fetch the file again" in message_of_reading(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\nrubbish"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "fetch the file again" in message_of_reading(tmp_path / "a.png")


def test_a_folder_in_the_place_of_a_picture_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in message_of_reading(tmp_path)


def test_the_checksum_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_the_checksum_of_files_depends_on_contents_order_and_borders(tmp_path: Path) -> None:
    def checksum(*contents: bytes) -> str:
        paths = [tmp_path / str(position) for position in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return sha256_of_files(paths)

    different = [(b"ab", b"c"), (b"c", b"ab"), (b"a", b"bc"), (b"abc",), (b"abc", b""), ()]
    assert len({checksum(*contents) for contents in different}) == len(different)
    assert checksum(b"ab", b"c") == checksum(b"ab", b"c")


def test_the_checksum_of_an_absent_file_names_it(tmp_path: Path) -> None:
    for checksum in (sha256_of_file, lambda path: sha256_of_files([path])):
        with pytest.raises(BadInput, match="absent"):
            checksum(tmp_path / "absent")
