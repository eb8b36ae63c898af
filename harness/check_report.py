"""What became of a check, or why there was none, for machines and people: JUnit XML and a Markdown
summary. Knows outcomes only; writes no file."""

from __future__ import annotations

from xml.etree import ElementTree

from .check import Checked, Outcome

_SHOWN = 10  # samples that got worse


def junit(outcome: Outcome, every_reference: bool) -> str:
    """A test case a check: a failure for a drop, an error for what could not be checked. With
    `every_reference`, a reference without a run is a failure too."""
    suite = ElementTree.Element("testsuite", name="harness check")
    failures = errors = 0
    for one in outcome.checked:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{one.run.task} {one.run.split}", name=_name(one)
        )
        if one.verdict == "passed":
            _say(case, "system-out", numbers(one))
            continue
        kind = "failure" if one.verdict == "dropped" else "error"
        failures, errors = failures + (kind == "failure"), errors + (kind == "error")
        element = _say(case, kind, "\n".join((*one.reasons, numbers(one))).strip())
        element.set("message", _printable(f"{one.verdict}: {one.reasons[0]}"))
    for reference in outcome.unmatched if every_reference else ():
        where = f"{reference.task} {reference.split}"
        case = ElementTree.SubElement(suite, "testcase", classname=where, name=reference.model)
        _say(case, "failure", "no run").set("message", "there is no run for this reference")
        failures += 1
    return _as_text(suite, failures, errors)


def junit_of_error(reason: str) -> str:
    """Of a check that could not be made at all: one test case, an error."""
    suite = ElementTree.Element("testsuite", name="harness check")
    case = ElementTree.SubElement(suite, "testcase", classname="harness", name="check")
    _say(case, "error", reason).set("message", _printable(reason))
    return _as_text(suite, failures=0, errors=1)


def _as_text(suite: ElementTree.Element, failures: int, errors: int) -> str:
    counts = {"tests": len(suite), "failures": failures, "errors": errors}
    for name, count in counts.items():
        suite.set(name, str(count))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _name(one: Checked) -> str:
    return _printable(f"{one.run.model} {one.difference.metric if one.difference else ''}".strip())


def _say(parent: ElementTree.Element, tag: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag)
    element.text = _printable(text)
    return element


def _printable(text: str) -> str:
    """XML has no room for control characters."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)


def numbers(one: Checked) -> str:
    """ "accuracy 94.8 -> 92.1 (-2.7, 95% interval -3.5 to -1.9, p 0.0001)", or nothing."""
    found = one.difference
    if found is None or found.difference is None:
        return ""
    scale, digits = (100, 1) if found.percent else (1, 2)

    def shown(value: float | None, sign: str = "") -> str:
        return "n/a" if value is None else f"{scale * value:{sign},.{digits}f}"

    interval = ""
    if found.ci95 is not None:
        low, high = (shown(bound, "+") for bound in found.ci95)
        interval = f", 95% interval {low} to {high}"
    p = "" if one.p_holm is None else f", p {one.p_holm:.4f}"
    return (
        f"{found.metric} {shown(found.first)} -> {shown(found.other)} "
        f"({shown(found.difference, '+')}{interval}{p})"
    )


def markdown(outcome: Outcome, code: int) -> str:
    """A summary for a pull request: a row a check, and the samples that got worse."""
    passed = sum(one.verdict == "passed" for one in outcome.checked)
    lines = [
        f"### harness check: {'passed' if code == 0 else 'not passed'}",
        "",
        f"{passed} of {len(outcome.checked)} checks passed (exit code {code}).",
        "",
        "| task | model | verdict | primary metric | better, worse | why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in outcome.checked:
        moved = one.flipped
        cells = (
            f"{one.run.task} {one.run.split}",
            one.run.model,
            one.verdict,
            numbers(one),
            f"{len(moved.better)}, {len(moved.worse)}" if moved else "",
            "; ".join(one.reasons),
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += ["", *(f"- {_cell(warning)}" for warning in outcome.warnings)]
    for one in outcome.checked:
        if one.verdict == "dropped" and one.flipped is not None:
            some = ", ".join(f"`{_cell(moved.id)}`" for moved in one.flipped.worse[:_SHOWN])
            lines += ["", f"Worse in {_cell(one.name)}: {some or 'none'}"]
    return "\n".join(lines).rstrip() + "\n"


def markdown_of_error(reason: str, code: int) -> str:
    """Of a check that could not be made at all."""
    return f"### harness check: not made\n\n{_cell(reason)} (exit code {code})\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ").replace("<", "&lt;")
