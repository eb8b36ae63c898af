"""`harness conformance`: our metrics, or any other scorer, held against the known pitfalls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from harness.conformance.run import Finding, Outcome

_WIDTH = 96  # columns where there is no terminal to ask
_WORDS = {"pass": "passes", "fail": "HAS IT", "unsupported": "unsupported"}
_STYLES = {"pass": "green", "fail": "red", "unsupported": "dim"}


@click.command("conformance")
@click.option(
    "--scorer",
    default="",
    metavar="CMD",
    help="A command that speaks the protocol of docs/conformance.md, or a shipped adapter: "
    "pycocoevalcap, torchmetrics, sacrebleu. Our own metrics unless given.",
)
@click.option("--task", default="", metavar="TASK", help="The cases of one task only.")
@click.option(
    "--random",
    "random_count",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Random cases of each family of metrics, beside those written down.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random cases.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a scorer may take for a case.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, case by case.")
def command(
    scorer: str, task: str, random_count: int, seed: int, timeout: float, as_json: bool
) -> None:
    """Hold our metrics, or another scorer, against small inputs on which scorers differ.

    Ends with 0 if all supported cases pass, 1 if one fails, 2 if nothing could be asked."""
    from harness.conformance import run
    from harness.conformance.cases import families_of, written_cases
    from harness.errors import CHECK_FAILED, BadInput

    families = families_of(task)
    cases = written_cases(families)
    if random_count:
        from harness.conformance.random_cases import random_cases

        cases += random_cases(families, random_count, seed)
    name, outcomes = _ask(scorer, timeout, cases)
    if all(outcome.verdict == "unsupported" for outcome in outcomes):
        why = Counter(outcome.reply.said for outcome in outcomes).most_common(1)[0][0]
        raise BadInput(
            f"--scorer {name}: supports none of the {len(outcomes)} cases ({why}); nothing was "
            "tested, choose another --task"
        )
    if as_json:
        click.echo(json.dumps(run.as_json(name, seed, outcomes), indent=1))
    else:
        _show(name, outcomes)
    if any(outcome.verdict == "fail" for outcome in outcomes):
        raise SystemExit(CHECK_FAILED)


def _ask(scorer: str, timeout: float, cases: Sequence[Any]) -> tuple[str, list[Outcome]]:
    """What the scorer is called, and what it made of the cases."""
    import shlex

    from harness import __version__
    from harness.conformance import run
    from harness.errors import BadInput

    if not scorer:
        from harness.conformance.own import own_reply

        return f"harness {__version__}", run.ask(own_reply, cases)
    from harness.conformance.process import ScorerProcess

    if scorer in run.ADAPTERS:
        name, words = run.version_of(scorer), run.adapter_command(scorer)
    else:
        try:
            name, words = scorer, shlex.split(scorer)
        except ValueError as error:
            raise BadInput(f"--scorer {scorer!r}: {error}; mend the quotes") from None
    process = ScorerProcess(words, timeout)
    try:
        return name, run.ask(process.reply, cases)
    finally:
        process.close()


def _show(name: str, outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table

    from harness.conformance.cases import FAMILIES
    from harness.conformance.run import findings_of

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    findings = findings_of(outcomes)
    able = {f.pitfall.family for f in findings if f.verdict != "unsupported"}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  pitfall")
    table.add_column("verdict", no_wrap=True)
    table.add_column("cases passed", justify="right", no_wrap=True)
    family = ""
    for finding in findings:
        if finding.pitfall.family != family:
            family = finding.pitfall.family
            unsupported = "" if family in able else f"[{_STYLES['unsupported']}]unsupported[/]"
            table.add_row(f"[bold]{family}[/bold] ({FAMILIES[family]})", unsupported)
        if family not in able:
            continue
        verdict = finding.verdict
        asked = len(finding.outcomes) - finding.count("unsupported")
        table.add_row(
            f"  {finding.pitfall.what}",
            f"[{_STYLES[verdict]}]{'NO ANSWER' if finding.lost else _WORDS[verdict]}[/]",
            f"{finding.count('pass')}/{asked}" if asked else "-",
        )
    console.print(f"\n  {name}\n", soft_wrap=True, markup=False)
    console.print(table)
    _show_failures(console, findings)
    cases, pitfalls = (
        {verdict: sum(one.verdict == verdict for one in several) for verdict in _WORDS}
        for several in (outcomes, findings)
    )
    console.print()
    for what, counted in (("cases", cases), ("pitfalls", pitfalls)):
        console.print(
            f"  {what:10} {counted['pass']} passed, {counted['fail']} failed, "
            f"{counted['unsupported']} not supported"
        )


def _show_failures(console: Console, findings: Sequence[Finding]) -> None:
    """Each failed case with what was expected, what came, and why; random ones, which are many, by
    their first. Then how many were not asked."""
    from harness.conformance.cases import expected_words
    from harness.conformance.process import NOT_ASKED

    for finding in findings:
        failed = [
            one for one in finding.outcomes if one.verdict == "fail" and one.reply.said != NOT_ASKED
        ]
        shown = failed[:1] if finding.pitfall.key == "random" else failed
        for one in shown:
            case = one.case
            more = f" ({len(failed) - 1} more like it)" if len(shown) < len(failed) else ""
            lines = [
                f"\n  {case.id}: {case.metric}",
                f"    expected {expected_words(case)}, got: {one.reply}{more}",
                f"    {case.why}",
                f"    source: {finding.pitfall.source}",
            ]
            for line in lines:
                console.print(line, soft_wrap=True, markup=False)
    unasked = sum(one.reply.said == NOT_ASKED for f in findings for one in f.outcomes)
    if unasked:
        console.print(f"\n  {unasked} cases were {NOT_ASKED}", soft_wrap=True, markup=False)
