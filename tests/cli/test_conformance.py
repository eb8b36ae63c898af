"""`harness conformance`: our metrics pass, wrong scorers are caught at what is wrong with them, and
whatever a scorer does ends in a verdict and an exit code."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.conformance.adapters.serve import Unsupported
from harness.conformance.cases import Case, request_of, verdict_of, written_cases
from harness.conformance.process import NOT_ASKED

REPOSITORY = Path(__file__).parents[2]
Cli = Callable[..., CompletedProcess[str]]
Scorer = Callable[[str], str]

# A scorer that is right but for what a test puts in place of CHANGE, which sees `case` (the
# request) and `answer` (what would be said).
_RIGHT_BUT = """
import json, os, sys, time
from harness.conformance.own import own_reply
for line in sys.stdin:
    case = json.loads(line)
    reply = own_reply(case)
    answer = {{"id": case["id"], "scores": {{case["metric"]: reply.value}}}}
    if reply.kind == "refused":
        answer = {{"id": case["id"], "error": reply.said}}
    if reply.kind == "n/a":
        answer["scores"] = {{case["metric"]: None}}
    {change}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    """Writes a program -> the command that runs it."""

    def write(source: str) -> str:
        path = tmp_path / "my scorer.py"
        path.write_text(source, encoding="utf-8")
        return f"'{sys.executable}' '{path}'"

    return write


@pytest.fixture
def right_but(scorer: Scorer) -> Scorer:
    return lambda change: scorer(_RIGHT_BUT.format(change=change))


def verdicts(done: CompletedProcess[str]) -> dict[str, str]:
    """family/pitfall -> verdict."""
    findings = json.loads(done.stdout)["findings"]
    return {f"{one['family']}/{one['pitfall']}": one["verdict"] for one in findings}


def failed(done: CompletedProcess[str]) -> dict[str, str]:
    """Failed case -> what was wrong with it, or what it got."""
    cases = [case for one in json.loads(done.stdout)["findings"] for case in one["cases"]]
    return {
        case["id"]: case["said"] or str(case["got"]) for case in cases if case["verdict"] == "fail"
    }


def had(done: CompletedProcess[str]) -> set[str]:
    return {name for name, verdict in verdicts(done).items() if verdict == "fail"}


# ---------------------------------------------------------------- our own metrics


def test_our_metrics_pass_everything(cli: Cli) -> None:
    done = cli("conformance", "--json", "--random", 10, "--seed", 3)
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["cases"] == {"pass": 140 + 7 * 10, "fail": 0, "unsupported": 0}
    assert result["scorer"].startswith("harness ")
    assert set(verdicts(done).values()) == {"pass"}


def test_the_table_names_families_pitfalls_and_counts(cli: Cli) -> None:
    done = cli("conformance", "--task", "vqa/vcr", "--random", 0)
    assert done.returncode == 0
    assert "vcr (vqa/vcr)" in done.stdout
    assert re.search(r"NaN is taken for the best score +passes +1/1", done.stdout)
    assert "13 passed, 0 failed, 0 not supported" in done.stdout
    assert "captions" not in done.stdout


# ---------------------------------------------------------------- wrong scorers


def test_counting_only_strictly_better_candidates_is_caught(cli: Cli, scorer: Scorer) -> None:
    command = scorer("""
import json, sys
for line in sys.stdin:
    case = json.loads(line)
    scores = [[float(score) for score in row] for row in case["scores"]]
    owners = [image for image, n in enumerate(case["captions"]) for _ in range(n)]
    answer = {"id": case["id"], "unsupported": "not mine"}
    if case["metric"] == "text-to-image R@1" and len(scores[0]) == len(owners):
        hits = [all(row[c] <= scores[own][c] for row in scores) for c, own in enumerate(owners)]
        answer = {"id": case["id"], "scores": {case["metric"]: sum(hits) / len(hits)}}
    print(json.dumps(answer), flush=True)
""")
    done = cli("conformance", "--scorer", command, "--task", "retrieval", "--json")
    assert done.returncode == 1
    assert had(done) == {"retrieval/ties", "retrieval/nan", "retrieval/random"}
    assert failed(done)["retrieval/constant-scorer"] == "1.0"
    assert verdicts(done)["retrieval/infinity"] == "pass"
    assert verdicts(done)["retrieval/median"] == "unsupported"


