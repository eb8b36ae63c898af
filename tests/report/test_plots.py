"""Forest plots that stand in a page: what its policy forbids is gone, what they show is told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from harness.report.plots import Line, Mark, forest, in_words

MARKS = [
    Mark("nce", 0.9, (0.8, 1.0), beside=(0.3,)),
    Mark("<script>$x$\x00\ud83d\U0001f600" + "long" * 20, 0.5, None, colour="muted"),
]
LINES = [Line("chance", 0.1), Line("prior", 0.11), Line("oracle", 1.0)]


def plot(name: str = "p") -> tuple[str, str]:
    found = forest(name, "A title", MARKS, LINES, "accuracy", in_words(MARKS, LINES, 100))
    return str(found.wide), str(found.narrow)


def test_nothing_is_left_that_the_policy_forbids() -> None:
    for svg in plot():
        ElementTree.fromstring(svg)  # well-formed
        assert not re.search(r"style=|<style|<script|<metadata|https?://(?!www.w3.org)", svg)
        assert not re.search(r"#[0-9a-fA-F]{6}\b", svg)  # every colour is the page's


def test_what_is_shown_is_told_in_words() -> None:
    assert in_words(MARKS[:1], LINES[:1], 100) == "nce 90.0 (80.0 to 100.0); chance at 10.0"
    wide, _ = plot()
    assert "<title" in wide
    assert "nce 90.0 (80.0 to 100.0)" in wide
    assert 'role="img"' in wide


def test_ids_are_a_plots_own_and_the_same_each_time() -> None:
    ids = {name: set(re.findall(r'\bid="([^"]+)"', "".join(plot(name)))) for name in ("p", "q")}
    assert ids["p"]
    assert not ids["p"] & ids["q"]
    for name in ids:
        used = re.findall(r'(?:href="#|url\(#)([^")]+)', "".join(plot(name)))
        assert set(used) <= ids[name]
    assert plot() == plot()


def test_names_of_lines_that_are_close_stand_above_each_other() -> None:
    root = ElementTree.fromstring(plot()[0])
    height = {e.text: e.get("y") for e in root.iter() if e.tag.endswith("}text")}
    assert height["chance"] != height["prior"]
    assert height["chance"] == height["oracle"]
