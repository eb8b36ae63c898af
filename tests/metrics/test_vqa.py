"""VQA accuracy against a slow transcription of the official rule, and against cases that the
official code scored: tests/metrics/vqa_accuracy_cases.jsonl and, if present, the whole golden file
in the folder named by HARNESS_GOLDENS."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.vqa import normalize_answer, vqa_accuracy

CASES = Path(__file__).with_name("vqa_accuracy_cases.jsonl")
REPOSITORY = Path(__file__).parents[2]
GOLDENS = Path(os.environ.get("HARNESS_GOLDENS", REPOSITORY.parent / "shared" / "goldens"))

# The official table as it stands, misspelt word and replacement, entries without effect included.
REPLACEMENTS = """
aint ain't arent aren't cant can't couldve could've couldnt couldn't couldn'tve couldn't've
couldnt've couldn't've didnt didn't doesnt doesn't dont don't hadnt hadn't hadnt've hadn't've
hadn'tve hadn't've hasnt hasn't havent haven't hed he'd hed've he'd've he'dve he'd've hes he's
howd how'd howll how'll hows how's Id've I'd've I'dve I'd've Im I'm Ive I've isnt isn't itd it'd
itd've it'd've it'dve it'd've itll it'll let's let's maam ma'am mightnt mightn't mightnt've
mightn't've mightn'tve mightn't've mightve might've mustnt mustn't mustve must've neednt needn't
notve not've oclock o'clock oughtnt oughtn't ow's'at 'ow's'at 'ows'at 'ow's'at 'ow'sat 'ow's'at
shant shan't shed've she'd've she'dve she'd've she's she's shouldve should've shouldnt shouldn't
shouldnt've shouldn't've shouldn'tve shouldn't've somebody'd somebodyd somebodyd've somebody'd've
somebody'dve somebody'd've somebodyll somebody'll somebodys somebody's someoned someone'd
someoned've someone'd've someone'dve someone'd've someonell someone'll someones someone's
somethingd something'd somethingd've something'd've something'dve something'd've somethingll
something'll thats that's thered there'd thered've there'd've there'dve there'd've therere there're
theres there's theyd they'd theyd've they'd've they'dve they'd've theyll they'll theyre they're
theyve they've twas 'twas wasnt wasn't wed've we'd've we'dve we'd've weve we've werent weren't
whatll what'll whatre what're whats what's whatve what've whens when's whered where'd wheres
where's whereve where've whod who'd whod've who'd've who'dve who'd've wholl who'll whos who's whove
who've whyll why'll whyre why're whys why's wont won't wouldve would've wouldnt wouldn't wouldnt've
wouldn't've wouldn'tve wouldn't've yall y'all yall'll y'all'll y'allll y'all'll yall'd've y'all'd've
y'alld've y'all'd've y'all'dve y'all'd've youd you'd youd've you'd've you'dve you'd've youll you'll
youre you're youve you've
"""
CONTRACTIONS = dict(zip(REPLACEMENTS.split()[::2], REPLACEMENTS.split()[1::2], strict=True))
NUMBERS = "zero one two three four five six seven eight nine ten"
PUNCTUATION = '; / [ ] " { } ( ) = + \\ _ - > < @ ` , ? !'

# ---------------------------------------------------------------- the rule, slowly


def slow_normalisation(text: str) -> str:
    result = text
    for mark in PUNCTUATION.split():
        touches_space = mark + " " in text or " " + mark in text
        if touches_space or re.search(r"(\d)(\,)(\d)", text) is not None:
            result = result.replace(mark, "")
        else:
            result = result.replace(mark, " ")
    result = re.sub(r"(?!<=\d)(\.)(?!\d)", "", result, count=int(re.UNICODE))
    numbers = NUMBERS.split()
    words = []
    for word in result.lower().split():
        if word in numbers or word == "none":
            word = str(numbers.index(word)) if word in numbers else "0"
        if word not in ["a", "an", "the"]:
            words.append(CONTRACTIONS.get(word, word))
    return " ".join(words)


def slow_accuracy(prediction: str, answers: list[str]) -> float:
    prediction = prediction.replace("\n", " ").replace("\t", " ").strip()
    answers = [answer.replace("\n", " ").replace("\t", " ").strip() for answer in answers]
    if len(set(answers)) > 1:
        prediction = slow_normalisation(prediction)
        answers = [slow_normalisation(answer) for answer in answers]
    scores = []
    for left_out in range(len(answers)):
        others = answers[:left_out] + answers[left_out + 1 :]
        scores.append(min(1.0, len([a for a in others if a == prediction]) / 3))
    return sum(scores) / len(scores)


NASTY_WORDS = """
a An the two NONE ten dont Im couldn'tve 'ows'at somebody'd dog 1,000 3.0 3. .5 u.s. 10:30 hot-dog
man/woman café $5 #5 & ٣,٤ İstanbul ........................................
"""
WORDS = st.sampled_from([*NASTY_WORDS.split(), ""])
MARKS = st.text(alphabet=";/[]\"{}()=+\\_-><@`,?!.:'$ \n\t\r\x0b\x1f\u00a0\u2028019", max_size=4)
ANSWERS = st.one_of(
    st.text(max_size=12),
    st.lists(st.one_of(WORDS, MARKS), max_size=6).map("".join),
    st.lists(WORDS, max_size=5).map(" ".join),
)


@settings(max_examples=500, deadline=None)
@given(ANSWERS)
def test_normalisation_is_the_official_one_on_any_text(text: str) -> None:
    on_one_line = text.replace("\n", " ").replace("\t", " ").strip()
    assert normalize_answer(text) == slow_normalisation(on_one_line)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_accuracy_is_the_official_one_for_any_answers(data: st.DataObject) -> None:
    pool = data.draw(st.lists(ANSWERS, min_size=1, max_size=4))
    variants = [*pool, *(text.upper() for text in pool), *(f" the {text}\n" for text in pool)]
    answers = data.draw(st.lists(st.sampled_from(variants), min_size=1, max_size=12))
    prediction = data.draw(st.sampled_from(variants))
    accuracy = vqa_accuracy(prediction, answers)
    assert accuracy == pytest.approx(slow_accuracy(prediction, answers), abs=1e-12)
    assert 0 <= accuracy <= 1


def test_every_contraction_of_the_official_table_is_replaced_as_there() -> None:
    assert len(CONTRACTIONS) == 120
    for word in CONTRACTIONS:
        assert normalize_answer(word) == slow_normalisation(word), word


# ---------------------------------------------------------------- cases scored by the official code


def read_cases(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_scored_as_recorded(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        assert vqa_accuracy(case["prediction"], case["answers"]) == case["accuracy"], case


def test_chosen_cases_score_exactly_as_in_the_official_evaluation() -> None:
    cases = read_cases(CASES)
    assert len(cases) == 60
    assert_scored_as_recorded(cases)


def test_all_golden_cases_score_exactly_as_in_the_official_evaluation() -> None:
    path = GOLDENS / "vqa_accuracy_official.jsonl"
    if not path.is_file():
        pytest.skip(f"no golden file {path}; name its folder in HARNESS_GOLDENS")
    assert_scored_as_recorded(read_cases(path))


# ---------------------------------------------------------------- the rule in examples


@pytest.mark.parametrize(
    ("matches", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_each_match_among_ten_answers_counts_three_tenths(matches: int, accuracy: float) -> None:
    answers = ["yes"] * matches + ["no"] * (10 - matches)
    assert vqa_accuracy("yes", answers) == accuracy


@pytest.mark.parametrize("matches", range(11))
def test_the_order_of_the_annotators_does_not_matter(matches: int) -> None:
    answers = ["yes"] * matches + ["no"] * (10 - matches)
    shuffled = random.Random(matches)
    scores = set()
    for _ in range(50):
        shuffled.shuffle(answers)
        scores.add(vqa_accuracy("yes", answers))
    assert len(scores) == 1


def test_only_always_normalise_forgives_case_where_all_annotators_agree() -> None:
    assert vqa_accuracy("Yes", ["yes"] * 10) == 0.0
    assert vqa_accuracy("Yes", ["yes"] * 10, variant="always-normalise") == 1.0
    assert vqa_accuracy("Yes", ["yes"] * 9 + ["no"]) == 1.0


def test_the_answers_are_normalised_as_the_prediction_is() -> None:
    answers = ["The dog."] * 4 + ["cat"] * 6
    assert vqa_accuracy("dog", answers) == 1.0
    assert vqa_accuracy("dog", ["The dog."] * 10) == 0.0
    assert vqa_accuracy("dog", ["The dog."] * 10, variant="always-normalise") == 1.0


def test_answers_that_differ_in_surrounding_space_alone_count_as_equal() -> None:
    assert vqa_accuracy("yes\n", ["yes"] * 5 + ["\tyes "] * 5) == 1.0
    assert vqa_accuracy("Yes", ["yes"] * 5 + ["\tyes "] * 5) == 0.0


@pytest.mark.parametrize(
    ("annotators", "matches", "accuracy"),
    [(9, 1, 8 / 27), (9, 9, 1.0), (4, 4, 1.0), (3, 3, 2 / 3), (2, 2, 1 / 3), (1, 1, 0.0)],
)
def test_any_number_of_annotators_will_do(annotators: int, matches: int, accuracy: float) -> None:
    answers = ["yes"] * matches + ["no"] * (annotators - matches)
    assert vqa_accuracy("yes", answers) == pytest.approx(accuracy, abs=1e-15)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("a/b", "b"),
        ("hot-dog", "hot dog"),
        ("well-known 1,000", "wellknown 1000"),
        ("man, woman/child", "man woman child"),
        ("3.", "3"),
        ("3.0", "3.0"),
        (".5", ".5"),
        ("u.s.", "us"),
        ("." * 33, "."),
        ("The One", "1"),
        ("none", "0"),
        ("twenty five", "twenty 5"),
        ("dont", "don't"),
        ("Im", "im"),
        ("10:30", "10:30"),
        ("a", ""),
        ("", ""),
    ],
)
def test_normalisation_has_the_official_quirks(text: str, normalised: str) -> None:
    assert normalize_answer(text) == normalised


@pytest.mark.parametrize("answers", [[], (), "yes"])
def test_no_answers_or_a_bare_string_are_refused(answers: Any) -> None:
    with pytest.raises(ValueError, match="at least one string"):
        vqa_accuracy("yes", answers)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="official, always-normalise"):
        vqa_accuracy("yes", ["yes"], variant="always-normalize")  # type: ignore[arg-type]


def test_importing_the_metric_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pandas', 'torch', 'PIL'} & set(sys.modules)"
    code = f"import sys, harness.metrics.vqa; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True)
    assert done.returncode == 0, done.stderr