def test_the_plus_one_pixel_is_caught(cli: Cli, right_but: Scorer) -> None:
    command = right_but("""
    if "scores" in answer and case["metric"] == "mean-iou" and not case["rules"]:
        reply = own_reply({**case, "rules": {"box-convention": "plus-one"}})
        answer["scores"] = {"mean-iou": reply.value}""")
    done = cli("conformance", "--scorer", command, "--task", "spatial-localization", "--json")
    assert done.returncode == 1
    assert had(done) == {"boxes/far-ends", "boxes/xywh", "boxes/no-area", "boxes/random"}
    assert float(failed(done)["boxes/disjoint-normalised-boxes"]) == pytest.approx(0.1856060606)


def test_the_other_comparison_at_half_is_caught(cli: Cli, right_but: Scorer) -> None:
    command = right_but("""
    if case["rules"].get("at-half") == "fails" and case["metric"] == "accuracy":
        reply = own_reply({**case, "rules": {**case["rules"], "at-half": "counts"}})
        answer["scores"] = {"accuracy": reply.value}""")
    arguments = ("--scorer", command, "--task", "spatial-localization", "--random", 0, "--json")
    done = cli("conformance", *arguments)
    assert done.returncode == 1
    assert had(done) == {"boxes/exactly-half"}
    assert len(failed(done)) == 3


def test_punctuation_kept_in_answers_is_caught(cli: Cli, scorer: Scorer) -> None:
    command = scorer("""
import json, sys
for line in sys.stdin:
    case = json.loads(line)
    answer = {"id": case["id"], "unsupported": "not mine"}
    if case["metric"] == "accuracy" and not case["allow_missing"]:
        given = {one["id"]: one["answer"] for one in case["predictions"]}
        try:
            total = 0
            for target in case["targets"]:
                same = [one == given[target["id"]].strip() for one in target["answers"]]
                total += sum(min(1, (sum(same) - one) / 3) for one in same) / len(same)
            answer = {"id": case["id"], "scores": {"accuracy": total / len(case["targets"])}}
        except (KeyError, AttributeError) as error:
            answer = {"id": case["id"], "error": repr(error)}
    print(json.dumps(answer), flush=True)
""")
    done = cli("conformance", "--scorer", command, "--task", "vqa", "--json")
    assert done.returncode == 1
    assert had(done) == {"vqa/normalisation", "vqa/when-normalised", "vqa/ids", "vqa/random"}
    assert "vqa/article-and-punctuation" in failed(done)
    assert verdicts(done)["vqa/leave-one-out"] == "pass"


def test_a_failure_is_shown_with_what_was_expected_and_why(cli: Cli, right_but: Scorer) -> None:
    command = right_but("""
    if case["id"] == "vcr/tied-answers": answer["scores"] = {case["metric"]: 1}""")
    done = cli("conformance", "--scorer", command, "--task", "vqa/vcr", "--random", 0)
    assert done.returncode == 1
    assert re.search(r"ties are decided .* HAS IT +3/4", done.stdout)
    assert "vcr/tied-answers: Q->A" in done.stdout
    assert "expected 0.25, got: 1" in done.stdout
    assert "Four tied scores: each is the choice with probability 1/4." in done.stdout
    assert "12 passed, 1 failed, 0 not supported" in done.stdout


