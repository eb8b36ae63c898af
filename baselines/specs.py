"""The specs of the bundled models, as the entry points name them. Imports no torch: `harness ls`
reads this."""

from __future__ import annotations

from harness.types import ModelSpec

_VQA_SETS = ("vqa/toybox", "vqa/easy-vqa")

CHANCE = ModelSpec(
    name="chance",
    summary="any possible answer with equal probability, scored exactly",
    capabilities=("answer",),
    load="harness.baselines.floors:load_chance",
    kind="floor",
)
PRIOR = ModelSpec(
    name="prior",
    summary="the most frequent answer of the training part: to this question, this type, at all",
    capabilities=("answer",),
    load="harness.baselines.floors:load_prior",
    kind="floor",
)
ORACLE = ModelSpec(
    name="oracle",
    summary="reads the drawn scene instead of the picture: the ceiling of Toybox",
    capabilities=("answer",),
    load="harness.baselines.floors:load_oracle",
    kind="ceiling",
    datasets=("vqa/toybox",),
)
VLBERT = ModelSpec(
    name="vlbert",
    summary="VL-BERT (Su et al. 2020): one transformer over words and regions",
    capabilities=("answer",),
    load="harness.baselines.vlbert_vqa:load_vlbert",
    train="harness.baselines.train_vlbert:train_vlbert",
    blind="vlbert-blind",
    aliases=("vl-bert",),
    datasets=_VQA_SETS,
)
VLBERT_BLIND = ModelSpec(
    name="vlbert-blind",
    summary="the same VL-BERT trained without pictures: what the questions alone give away",
    capabilities=("answer",),
    load="harness.baselines.vlbert_vqa:load_vlbert_blind",
    train="harness.baselines.train_vlbert:train_vlbert_blind",
    datasets=_VQA_SETS,
)
