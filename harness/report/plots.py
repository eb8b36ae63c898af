"""Forest plots as SVG to stand in a page: drawn by matplotlib, then stripped of what a page's
policy forbids, with the page's own colours, so that they are legible in light and dark. Knows no
run."""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDE, NARROW = 760, 340  # pixels, of which a page shows the one that fits
_ROW, _LEVEL = 30, 14
_LABEL = 28  # characters of a name at the wide width
_DPI = 72  # an SVG's points are its pixels

# Colours that stand for the variables of assets/style.css until the drawing is done.
_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--surface)",
    "#060606": "var(--good)",
    "#070707": "var(--bad)",
}
_VARIABLES = {variable[6:-1]: colour for colour, variable in _COLOURS.items()}


@dataclass(frozen=True)
class Mark:
    """A row of a forest plot: a value with its interval, and values beside it in muted rings, such
    as controls. `colour`: "accent", "muted", "good" or "bad"."""

    name: str
    value: float
    ci95: tuple[float, float] | None
    beside: Sequence[float] = ()
    colour: str = "accent"


@dataclass(frozen=True)
class Line:
    """A vertical line across all rows, such as a floor."""

    name: str
    value: float


@dataclass(frozen=True)
class Forest:
    """Two drawings of one plot, for a wide and for a narrow page, and what they say in words."""

    wide: Markup
    narrow: Markup
    words: str


def forest(
    name: str,
    title: str,
    marks: Sequence[Mark],
    lines: Sequence[Line] = (),
    axis: str = "",
    words: str = "",
) -> Forest:
    """A forest plot, rows from top to bottom. `name` makes its ids its own among the plots of a
    page; `words` is its text alternative."""
    drawn = [
        _in_page(_draw(marks, lines, axis, width), f"{name}-{kind}", title, words)
        for width, kind in ((WIDE, "wide"), (NARROW, "narrow"))
    ]
    return Forest(drawn[0], drawn[1], words)


# ---------------------------------------------------------------- drawing


def _draw(marks: Sequence[Mark], lines: Sequence[Line], axis: str, width: int) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    narrow = width == NARROW
    step = _ROW + 14 if narrow else _ROW  # names stand above their rows where there is no room
    longest = max(len(_shown(mark.name, _LABEL)) for mark in marks)
    left = 10 if narrow else max(60, min(205, 18 + 7 * longest))
    limits = _limits(marks, lines)
    levels = _levels(lines, (width - left - 14) / (limits[1] - limits[0]))
    top, bottom = 10 + _LEVEL * (max(levels) + 1 if levels else 0), 40
    height = top + bottom + step * len(marks)
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "harness",
        "font.size": 12,
        "text.parse_math": False,
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        share = (left / width, bottom / height)
        size = ((width - left - 14) / width, (height - top - bottom) / height)
        axes = figure.add_axes((*share, *size))
        _axes(axes, len(marks), limits, axis)
        _draw_lines(axes, lines, levels)
        _draw_marks(axes, marks, narrow)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()


def _limits(marks: Sequence[Mark], lines: Sequence[Line]) -> tuple[float, float]:
    values = [line.value for line in lines]
    for mark in marks:
        values += [mark.value, *(mark.ci95 or ()), *mark.beside]
    low, high = min(values), max(values)
    margin = 0.04 * (high - low or 1.0)
    return low - margin, high + margin


