"""The specs of the bundled models, as the entry points name them. Imports no torch: `harness ls`
reads this."""

from __future__ import annotations

from harness.specs import Capability, ModelSpec

_VQA_SETS = ("vqa/toybox", "vqa/easy-vqa", "vqa/toybox-vcr")

_EVERYTHING: tuple[Capability, ...] = (
    "answer",
    "choose",
    "caption",
    "caption-clips",
    "match",
    "match-clips",
    "locate",
    "find-moments",
)

_TOYBOX = (
    "captioning/toybox",
    "retrieval/toybox",
    "spatial-localization/toybox",
    "temporal-localization/toybox",
    "video-captioning/toybox",
    "video-retrieval/toybox",
    "vqa/toybox",
    "vqa/toybox-vcr",
)

# what a transformer over words and regions can do
_OF_TEXTS: tuple[Capability, ...] = (
    "answer",
    "choose",
    "match",
    "match-clips",
    "locate",
    "find-moments",
)
_TEXT_SETS = (
    *_VQA_SETS,
    "retrieval/toybox",
    "spatial-localization/toybox",
    "temporal-localization/toybox",
    "video-retrieval/toybox",
)

CHANCE = ModelSpec(
    name="chance",
    summary="anything possible with equal probability",
    capabilities=_EVERYTHING,
    load="harness.baselines.chance:load_chance",
    kind="floor",
)
PRIOR = ModelSpec(
    name="prior",
    summary="what was most frequent in the train part",
    capabilities=_EVERYTHING,
    load="harness.baselines.prior:load_prior",
    kind="floor",
)
ORACLE = ModelSpec(
    name="oracle",
    summary="reads the drawn scene instead of the picture",
    capabilities=_EVERYTHING,
    load="harness.baselines.oracle:load_oracle",
    kind="ceiling",
    datasets=_TOYBOX,
)
NCE = ModelSpec(
    name="nce",
    summary="a dual encoder that tells real pairs from mismatches by noise-contrastive estimation",
    capabilities=_EVERYTHING,
    load="harness.baselines.nce_model:load_nce",
    train="harness.baselines.train_nce:train_nce",
    datasets=_TOYBOX,
)
SHOW_ATTEND_TELL = ModelSpec(
    name="show-attend-tell",
    summary="Show, Attend and Tell (Xu et al. 2015): an LSTM that looks where it speaks of",
    capabilities=("caption", "match", "locate"),
    load="harness.baselines.captioner:load_show_attend_tell",
    train="harness.baselines.train_captioner:train_show_attend_tell",
    aliases=("sat",),
    datasets=("captioning/toybox", "retrieval/toybox", "spatial-localization/toybox"),
)
TEMPORAL_ATTENTION = ModelSpec(
    name="temporal-attention",
    summary="video captioning with temporal attention (Yao et al. 2015)",
    capabilities=("caption-clips", "match-clips", "find-moments"),
    load="harness.baselines.captioner:load_temporal_attention",
    train="harness.baselines.train_captioner:train_temporal_attention",
    datasets=(
        "video-captioning/toybox",
        "video-retrieval/toybox",
        "temporal-localization/toybox",
    ),
)
VLBERT = ModelSpec(
    name="vlbert",
    summary="VL-BERT (Su et al. 2020): one transformer over words and regions",
    capabilities=_OF_TEXTS,
    load="harness.baselines.multitask_model:load_vlbert",
    train="harness.baselines.train_multitask:train_vlbert",
    pretrain="harness.baselines.train_pretraining:pretrain_vlbert",
    blind="vlbert-blind",
    aliases=("vl-bert",),
    datasets=_TEXT_SETS,
    trains_together=True,
    searched=200,
)
VLBERT_BLIND = ModelSpec(
    name="vlbert-blind",
    summary="the same VL-BERT trained without pictures: what the questions alone give away",
    capabilities=("answer", "choose"),
    load="harness.baselines.multitask_model:load_vlbert_blind",
    train="harness.baselines.train_multitask:train_vlbert_blind",
    datasets=_VQA_SETS,
    trains_together=True,
    searched=200,
)
VILBERT = ModelSpec(
    name="vilbert",
    summary="ViLBERT (Lu et al. 2019): two transformers, of words and of regions, that co-attend",
    capabilities=_OF_TEXTS,
    load="harness.baselines.multitask_model:load_vilbert",
    train="harness.baselines.train_multitask:train_vilbert",
    pretrain="harness.baselines.train_pretraining:pretrain_vilbert",
    datasets=tuple(name for name in _TEXT_SETS if name != "vqa/easy-vqa"),
    trains_together=True,
    searched=200,
)
