"""VQA accuracy by the rule of the official evaluation (Antol et al. 2015, GT-Vision-Lab/VQA).
Knows strings only: no data set, no file, no task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

Variant: TypeAlias = Literal["official", "always-normalise"]

# Each mark is dropped or becomes a space. The apostrophe, ':', '.', '$', '%', '&' and '#' stay.
_MARKS = ';/[]"{}()=+\\_-><@`,?!'

# `\d` stands for the digits of every script, as it does in Python 3.
_COMMA_IN_NUMBER = re.compile(r"\d,\d")

# The official pattern also means to look for a digit before the period, but its look-behind is
# mistyped, (?!<=\d), and always holds: "3." loses its period, "3.0" and ".5" keep theirs.
_PERIOD = re.compile(r"\.(?!\d)")

# The official call passes the flag re.UNICODE, 32, where re.sub takes the number of replacements.
_PERIODS_DROPPED_AT_MOST = 32

_NUMBER_WORDS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_ARTICLES = frozenset({"a", "an", "the"})

# Words that get back an apostrophe when exactly one of theirs is missing. Words are in lower case
# by then, so the official entries for "Im", "Ive", "Id've" and "I'dve" never apply and are left
# out: "Im" stays "im". Forms that the official table lacks ("she'll", "wed") are lacking here too.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't
    mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've
    should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't
    what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
    who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
    you'd've you'll you're you've
"""


def _contraction_table() -> Mapping[str, str]:
    """Each form short of one apostrophe -> the form: "dont" -> "don't", "hed've" -> "he'd've"."""
    table = {
        form[:place] + form[place + 1 :]: form
        for form in _CONTRACTIONS.split()
        for place, character in enumerate(form)
        if character == "'"
    }
    table["somebody'd"] = "somebodyd"  # the official table has this pair the wrong way round
    return table


_CONTRACTION_OF = _contraction_table()


def vqa_accuracy(prediction: str, answers: Sequence[str], variant: Variant = "official") -> float:
    """Accuracy in [0, 1] of one predicted answer against the annotators' answers.

    Each annotator in turn is left out, by position, and the prediction scores min(1, matches / 3)
    against the others; the accuracy is the mean. With ten answers, 0, 1, 2, 3 and 4 matches give
    0, .3, .6, .9 and 1. The order of the answers does not matter. A lone answer leaves nobody to
    agree with and gives 0.

    `variant` says what is normalised by `normalize_answer` before strings are compared:
    - "official": prediction and answers, but only if the answers are not all equal. Against ten
      "yes", "Yes" scores 0 and "yes" scores 1.
    - "always-normalise": prediction and answers, always. "Yes" scores 1 there.
    Either way newlines and tabs count as spaces, and spaces around an answer do not count.

    Raises ValueError if there are no answers or the variant is unknown.
    """
    if isinstance(answers, str) or not answers:
        raise ValueError(f"answers must be a sequence of at least one string, not {answers!r}")
    if variant not in get_args(Variant):
        raise ValueError(f"unknown variant {variant!r}: use one of {', '.join(get_args(Variant))}")
    predicted = _on_one_line(prediction)
    references = [_on_one_line(answer) for answer in answers]
    if variant == "always-normalise" or len(set(references)) > 1:
        predicted = _normalised(predicted)
        references = [_normalised(reference) for reference in references]
    return _leave_one_out_mean(references.count(predicted), len(references))


def normalize_answer(text: str) -> str:
    """The official normalisation of an answer, quirks included.

    Newlines and tabs to spaces, ends stripped; punctuation; lower case; number words to digits;
    articles dropped; apostrophes put back into contractions. "The Half-eaten  apple." gives
    "half eaten apple", "dont" gives "don't", "3.0" stays, and "a" gives "".
    """
    return _normalised(_on_one_line(text))


def _leave_one_out_mean(matches: int, annotators: int) -> float:
    """Mean over the annotators of min(1, matches among the others / 3).

    Those who match see one match fewer among the others. In thirds the sum is an integer, so that
    the one division rounds correctly, whatever the order of the annotators.
    """
    thirds = matches * min(3, matches - 1) + (annotators - matches) * min(3, matches)
    return thirds / (3 * annotators)


def _on_one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=65536)
def _normalised(text: str) -> str:
    return _without_articles(_without_punctuation(text))


def _without_punctuation(text: str) -> str:
    """No mark stays. One that touches a space somewhere in `text` is dropped wherever it stands,
    and so are all if `text` has a number like "1,000"; the others become spaces: "hot-dog" ->
    "hot dog", "x/y, z" -> "x y z", "well-known 1,000" -> "wellknown 1000". Every mark is judged on
    the text as it came, so their order does not matter."""
    drop_all = _COMMA_IN_NUMBER.search(text) is not None
    replacements = {
        ord(mark): "" if drop_all or f"{mark} " in text or f" {mark}" in text else " "
        for mark in _MARKS
    }
    return _PERIOD.sub("", text.translate(replacements), count=_PERIODS_DROPPED_AT_MOST)


def _without_articles(text: str) -> str:
    """Lower case, number words as digits, no articles, contractions with their apostrophes."""
    numbered = (_NUMBER_WORDS.get(word, word) for word in text.lower().split())
    kept = (word for word in numbered if word not in _ARTICLES)
    return " ".join(_CONTRACTION_OF.get(word, word) for word in kept)
