"""Vocabularies: learned from texts, saved, read back, and what becomes of unknown words."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.baselines.words import SPECIAL, Vocabulary, learn_vocabulary, read_vocabulary

TEXTS = ["Is there a red thing?", "Is the red thing left of it?", "How many hot-dogs, don't know."]


def words_of(vocabulary: Vocabulary, text: str) -> list[str]:
    return [vocabulary.words[id] for id in vocabulary.encode(text, 1000)]


def test_special_words_come_first_then_the_most_frequent() -> None:
    vocabulary = learn_vocabulary(TEXTS)
    assert tuple(vocabulary.words[:5]) == SPECIAL
    assert vocabulary.words[5:9] == ["?", "is", "red", "thing"]
    assert (vocabulary.cls, vocabulary.sep, vocabulary.mask) == (2, 3, 4)


def test_a_vocabulary_does_not_depend_on_the_order_of_texts() -> None:
    assert learn_vocabulary(reversed(TEXTS)).words == learn_vocabulary(TEXTS).words


def test_a_vocabulary_survives_its_file(tmp_path: Path) -> None:
    vocabulary = learn_vocabulary([*TEXTS, "ünï 東京 \x85 \u2028 a\x1cb"])
    vocabulary.save(tmp_path / "vocab.txt")
    again = read_vocabulary(tmp_path / "vocab.txt")
    assert again.words == vocabulary.words
    for text in TEXTS:
        assert again.encode(text, 99) == vocabulary.encode(text, 99)


def test_what_it_learned_from_it_knows() -> None:
    vocabulary = learn_vocabulary(TEXTS)
    assert words_of(vocabulary, TEXTS[0]) == ["is", "there", "a", "red", "thing", "?"]
    assert words_of(vocabulary, TEXTS[2]) == (
        ["how", "many", "hot", "-", "dogs", ",", "don", "'", "t", "know", "."]
    )


@pytest.mark.parametrize(
    "text", ["What is a café?", "naïve ÀÉ", "snake_case", "東京 tower", "is İt", "½ ² ﬁ"]
)
def test_words_with_accents_and_other_scripts_are_known_once_learned(text: str) -> None:
    """The tokeniser takes accents off and parts some words: what is learned must follow it."""
    vocabulary = learn_vocabulary([text])
    assert "[UNK]" not in words_of(vocabulary, text)


def test_an_unknown_word_is_one_unknown_token_and_the_rest_stays() -> None:
    vocabulary = learn_vocabulary(TEXTS)
    assert words_of(vocabulary, "Is the zebra red?") == ["is", "the", "[UNK]", "red", "?"]


def test_case_and_spaces_do_not_matter() -> None:
    vocabulary = learn_vocabulary(TEXTS)
    assert words_of(vocabulary, "  IS\tthe\n red ? ") == ["is", "the", "red", "?"]


def test_a_long_text_is_cut() -> None:
    vocabulary = learn_vocabulary(TEXTS)
    assert len(vocabulary.encode("red " * 50, 7)) == 7
    assert vocabulary.encode("", 7) == []


@pytest.mark.parametrize("text", ["what is [PAD] here?", "[CLS] [SEP] [MASK]", "[pad]"])
def test_no_text_reads_as_special_tokens(text: str) -> None:
    """Else a question could hold padding, or a second place for the answer."""
    vocabulary = learn_vocabulary([*TEXTS, text])
    assert not {"[PAD]", "[CLS]", "[SEP]", "[MASK]"} & set(words_of(vocabulary, text))


@pytest.mark.parametrize("words", [[], ["a"], ["[PAD]", "a"], [*SPECIAL[1:], "[PAD]"]])
def test_a_list_of_words_that_is_no_vocabulary_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        Vocabulary(words)
