"""Toybox's questions: each can be read back, is true of its scene, and gives little away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

import pytest

from harness.tasks.datasets.toybox.asking import FAMILIES, AskedQuestion
from harness.tasks.datasets.toybox.phrases import (
    VALUES,
    Phrase,
    parse_phrase,
    phrases_over,
    singling_out,
)
from harness.tasks.datasets.toybox.questions import (
    EXTREMES,
    RELATIONS,
    WORDINGS,
    Program,
    answer,
    parse,
    render,
)
from harness.tasks.datasets.toybox.scenes import HELD_OUT, SPLITS, Scene, Thing, make_scene
from harness.tasks.datasets.toybox.vqa import ANSWERS, questions_about

Asked = list[tuple[Scene, AskedQuestion]]

ALL_PHRASES = [
    phrase
    for size in range(5)
    for attributes in combinations(VALUES, size)
    for phrase in phrases_over(attributes)
]


@pytest.fixture(scope="module")
def asked() -> dict[str, Asked]:
    """A thousand scenes of each split (val has fewer) with their questions."""
    found: dict[str, Asked] = {}
    for split in SPLITS:
        scenes = [make_scene(split, index) for index in range(500 if split == "val" else 1000)]
        found[split] = [(scene, one) for scene in scenes for one in questions_about(scene)]
    return found


# ---------------------------------------------------------------- wordings


def programs_of(kind: str) -> Iterator[Program]:
    """Every program of a kind, with every phrase in each of its places."""
    template = WORDINGS[kind][1][0]
    relations = RELATIONS if kind == "relation" else VALUES
    words = tuple(relations) if "{w}" in template else ("",)
    extremes = tuple(EXTREMES) if "{v}" in template else ("",)
    firsts = ALL_PHRASES if "{a}" in template else [Phrase()]
    for w, v in product(words, extremes):
        for a in firsts:
            yield Program(kind, a, ALL_PHRASES[300] if "{b}" in template else Phrase(), w, v)
        for b in ALL_PHRASES if "{b}" in template else []:
            yield Program(kind, ALL_PHRASES[100], b, w, v)


@pytest.mark.parametrize("kind", WORDINGS)
def test_what_is_worded_can_be_read_back(kind: str) -> None:
    for program in programs_of(kind):
        for wording in range(2):
            assert parse(render(program, wording)) == program


def test_no_two_programs_are_worded_alike() -> None:
    worded: dict[str, Program] = {}
    for kind in WORDINGS:
        for program in programs_of(kind):
            for wording in range(2):
                assert worded.setdefault(render(program, wording), program) == program


def test_every_wording_begins_like_a_sentence_and_ends_like_a_question() -> None:
    for kind in WORDINGS:
        text = render(next(programs_of(kind)))
        assert text[0].isupper()
        assert text.endswith("?")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What colour is the circle",
        "what colour is the circle?",
        "What weight is the circle?",
        "Is there a dragon?",
        "Is the circle beside the star?",
        "Is there a circle? ",
    ],
)
def test_other_texts_are_no_toybox_questions(text: str) -> None:
    with pytest.raises(ValueError, match="Toybox"):
        parse(text)


def test_articles_are_english(asked: dict[str, Asked]) -> None:
    texts = [question.text for some in asked.values() for _, question in some]
    assert any(" an orange" in text for text in texts)
    assert not any(re.search(r"\ba [aeiou]|\ban [^aeiou]", text) for text in texts)


@pytest.mark.parametrize("phrase", ALL_PHRASES[::7], ids=str)
def test_a_phrase_is_read_back_from_the_singular_and_the_plural(phrase: Phrase) -> None:
    assert parse_phrase(phrase.singular()) == phrase
    assert parse_phrase(phrase.plural()) == phrase


def test_a_singling_out_phrase_matches_its_thing_alone_and_none_is_shorter() -> None:
    for index in range(100):
        things = make_scene("test", index).things
        for thing in things:
            found = list(singling_out(things, thing))
            for phrase in found:
                assert [other for other in things if phrase.matches(other)] == [thing]
            lengths = {len(phrase.parts) for phrase in found}
            assert len(lengths) <= 1
            # one that names everything is matched by a twin only
            twins = [o for o in things if o is not thing and _looks(o) == _looks(thing)]
            assert bool(found) == (not twins)


def _looks(thing: Thing) -> tuple[str, ...]:
    return tuple(getattr(thing, attribute) for attribute in VALUES)


# ---------------------------------------------------------------- answers


WORD_OF = {value: attribute for attribute, values in VALUES.items() for value in values}
PLURALS = {f"{shape}s": shape for shape in VALUES["shape"]} | {"crosses": "cross"}
AHEAD = {
    "to the left of": lambda a, b: a.x < b.x,
    "to the right of": lambda a, b: a.x > b.x,
    "above": lambda a, b: a.y < b.y,
    "below": lambda a, b: a.y > b.y,
}
OUTERMOST = {
    "leftmost": lambda thing: thing.x,
    "rightmost": lambda thing: -thing.x,
    "topmost": lambda thing: thing.y,
    "bottommost": lambda thing: -thing.y,
}


def named(words: str, things: tuple[Thing, ...]) -> list[Thing]:
    """The things that a noun phrase speaks of."""
    wanted = [PLURALS.get(word, word) for word in words.split()]
    wanted = [word for word in wanted if word not in ("thing", "things")]
    return [t for t in things if all(getattr(t, WORD_OF[word]) == word for word in wanted)]


def the(words: str, things: tuple[Thing, ...]) -> Thing:
    (thing,) = named(words, things)
    return thing


def read_and_answer(text: str, things: tuple[Thing, ...]) -> str:
    """The answer from the text and the scene, written apart from the code under test."""

    def said(pattern: str) -> tuple[str, ...] | None:
        found = re.fullmatch(pattern.replace("?", r"\?"), text)
        return found and found.groups()

    attribute = f"({'|'.join(VALUES)})"
    extreme = f"({'|'.join(OUTERMOST)})"
    yes: bool
    for pattern in (f"What {attribute} is the {extreme} thing?",):
        if part := said(pattern):
            return str(getattr(min(things, key=OUTERMOST[part[1]]), part[0]))
    if part := said(f"The {extreme} thing is of what {attribute}?"):
        return str(getattr(min(things, key=OUTERMOST[part[0]]), part[1]))
    if part := said(f"What {attribute} is the (.*)?") or said(
        f"What is the {attribute} of the (.*)?"
    ):
        return str(getattr(the(part[1], things), part[0]))
    if part := said(f"How many other things have the {attribute} of the (.*)?"):
        one = the(part[1], things)
        return str(
            sum(t is not one and getattr(t, part[0]) == getattr(one, part[0]) for t in things)
        )
    if part := said("How many more (.*) than (.*) are there?"):
        return str(len(named(part[0], things)) - len(named(part[1], things)))
    if part := said("How many (.*) are there?") or said(
        "What number of (.*) does the picture show?"
    ):
        return str(len(named(part[0], things)))
    if part := said("Is there an* (.*)?") or said("Does the picture show an* (.*)?"):
        yes = bool(named(part[0], things))
    elif part := said("Are there more (.*) than (.*)?") or said("Do the (.*) outnumber the (.*)?"):
        yes = len(named(part[0], things)) > len(named(part[1], things))
    elif part := said("Are there as many (.*) as (.*)?"):
        yes = len(named(part[0], things)) == len(named(part[1], things))
    elif part := said(f"Is the (.*) ({'|'.join(AHEAD)}) the (.*)?"):
        yes = AHEAD[part[1]](the(part[0], things), the(part[2], things))
    elif part := said(f"Are the (.*) and the (.*) of the same {attribute}?"):
        one, other = the(part[0], things), the(part[1], things)
        assert one is not other
        yes = getattr(one, part[2]) == getattr(other, part[2])
    elif part := said(f"Do the (.*) and the (.*) differ in {attribute}?"):
        one, other = the(part[0], things), the(part[1], things)
        assert one is not other
        yes = getattr(one, part[2]) != getattr(other, part[2])
    else:
        raise AssertionError(text)
    return "yes" if yes else "no"


MEANS = {"violet": "purple", "turquoise": "cyan", "big": "large"} | {
    word: str(number)
    for number, word in enumerate(("zero", "one", "two", "three", "four", "five", "six"))
}


@pytest.mark.parametrize("split", SPLITS)
def test_the_answer_from_text_and_scene_alone_is_what_most_annotators_say(
    asked: dict[str, Asked], split: str
) -> None:
    """Each slips one time in forty, so once in ten thousand questions a few slip together."""
    outvoted = 0
    for scene, question in asked[split]:
        truth = read_and_answer(question.text, scene.things)
        votes = Counter(MEANS.get(given, given) for given in question.answers)
        outvoted += votes[truth] <= 5
        assert answer(parse(question.text), scene) == truth
        assert truth in ANSWERS
    assert outvoted <= 2


def test_a_relation_is_asked_only_where_it_is_clear(asked: dict[str, Asked]) -> None:
    axis = {"to the left of": "x", "to the right of": "x", "above": "y", "below": "y"}
    seen = 0
    for some in asked.values():
        for scene, question in some:
            found = re.fullmatch(rf"Is the (.*) ({'|'.join(AHEAD)}) the (.*)\?", question.text)
            if found:
                one, other = the(found[1], scene.things), the(found[3], scene.things)
                assert abs(getattr(one, axis[found[2]]) - getattr(other, axis[found[2]])) >= 5
                seen += 1
    assert seen > 500


def things_at(*places: tuple[int, int, str]) -> Scene:
    return Scene(
        "test", 0, tuple(Thing(c, "circle", "small", "plain", x, y, 7) for x, y, c in places)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is the red thing to the left of the blue thing?", "yes"),
        ("Is the red thing to the right of the blue thing?", "no"),
        ("Is the red thing above the blue thing?", None),  # 3 pixels: too close to call
        ("Is the red thing above the red thing?", None),
        ("What colour is the circle?", None),  # three of them
        ("What colour is the star?", None),
        ("What colour is the leftmost thing?", "red"),
        ("What colour is the topmost thing?", None),
        ("How many circles are there?", "3"),
        ("How many things are there?", "3"),
        ("How many stars are there?", "0"),
    ],
)
def test_a_question_that_does_not_fit_has_no_answer(text: str, expected: str | None) -> None:
    scene = things_at((20, 20, "red"), (60, 23, "blue"), (40, 70, "green"))
    assert answer(parse(text), scene) == expected


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize("split", SPLITS)
def test_each_family_is_at_least_a_tenth_of_the_questions(
    asked: dict[str, Asked], split: str
) -> None:
    families = Counter(question.program.family for _, question in asked[split])
    assert set(families) == set(FAMILIES)
    assert len(families) == 6
    assert min(families.values()) >= 0.1 * len(asked[split])


def count_yes(some: Asked) -> dict[tuple[str, str], Counter[str]]:
    """(kind, attribute or relation) -> how often yes and no are true."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for scene, question in some:
        if question.answer_type == "yes/no":
            program = question.program
            truth = read_and_answer(question.text, scene.things)
            counts.setdefault((program.kind, program.w), Counter())[truth] += 1
    return counts