# ---------------------------------------------------------------- scorers that break


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sys.exit('out of memory')", "ended with code 1: out of memory"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("time.sleep(60)", "no answer in 5 s"),
        ("print('loading ...')", "printed no JSON object: 'loading ...'"),
        ("print('[1, 2]')", "printed no JSON object: '[1, 2]'"),
        ("answer['scores'] = {case['metric']: float('nan')}", "gave NaN"),
        ("answer = {'id': 'another', 'scores': {}}", "answered a case 'another' that was not"),
        ("answer['scores'] = {}", "gave no score of 'QA->R'"),
    ],
)
def test_a_scorer_that_breaks_on_the_third_case_fails_that_one(
    cli: Cli, right_but: Scorer, change: str, said: str
) -> None:
    command = right_but(f"""
    if case["id"] == "vcr/tied-reasons": {change}""")
    timeout = 5 if "sleep" in change else 60
    arguments = ("--task", "vqa/vcr", "--random", 0, "--timeout", timeout, "--json")
    done = cli("conformance", "--scorer", command, *arguments)
    assert done.returncode == 1
    assert list(failed(done)) == ["vcr/tied-reasons"]
    assert said in failed(done)["vcr/tied-reasons"]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit(3)", "ended with code 3"),
        ("import time; time.sleep(60)", "no answer in 0.2 s"),
        ("1 / 0", "ended with code 1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_scorer_that_never_answers_is_given_up(
    cli: Cli, scorer: Scorer, source: str, said: str
) -> None:
    timeout = 0.2 if "sleep" in source else 20
    arguments = ("--scorer", scorer(source), "--task", "vqa/vcr", "--timeout", timeout)
    done = cli("conformance", *arguments, "--json")
    assert done.returncode == 1
    reasons = list(failed(done).values())
    assert len(reasons) == 33
    assert all(said in reason for reason in reasons[:3])
    assert set(reasons[3:]) == {NOT_ASKED}
    table = cli("conformance", *arguments).stdout
    assert "NO ANSWER" in table
    assert "HAS IT" not in table
    assert "30 cases were not asked" in table


def test_a_program_that_floods_and_never_reads_does_not_hang_the_command(
    cli: Cli, scorer: Scorer
) -> None:
    started = time.monotonic()
    done = cli("conformance", "--scorer", scorer("while True: print('y' * 80)"))
    assert done.returncode == 1
    assert "0 passed, 280 failed" in done.stdout
    assert time.monotonic() - started < 20


def test_nothing_that_a_scorer_started_is_left_behind(
    cli: Cli, scorer: Scorer, tmp_path: Path
) -> None:
    command = scorer(f"""
import subprocess, sys
wait = [sys.executable, "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(wait, stdout=subprocess.DEVNULL)
with open({str(tmp_path / "child")!r}, "a") as file:
    print(child.pid, file=file)
""")
    cli("conformance", "--scorer", command, "--task", "vqa/vcr")
    children = [int(pid) for pid in (tmp_path / "child").read_text().split()]
    assert len(children) == 3
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(running(pid) for pid in children)


