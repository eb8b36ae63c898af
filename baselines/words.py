"""A model's vocabulary: BERT's WordPiece over a vocab.txt, whole words for the bundled models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Vocabulary:
    """Text -> token ids, lower-cased, without special tokens. Id 0 is padding."""

    def __init__(self, words: list[str]) -> None:
        from tokenizers import BertWordPieceTokenizer

        missing = [word for word in SPECIAL if word not in words]
        if missing or words[0] != "[PAD]":
            raise ValueError(f"a vocabulary begins with [PAD] and holds {', '.join(SPECIAL)}")
        self.words = words
        self._tokenizer = BertWordPieceTokenizer({word: i for i, word in enumerate(words)})
        self.cls, self.sep, self.mask = (words.index(word) for word in SPECIAL[2:])

    def encode(self, text: str, most: int) -> list[int]:
        """At most `most` token ids."""
        # a text that says "[MASK]" means the letters; lone surrogates have no UTF-8
        plain = text.replace("[", "[ ").encode("utf-8", "replace").decode()
        ids: list[int] = self._tokenizer.encode(plain, add_special_tokens=False).ids
        return ids[:most]

    def save(self, path: Path) -> None:
        path.write_text("".join(f"{word}\n" for word in self.words), encoding="utf-8")


def read_vocabulary(path: Path) -> Vocabulary:
    return Vocabulary(path.read_text(encoding="utf-8").splitlines())


def learn_vocabulary(texts: Iterable[str]) -> Vocabulary:
    """Every word and punctuation mark of the texts, as the tokenizer cuts them, most frequent
    first."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer, cutter = BertNormalizer(), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        words = cutter.pre_tokenize_str(normalizer.normalize_str(text))
        counts.update(word for word, _ in words)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary([*SPECIAL, *ordered])