def test_yes_and_no_are_about_equally_frequent_in_each_kind(asked: dict[str, Asked]) -> None:
    """42 to 58 in a hundred over all splits; in each split, give or take what chance does."""
    kinds = {"exists", "more", "as-many", "relation", "same", "different"}
    over_all: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    for some in asked.values():
        in_split: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        for (kind, _), votes in count_yes(some).items():
            over_all[kind].update(votes)
            in_split[kind].update(votes)
        for kind, votes in in_split.items():
            deviation = 0.5 / votes.total() ** 0.5
            assert abs(votes["yes"] / votes.total() - 0.5) <= 0.08 + deviation, (kind, votes)
    for kind, votes in over_all.items():
        assert 0.42 <= votes["yes"] / votes.total() <= 0.58, (kind, votes)


def test_no_attribute_or_relation_in_the_wording_tells_yes_from_no(
    asked: dict[str, Asked],
) -> None:
    counts = count_yes([one for some in asked.values() for one in some])
    assert len(counts) == 3 + len(RELATIONS) + 2 * len(VALUES)
    for wording, votes in counts.items():
        deviation = 0.5 / votes.total() ** 0.5
        assert abs(votes["yes"] / votes.total() - 0.5) <= 0.12 + 2 * deviation, (wording, votes)