def running(pid: int) -> bool:
    """Whether there is such a process that is more than an entry in the table."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# ---------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scorer", "no-such-program-here"], "'no-such-program-here': no such program"),
        (["--scorer", "'unfinished"], "mend the quotes"),
        (["--scorer", " "], "an empty command: no such program"),
        (["--task", "chess"], "--task chess: no conformance cases"),
        (["--random", "-1"], "-1 is not in the range"),
        (["--timeout", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(cli: Cli, arguments: list[str], said: str) -> None:
    done = cli("conformance", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_scorer_that_supports_nothing_tests_nothing(cli: Cli, right_but: Scorer) -> None:
    command = right_but("""
    answer = {"id": case["id"], "unsupported": "no such metric"}""")
    done = cli("conformance", "--scorer", command, "--task", "vqa/vcr")
    assert done.returncode == 2
    assert "supports none of the 33 cases (no such metric); nothing was tested" in done.stderr


# ---------------------------------------------------------------- adapters


def answer_of(score: Callable[[Any], float], id: str) -> tuple[Case, float | str]:
    case = next(case for case in written_cases() if case.id == id)
    try:
        return case, score(request_of(case))
    except Unsupported as why:
        return case, f"unsupported: {why}"


def test_torchmetrics_has_the_pitfalls_that_the_manual_states(cli: Cli) -> None:
    done = cli("conformance", "--scorer", "torchmetrics", "--json")
    assert done.returncode == 1
    assert {"vcr/ties", "vcr/nan", "retrieval/ties", "retrieval/nan"} < had(done)
    assert {"captions/reference-order", "captions/tokens"} < had(done)
    assert verdicts(done)["captions/line-breaks"] == "pass"
    assert verdicts(done)["moments/ids"] == "unsupported"


def test_an_adapter_without_its_package_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    done = cli("conformance", "--scorer", "sacrebleu")
    assert done.returncode == 2
    assert "the package sacrebleu is not installed; `pip install sacrebleu`" in done.stderr


def test_pycocoevalcap_without_java_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = cli("conformance", "--scorer", "pycocoevalcap", "--task", "captioning", "--random", 0)
    assert done.returncode == 2
    assert "no Java" in done.stderr


def test_pycocoevalcap_shifts_captions_at_a_carriage_return() -> None:
    from harness.conformance.adapters.pycocoevalcap import score
    from harness.metrics.java import java_reason

    if reason := java_reason():
        pytest.skip(reason)
    _, shifted = answer_of(score, "captions/caption-with-carriage-return")
    assert shifted == pytest.approx(0, abs=1e-4)
    case, whole = answer_of(score, "captions/caption-with-line-feed")
    assert whole == pytest.approx(case.expect)
    with pytest.raises(AssertionError):
        answer_of(score, "captions/missing-caption")
    assert answer_of(score, "captions/missing-caption-allowed-rouge")[1] == pytest.approx(1)
    assert answer_of(score, "captions/one-image-cider")[1] == 0


def test_sacrebleu_is_asked_in_lower_case_with_a_stream_for_each_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.conformance.adapters.sacrebleu import score

    (tmp_path / "sacrebleu").mkdir()
    (tmp_path / "sacrebleu" / "__init__.py").touch()
    (tmp_path / "sacrebleu" / "metrics.py").write_text(
        "asked = []\n"
        "class BLEU:\n"
        "    def __init__(self, **options): self.options = options\n"
        "    def corpus_score(self, captions, streams):\n"
        "        asked.append((self.options, captions, streams))\n"
        "        self.score = 50.0\n"
        "        return self\n",
        encoding="utf-8",
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "sacrebleu"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    request = {
        "task": "captioning",
        "metric": "BLEU-2",
        "predictions": [{"id": "2", "caption": "b"}, {"id": "1", "caption": "a"}],
        "targets": [{"id": "1", "references": ["x", "y"]}, {"id": "2", "references": ["z"]}],
        "rules": {},
        "allow_missing": False,
    }
    assert score(request) == 0.5
    asked = sys.modules["sacrebleu.metrics"].asked
    options = {"lowercase": True, "max_ngram_order": 2}
    assert asked == [(options, ["a", "b"], [["x", "z"], ["y", None]])]
    assert str(answer_of(score, "captions/missing-caption")[1]).startswith("unsupported")
    assert str(answer_of(score, "captions/empty-caption-rouge")[1]).startswith("unsupported")
    for name in ("sacrebleu.metrics", "sacrebleu"):
        del sys.modules[name]


def test_sacrebleu_itself_keeps_the_full_stop() -> None:
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed")
    from harness.conformance.adapters.sacrebleu import score

    assert answer_of(score, "captions/capitals-and-full-stop")[1] == pytest.approx(
        0.66874, abs=1e-4
    )
    assert answer_of(score, "captions/reference-order-long-first")[1] == pytest.approx(1)


# ---------------------------------------------------------------- the manual


def test_the_scorer_in_the_manual_is_short_and_works(cli: Cli, scorer: Scorer) -> None:
    manual = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")
    source = manual.partition("```python\n")[2].partition("```")[0]
    assert len(source.splitlines()) <= 15
    done = cli("conformance", "--task", "retrieval", "--random", 0, "--scorer", scorer(source))
    assert done.returncode == 1
    shown = [line.strip() for line in done.stdout.splitlines()]
    for line in manual.splitlines():
        if line.startswith("    ") and re.search(r"(passes|HAS IT|unsupported) +(\d/\d|-)$", line):
            assert line.strip() in shown
    assert re.search(r"ties are decided .* HAS IT", done.stdout)


def test_the_manual_states_what_the_cases_are() -> None:
    manual = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert f"There are {len(written_cases())} cases" in manual
    case = next(case for case in written_cases() if case.id == "boxes/xywh-read-as-xyxy")
    request = re.search(r"^    (\{.*?\})\n\n\(in one line\)", manual, re.S | re.M)
    assert request is not None
    assert json.loads(request[1]) == request_of(case)


def test_a_verdict_needs_an_answer_of_the_documented_kind() -> None:
    from harness.conformance.own import own_reply

    case = next(case for case in written_cases() if case.id == "vcr/missing-id")
    assert verdict_of(case, own_reply(request_of(case))) == "pass"
