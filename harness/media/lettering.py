"""Text for drawings, in Pillow's own font: measured, wrapped and cut, with what that font lacks
replaced, so that any text can be drawn. Knows nothing of what it is written on."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font: TypeAlias = FreeTypeFont | ImageFont

_MOST_CHARACTERS = 4000  # of a text that are looked at
# What the font is given instead of signs that it lacks, beside letters without their accents.
_PLAIN = {"–": "-", "—": "-", "−": "-", "×": "x", "→": "->", "≤": "<=", "≥": ">=", "ß": "ss"}


def font(size: int) -> Font:
    """Pillow's font, `size` pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def wrapped(text: str, font: Font, width: float, most: int) -> list[str]:
    """Lines no wider than `width` pixels, at most `most`; the last ends in "…" if text is left."""
    lines = [""]
    for word in readable(text, font).split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a word longer than a line breaks anywhere
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
        if len(lines) > most:
            break
    if len(lines) <= most and len(text) <= _MOST_CHARACTERS:
        return lines
    kept = lines[:most]
    kept[-1] = _shortened(kept[-1], font, width)
    return kept


def cut(text: str, font: Font, width: float) -> str:
    """The text on one line of at most `width` pixels, with "…" where it is too long."""
    line = " ".join(readable(text, font).split())
    return line if font.getlength(line) <= width else _shortened(line, font, width)


def _shortened(line: str, font: Font, width: float) -> str:
    line = line[: int(max(width, 0)) // 2]  # no sign that shows is narrower than 2 pixels
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"


def readable(text: str, font: Font) -> str:
    """The text's start, with what the font has no sign for replaced: by a letter without its
    accents where there is one, else by "?"."""
    start = text[:_MOST_CHARACTERS]
    absent = bytes(font.getmask("\uffff"))
    signs = {letter: _sign(letter, font, absent) for letter in set(start)}
    return "".join(signs[letter] for letter in start)


def _sign(letter: str, font: Font, absent: bytes) -> str:
    if letter.isspace():
        return " "
    if unicodedata.category(letter) in ("Cc", "Cf", "Mn"):
        return ""
    bare = [
        sign for sign in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(sign)
    ]
    for signs in (letter, _PLAIN.get(letter, ""), "".join(bare)):
        if signs and all(bytes(font.getmask(sign)) != absent for sign in signs):
            return signs
    return "?"
