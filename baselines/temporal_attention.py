"""Temporal attention (Yao et al., ICCV 2015): what is its own beside the shared decoder.

In the paper's section 3.2 v_i is a frame's feature and phi_t(V) the weighted mean, which are a_i
and z_t in the decoder; e_i = w tanh(W_a h_{t-1} + U_a v_i + b_a) is the decoder's equation 4 with
one layer. Knows tensors only: no files, no frames.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from . import attention_decoder
from .attention_decoder import AttentionDecoder, AttentionDecoderConfig

FRAMES = 28  # K of the official code: frames a clip is cut down to

# config.py's settings. Its dropout reaches the LSTM's gates too, and its softmax gives padded
# frames their share: `mask_padding` is the option to have none of that.
TEMPORAL_ATTENTION = AttentionDecoderConfig(
    n_words=20000,
    dim_word=468,
    ctx_dim=1024,
    dim=3518,
    n_layers_att=1,
    n_layers_init=1,
    lstm_dropout=True,
)
DOUBLY_STOCHASTIC_WEIGHT = 0.70602  # alpha_c, of the official form
WEIGHT_DECAY = 1e-4  # decay_c


def from_official(state: Mapping[str, Tensor]) -> AttentionDecoder:
    """The decoder with model_attention.py's weights, by its names, for clips without an encoder
    LSTM ('none' in config.py). Raises ValueError for other names."""
    return attention_decoder.from_official(state, TEMPORAL_ATTENTION)


def sampled_frames(frames: int, most: int = FRAMES) -> list[int]:
    """Which frames a clip is cut down to (data_engine.py): the clip in `most` parts as equal as can
    be, the first frame of each; a shorter clip keeps all, and is padded with zero features."""
    if frames <= most:
        return list(range(frames))
    size, longer = divmod(frames, most)
    return [part * size + min(part, longer) for part in range(most)]