def _axes(axes: Axes, rows: int, limits: tuple[float, float], axis: str) -> None:
    axes.set_xlim(*limits)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_facecolor("none")
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_VARIABLES["line"])
    axes.tick_params(colors=_VARIABLES["muted"], labelsize=11, length=4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=_VARIABLES["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)
    if axis:
        axes.set_xlabel(axis, color=_VARIABLES["muted"], fontsize=11)


def _draw_marks(axes: Axes, marks: Sequence[Mark], narrow: bool) -> None:
    axes.set_yticks([] if narrow else range(len(marks)))
    if not narrow:
        labels = axes.set_yticklabels([_shown(mark.name, _LABEL) for mark in marks], fontsize=12)
        for label in labels:
            label.set_color(_VARIABLES["ink"])
    for place, mark in enumerate(marks):
        y = place + (0.18 if narrow else 0)
        colour = _VARIABLES[mark.colour]
        if mark.ci95 is not None:
            axes.plot(mark.ci95, (y, y), color=colour, linewidth=2.5, solid_capstyle="round")
        for value in mark.beside:
            axes.plot(
                *([value], [y]),
                color=_VARIABLES["muted"],
                linestyle="none",
                marker="o",
                markersize=6,
                markerfacecolor=_VARIABLES["surface"],
                markeredgecolor=_VARIABLES["muted"],
                markeredgewidth=1.5,
                clip_on=False,
            )
        axes.plot(
            [mark.value],
            [y],
            linestyle="none",
            marker="o",
            markersize=7,
            color=colour,
            clip_on=False,
        )
        if narrow:
            axes.annotate(
                _shown(mark.name, 44),
                *((0, place - 0.2),),
                xycoords=("axes fraction", "data"),
                fontsize=12,
                va="center",
                color=_VARIABLES["ink"],
            )


def _levels(lines: Sequence[Line], scale: float) -> list[int]:
    """How many lines above the plot each name stands, so that none covers another. `scale`: pixels
    to a unit of the axis."""
    ends: list[float] = []  # where the last name of each level ends
    levels = []
    for line in sorted(lines, key=lambda line: line.value):
        place, reach = line.value * scale, 3.5 * len(line.name) + 4
        free = (n for n, end in enumerate(ends) if end <= place - reach)
        level = next(free, len(ends))
        ends[level : level + 1] = [place + 2 * reach]
        levels.append(level)
    return levels


def _draw_lines(axes: Axes, lines: Sequence[Line], levels: Sequence[int]) -> None:
    low, high = axes.get_xlim()
    for line, level in zip(sorted(lines, key=lambda line: line.value), levels, strict=True):
        axes.axvline(line.value, color=_VARIABLES["muted"], linewidth=1.2, linestyle=(0, (4, 3)))
        share = (line.value - low) / (high - low)
        axes.annotate(
            line.name,
            *((line.value, 1),),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4 + _LEVEL * level),
            textcoords="offset points",
            ha="left" if share < 0.15 else "right" if share > 0.85 else "center",
            fontsize=11,
            color=_VARIABLES["muted"],
        )


def _shown(name: str, most: int) -> str:
    """A name that fits and that XML can hold."""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", name)
    return clean if len(clean) <= most else clean[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


# ---------------------------------------------------------------- into a page

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"


def _in_page(svg: str, name: str, title: str, words: str) -> Markup:
    """The drawing without style attributes, style elements and ids that nothing refers to, with a
    title and a description."""
    from markupsafe import Markup

    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", svg))
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    for element in root.iter():
        _clean(element, name, used)
    _drop_empty(root)
    for what in ("width", "height"):
        root.attrib.pop(what, None)
    _, _, width, _ = str(root.get("viewBox")).split()
    root.set("width", str(round(float(width))))
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-words")
    for place, (what, text) in enumerate((("title", title), ("desc", words))):
        told = ElementTree.Element(f"{{{_SVG}}}{what}")
        told.set("id", f"{name}-{'title' if what == 'title' else 'words'}")
        told.text = _shown(text, 5000)
        root.insert(place, told)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean(element: ElementTree.Element, name: str, used: set[str]) -> None:
    for declaration in element.attrib.pop("style", "").split(";"):
        key, _, value = declaration.partition(":")
        if value.strip() and key.strip() != "font-family":  # the page has the face
            element.set(*_attribute(key.strip(), value.strip()))
    for key, value in list(element.attrib.items()):
        if value.lower() in _COLOURS:
            element.set(key, _COLOURS[value.lower()])
        elif key in ("d", "x", "y"):
            element.set(
                key, re.sub(r"\d+\.\d+", lambda n: f"{float(n.group()):.1f}", value).strip()
            )
    if element.get("transform", "").startswith("rotate(-0 "):
        element.attrib.pop("transform")
    for space in ("text", "tail"):
        if not (getattr(element, space) or "").strip():
            setattr(element, space, None)
    id = element.attrib.pop("id", None)
    if id in used:
        element.set("id", f"{name}-{id}")
    if _XLINK in element.attrib:
        element.set("href", f"#{name}-{element.attrib.pop(_XLINK)[1:]}")
    clip = element.get("clip-path", "")
    if clip.startswith("url(#"):
        element.set("clip-path", f"url(#{name}-{clip[5:]}")


def _attribute(key: str, value: str) -> tuple[str, str]:
    """A declaration of a style as an attribute; of a font, the size only."""
    if key == "font":
        size = re.search(r"[\d.]+px", value)
        return "font-size", size.group() if size else "12px"
    return key, value


def _drop_empty(root: ElementTree.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith("}g") and not len(child):
                parent.remove(child)


# ---------------------------------------------------------------- in words


def in_words(marks: Sequence[Mark], lines: Sequence[Line] = (), scale: float = 1.0) -> str:
    """What a plot shows, for who does not see it: 'nce 94.8 (94.1 to 95.5); prior at 39.5'."""
    told = []
    for mark in marks:
        between = ""
        if mark.ci95 is not None:
            low, high = (f"{scale * bound:.1f}" for bound in mark.ci95)
            between = f" ({low} to {high})"
        told.append(f"{_shown(mark.name, 60)} {scale * mark.value:.1f}{between}")
    told += [f"{line.name} at {scale * line.value:.1f}" for line in lines]
    return "; ".join(told)


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that a plot can show."""
    return {
        name: float(value)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    }
