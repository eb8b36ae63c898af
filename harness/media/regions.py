"""Regions of a picture from its pixels alone: connected areas of one colour, or a plain grid, and
the crops of either. Knows no data set: nothing here is told what is in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from harness.types import Pixels

# In grey levels, against the ground: a pixel belongs to a thing if its colour or its brightness
# differs by more than this.
_CHROMA = 24.0
_BRIGHTNESS = 48.0
# Neighbours belong to one thing if their colours are of one hue (cosine 0.97: 14 degrees), so that
# its stripes and shades hold together, or nearly the same.
_SAME_HUE = 0.97
_SAME_COLOUR = 30.0
_SMALLEST = 12  # pixels; smaller areas are noise


@dataclass(frozen=True)
class Regions:
    """Regions of one picture.

    boxes (n, 4) int64: x1, y1, x2, y2 in pixels, the far ends exclusive.
    labels (height, width) int64, or None: pixel -> the region it belongs to, -1 for none; without
    it a region owns its whole box.
    """

    boxes: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None = None


def grid(pixels: Pixels, rows: int, columns: int) -> Regions:
    """rows x columns equal boxes, row by row."""
    height, width = pixels.shape[:2]
    y = np.arange(rows + 1) * height // rows
    x = np.arange(columns + 1) * width // columns
    boxes = [(x[j], y[i], x[j + 1], y[i + 1]) for i in range(rows) for j in range(columns)]
    return Regions(np.array(boxes, dtype=np.int64))


def segment(pixels: Pixels, most: int) -> Regions:
    """Connected areas that stand out from the ground, the `most` largest, largest first. The ground
    is the median colour along the picture's edge."""
    # channels first: sums over the three are then of whole planes, several times as fast
    rgb = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    edge = np.concatenate([rgb[:, 0], rgb[:, -1], rgb[:, :, 0], rgb[:, :, -1]], axis=1)
    difference = rgb - np.median(edge, axis=1)[:, None, None]
    brightness = difference.mean(axis=0)
    chroma = difference - brightness
    size = np.sqrt((chroma * chroma).sum(axis=0))
    coloured = size > _CHROMA
    inside = coloured | (np.abs(brightness) > _BRIGHTNESS)
    hue = np.where(coloured, chroma / np.maximum(size, 1e-6), 0.0)

    def joined(here: tuple[slice, ...], there: tuple[slice, ...]) -> npt.NDArray[np.bool_]:
        one_hue = (hue[here] * hue[there]).sum(axis=0) > _SAME_HUE
        step = rgb[here] - rgb[there]
        one_colour = (step * step).sum(axis=0) < _SAME_COLOUR**2
        both = inside[here[1:]] & inside[there[1:]]
        return np.asarray(both & (one_hue | one_colour))

    everything, but_first, but_last = slice(None), slice(1, None), slice(None, -1)
    right = joined((everything, everything, but_first), (everything, everything, but_last))
    below = joined((everything, but_first, everything), (everything, but_last, everything))
    labels = _connected(inside, right, below)

    count = int(labels.max()) + 1
    areas = np.bincount(labels[labels >= 0], minlength=count)
    kept = [int(i) for i in np.argsort(-areas, kind="stable")[:most] if areas[i] >= _SMALLEST]
    renamed = np.full(count + 1, -1, dtype=np.int64)  # the last entry serves label -1
    renamed[kept] = np.arange(len(kept))
    labels = renamed[labels]
    return Regions(_boxes(labels, len(kept)), labels)


def _connected(
    inside: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_], below: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Components of the pixel graph whose edges are `right` (h, w-1) and `below` (h-1, w).

    Runs along a row are one node each, so that the union-find in Python meets a few hundred edges
    and not ten thousand pixels. Returns labels (h, w), -1 outside.
    """
    starts = inside.copy()
    starts[:, 1:] &= ~right
    runs = np.cumsum(starts.ravel()).reshape(inside.shape) - 1  # pixel -> run, where inside
    count = int(starts.sum())
    pairs = np.unique(runs[:-1][below] * (count + 1) + runs[1:][below])
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for pair in pairs.tolist():
        upper, lower = root(pair // (count + 1)), root(pair % (count + 1))
        parent[max(upper, lower)] = min(upper, lower)
    roots = np.array([root(node) for node in range(count)], dtype=np.int64)
    _, component = np.unique(roots, return_inverse=True)
    labels = np.full(inside.shape, -1, dtype=np.int64)
    labels[inside] = component[runs[inside]]
    return labels


def _boxes(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    boxes = np.zeros((count, 4), dtype=np.int64)
    for region in range(count):
        y, x = np.nonzero(labels == region)
        boxes[region] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return boxes


def whole_picture_first(pixels: Pixels, regions: Regions) -> npt.NDArray[np.int64]:
    """The regions' boxes with the whole picture's before them, (n + 1, 4)."""
    height, width = pixels.shape[:2]
    whole = np.array([[0, 0, width, height]], dtype=np.int64)
    return np.concatenate([whole, regions.boxes])


def crops(pixels: Pixels, regions: Regions, side: int) -> npt.NDArray[np.uint8]:
    """The whole picture and then each region, scaled to side x side by nearest pixel: (n + 1, side,
    side, 4) uint8, red, green, blue and 255 where the pixel belongs to the region. Pixels of a box
    that belong to another region or to none are 0 in all four."""
    boxes = whole_picture_first(pixels, regions)
    middle = 2 * np.arange(side) + 1
    x = boxes[:, 0, None] + middle * (boxes[:, 2] - boxes[:, 0])[:, None] // (2 * side)
    y = boxes[:, 1, None] + middle * (boxes[:, 3] - boxes[:, 1])[:, None] // (2 * side)
    opaque = np.full((*pixels.shape[:2], 4), 255, dtype=np.uint8)
    opaque[..., :3] = pixels
    words = opaque.view(np.uint32)[..., 0]  # a pixel is one number, picked and blanked at once
    out = words[y[:, :, None], x[:, None, :]]
    if regions.labels is not None:
        owner = regions.labels[y[1:, :, None], x[1:, None, :]]
        out[1:][owner != np.arange(len(regions.boxes))[:, None, None]] = 0
    of_bytes: npt.NDArray[np.uint8] = out[..., None].view(np.uint8)
    return of_bytes
