"""The captioners' network, a vision and an attention decoder, their words, and folders of weights.
Knows no task, no training and no scoring."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from harness.metrics.ptb_tokenizer import tokenize

from .attention_decoder import END, FIRST_WORD, UNKNOWN, AttentionDecoder, AttentionDecoderConfig
from .captioner_vision import Vision, VisionConfig
from .frozen_networks import check_frozen
from .visual_encoder import VisualConfig
from .weights_folder import check_files, describing, read_weights, write_folder

BUNDLED = Path(__file__).parent / "weights"

LocateBy: TypeAlias = Literal["end", "mean"]


@dataclass(frozen=True)
class CaptionerConfig:
    """What config.json holds.

    `hard`: look at one location a step. `beam`, `by_length`, `most_words` (the end counted): how
    captions are searched for. `calibrated`: likelihoods of pairs are against those without a
    visual; `margin`: from how much less likely on, in natural logarithms, a pair is given up, 0 for
    never. `locate_by`: which steps' attention finds a box. `moment_lengths`: of windows, in
    frames. `says_unknown`: captions may have the word UNK. `frozen`: the sha256 of each frozen
    network of another package, by name.
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    decoder: AttentionDecoderConfig = field(default_factory=AttentionDecoderConfig)
    trained_on: str = ""
    hard: bool = False
    beam: int = 3
    by_length: bool = False
    most_words: int = 48
    calibrated: bool = True
    margin: float = 15.0
    locate_by: LocateBy = "end"
    moment_lengths: tuple[int, ...] = ()
    says_unknown: bool = True
    frozen: dict[str, str] = field(default_factory=dict)


class CaptionWords:
    """Captions <-> token ids: the field's (PTB) tokens, in lower case and without punctuation. 0 is
    the end, 1 an unknown word."""

    def __init__(self, words: Sequence[str]) -> None:
        if len(set(words)) != len(words):
            raise ValueError("a word stands twice")
        self.words = list(words)
        self._ids = {word: id for id, word in enumerate(words, start=FIRST_WORD)}

    def __len__(self) -> int:
        """With the end and the unknown word."""
        return FIRST_WORD + len(self.words)

    def encode(self, text: str) -> list[int]:
        """Token ids, the end included."""
        return self.encode_words(tokenize(text).split())

    def encode_words(self, words: Sequence[str]) -> list[int]:
        return [*(self._ids.get(word, UNKNOWN) for word in words), END]

    def decode(self, tokens: Sequence[int]) -> list[str]:
        """Words of tokens without the end."""
        return ["UNK" if t < FIRST_WORD else self.words[t - FIRST_WORD] for t in tokens]


def learn_words(texts: Iterable[str], at_least: int = 1) -> CaptionWords:
    """Every word that stands in the texts `at_least` times, most frequent first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenize(text).split())
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return CaptionWords([word for word in ordered if counts[word] >= at_least])


def pad_captions(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids with their ends -> tokens (captions, longest) and their mask."""
    tokens = torch.full((len(captions), max([1, *map(len, captions)])), END)
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, ids in enumerate(captions):
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        mask[row, : len(ids)] = True
    return tokens, mask


class CaptionerNetwork(nn.Module):
    """A vision, the decoder that looks at its annotation vectors, and the annotations of no visual
    at all, by which the decoder tells how likely a caption is before anything is seen."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = Vision(config.vision)
        self.decoder = AttentionDecoder(config.decoder)
        self.nothing = nn.Parameter(torch.zeros(config.vision.locations, config.vision.size))
        for parameter in self.decoder.parameters():
            if parameter.ndim > 1:  # the official code's 0.01 suits its width; narrow models stall
                nn.init.xavier_uniform_(parameter)
        # tanh(a + q) around 0 has no product of a and q: with biases of 0, it takes long until the
        # attention depends on what was said
        nn.init.normal_(self.decoder.attention_context.bias)
        for layer in self.decoder.attention_deeper:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.bias)

    def see(self, visuals: Tensor) -> Tensor:
        """What read_visuals gives -> annotations (batch, locations, size)."""
        if not visuals.dtype.is_floating_point:
            seen: Tensor = self.vision(visuals)
        else:
            seen = self.vision(visuals.to(self.nothing.dtype))
        return seen


# ---------------------------------------------------------------- folders of weights


def save_folder(
    folder: Path, network: CaptionerNetwork, words: CaptionWords, config: CaptionerConfig
) -> None:
    """Writes config.json, words.txt (a line each, from id 2 on) and model.safetensors in fp16."""
    write_folder(folder, config, network)
    lines = "".join(f"{word}\n" for word in words.words)
    (folder / "words.txt").write_text(lines, encoding="utf-8")


def read_folder(folder: Path) -> tuple[CaptionerNetwork, CaptionWords, CaptionerConfig]:
    """Reads what save_folder wrote; computes in fp32. BadInput names the file and the mend,
    also where a frozen network is absent or another than in training."""
    check_files(folder, "words.txt")
    with describing(folder, "words.txt", "a captioner"):
        config = _read_config(folder / "config.json")
        words = CaptionWords((folder / "words.txt").read_text(encoding="utf-8").split("\n")[:-1])
        if len(words) != config.decoder.n_words:
            raise ValueError(f"{len(words)} words for {config.decoder.n_words} embeddings")
        check_frozen(config.frozen, folder)
        network = CaptionerNetwork(config)
    read_weights(folder, network)
    return network, words, config


def _read_config(path: Path) -> CaptionerConfig:
    content = json.loads(path.read_text(encoding="utf-8"))
    vision = content["vision"]
    visual = vision["visual"] | {"channels": tuple(vision["visual"]["channels"])}
    return CaptionerConfig(
        **content
        | {
            "vision": VisionConfig(**vision | {"visual": VisualConfig(**visual)}),
            "decoder": AttentionDecoderConfig(**content["decoder"]),
            "moment_lengths": tuple(content["moment_lengths"]),
            "frozen": dict(content.get("frozen", {})),
        }
    )