@pytest.mark.parametrize("split", SPLITS)
def test_no_answer_dominates(asked: dict[str, Asked], split: str) -> None:
    by_type: dict[str, Counter[str]] = {
        "yes/no": Counter(),
        "number": Counter(),
        "other": Counter(),
    }
    for scene, question in asked[split]:
        by_type[question.answer_type][read_and_answer(question.text, scene.things)] += 1
    assert set(by_type["yes/no"]) == {"yes", "no"}
    assert set(by_type["number"]) == set("0123456")
    assert set(by_type["other"]) == {value for values in VALUES.values() for value in values}
    assert max(by_type["number"].values()) < 0.45 * by_type["number"].total()
    assert max(by_type["other"].values()) < 0.15 * by_type["other"].total()


@pytest.mark.parametrize("split", [split for split in SPLITS if split != "test-comp"])
def test_held_out_pairs_are_not_even_named_outside_test_comp(
    asked: dict[str, Asked], split: str
) -> None:
    pairs = re.compile("|".join(f"{colour} {shape}" for colour, shape in sorted(HELD_OUT)))
    assert not [question.text for _, question in asked[split] if pairs.search(question.text)]


def test_test_comp_does_name_them(asked: dict[str, Asked]) -> None:
    texts = " ".join(question.text for _, question in asked["test-comp"])
    for colour, shape in HELD_OUT:
        assert f"{colour} {shape}" in texts


