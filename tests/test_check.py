"""What becomes of a check: exit codes by precedence, paths cut, names that XML has no room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.check import Checked, Outcome, Verdict, without_paths
from harness.check_report import junit, markdown
from harness.saved import SavedRun

RUN = SavedRun(
    Path("run"),
    {"task": "vqa", "data": {"dataset": "set", "split": "test"}, "model": {"name": "m"}},
)


def outcome(*verdicts: Verdict, unmatched: int = 0) -> Outcome:
    return Outcome(
        [Checked(RUN, None, verdict, ("because",)) for verdict in verdicts], [RUN] * unmatched, ()
    )


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["passed", "passed"], 0),
        (["passed", "dropped"], 1),
        (["incomplete", "no reference", "not comparable", "dropped"], 1),
        (["incomplete", "no reference", "not comparable"], 2),
        (["incomplete", "not comparable", "passed"], 3),
        (["incomplete", "passed"], 4),
    ],
)
def test_the_worst_verdict_is_the_exit_code(verdicts: list[Verdict], code: int) -> None:
    assert outcome(*verdicts).exit_code(every_reference=False) == code


def test_a_reference_without_a_run_fails_only_where_every_one_must_have_it() -> None:
    one = outcome("passed", unmatched=1)
    assert one.exit_code(every_reference=False) == 0
    assert one.exit_code(every_reference=True) == 1


@pytest.mark.parametrize(
    ("value", "cut"),
    [
        ("/home/me/data/vqa", "vqa"),
        ("dropped 2 lines of /data/a b/x.json: no", "dropped 2 lines of a b/x.json: no"),
        (r"C:\Users\me\w", "w"),
        ("vqa/toybox", "vqa/toybox"),
        ("metric:R@1|data:vqa/toybox|x", "metric:R@1|data:vqa/toybox|x"),
        ("runs/vqa--toybox/m", "runs/vqa--toybox/m"),
        ("https://host/a/b", "https://host/a/b"),
        ("fine-tuned and/or not", "fine-tuned and/or not"),
        (3, 3),
        ({"a": ["/x/y/z"]}, {"a": ["z"]}),
    ],
)
def test_absolute_paths_are_cut_to_their_names(value: Any, cut: Any) -> None:
    assert without_paths(value) == cut


def test_reports_hold_any_text() -> None:
    odd = Outcome([Checked(RUN, None, "dropped", ("a\x00b <c> & |d|\u2028",))], [], ("w|",))
    assert ElementTree.fromstring(junit(odd, False).split("\n", 1)[1]).get("failures") == "1"
    assert r"\|d\|" in markdown(odd, 1)
