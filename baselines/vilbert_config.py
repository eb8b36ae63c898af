"""The sizes of a ViLBERT, and by name those of the official code. Knows no tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ViLBertConfig:
    """Sizes of a ViLBERT; the defaults are BERT base with six co-attention layers.

    Names are those of the official config files. Co-attention i comes before text layer
    t_biattention_id[i] and before image layer v_biattention_id[i]. ValueError where these are not
    of one length, ascending and within the streams.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    v_feature_size: int = 2048  # a region's feature
    v_target_size: int = 1601  # the classes of the detector
    v_hidden_size: int = 1024
    v_num_hidden_layers: int = 6
    v_num_attention_heads: int = 8
    v_intermediate_size: int = 1024
    bi_hidden_size: int = 1024
    bi_num_attention_heads: int = 8
    v_biattention_id: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    t_biattention_id: tuple[int, ...] = (6, 7, 8, 9, 10, 11)
    task_specific_tokens: bool = False
    dropout: float = 0.1
    initializer_range: float = 0.02
    answers: int = 3129  # of VQA
    gqa_answers: int = 1533

    def __post_init__(self) -> None:
        for name, ids, layers in (
            ("v_biattention_id", self.v_biattention_id, self.v_num_hidden_layers),
            ("t_biattention_id", self.t_biattention_id, self.num_hidden_layers),
        ):
            if not ids or list(ids) != sorted(ids) or ids[0] < 0 or ids[-1] > layers:
                raise ValueError(f"{name} {ids} is not an ascending list within {layers} layers")
        if len(self.v_biattention_id) != len(self.t_biattention_id):
            raise ValueError("v_biattention_id and t_biattention_id differ in length")


def _with_coattention(text: ViLBertConfig, layers: int) -> ViLBertConfig:
    """So many image and co-attention layers, beside the last text layers."""
    return replace(
        text,
        v_num_hidden_layers=layers,
        v_biattention_id=tuple(range(layers)),
        t_biattention_id=tuple(range(text.num_hidden_layers - layers, text.num_hidden_layers)),
    )


_BASE = ViLBertConfig()
_LARGE = replace(
    _with_coattention(replace(_BASE, num_hidden_layers=24), 6),
    hidden_size=1024,
    num_attention_heads=16,
    intermediate_size=4096,
)

CONFIGS: dict[str, ViLBertConfig] = {
    **{f"base-{layers}": _with_coattention(_BASE, layers) for layers in (2, 4, 6, 8)},
    **{f"large-{layers}": _with_coattention(_LARGE, layers) for layers in (2, 4, 6)},
}
