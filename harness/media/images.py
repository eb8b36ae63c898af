"""Pictures read from files. Knows no data set and no model; Pillow loads with the first picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput
from ..types import Picture

if TYPE_CHECKING:
    from ..types import Pixels


def file_picture(id: str, path: Path) -> Picture:
    """The picture in the file `path`, which is opened only when the picture is read."""
    return Picture(id=id, read=partial(read_picture, path))


def read_picture(path: Path) -> Pixels:
    """Pixels of a picture file, (height, width, 3), RGB, 0 to 255.

    They stand as stored: grey and palette pictures become RGB, an alpha channel is dropped, and an
    EXIF orientation is not applied, as in the field's own loaders. Raises BadInput, naming the
    file, if it is missing, truncated or no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except FileNotFoundError:
        raise BadInput(
            f"{path}: there is no such picture; put it there, or correct the folder given"
        ) from None
    except UnidentifiedImageError:
        raise BadInput(
            f"{path}: this is not a picture that Pillow can read; fetch the file again"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # bad bytes raise OSError, SyntaxError, ValueError, struct.error ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(
            f"{path}: the picture cannot be read ({reason}); fetch the file again"
        ) from error