def test_questions_about_one_scene_differ(asked: dict[str, Asked]) -> None:
    for some in asked.values():
        texts: dict[int, set[str]] = {}
        for scene, question in some:
            texts.setdefault(scene.index, set()).add(question.text)
        assert all(len(different) == 5 for different in texts.values())


# ---------------------------------------------------------------- annotators


def test_ten_annotators_answer_and_some_differ(asked: dict[str, Asked]) -> None:
    given: Counter[str] = Counter()
    divided = 0
    for _, question in asked["test"]:
        assert len(question.answers) == 10
        given.update(question.answers)
        divided += len(set(question.answers)) > 1
    assert 0.3 < divided / len(asked["test"]) < 0.8
    for word, truth in (("violet", "purple"), ("turquoise", "cyan"), ("big", "large")):
        assert 0.15 < given[word] / (given[word] + given[truth]) < 0.35
    for word in ("zero", "one", "two", "three", "four"):
        assert 0.05 < given[word] / (given[word] + given[MEANS[word]]) < 0.3


def test_a_slip_is_rare_and_of_the_right_sort(asked: dict[str, Asked]) -> None:
    wrong = total = 0
    for scene, question in asked["test"]:
        truth = read_and_answer(question.text, scene.things)
        kinds = [set(values) for values in VALUES.values()] + [{"yes", "no"}, set("01234567")]
        (kind,) = [some for some in kinds if truth in some]
        meant = [MEANS.get(one, one) for one in question.answers]
        assert set(meant) <= kind
        wrong += sum(one != truth for one in meant)
        total += 10
    assert 0.015 < wrong / total < 0.035
