"""Official checkpoints: every kind of file that the authors' code writes is read, what does not fit
is refused in one line with the model left as it was, and no file is let run anything."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.baselines.official_checkpoints import (
    VILBERT,
    VILBERT_TASKS,
    VLBERT_PRETRAINING,
    VLBERT_REFERRING,
    VLBERT_VCR,
    VLBERT_VQA,
    LoadReport,
    NameTable,
    load_official,
)
from harness.baselines.vlbert import VLBertConfig, VLBertForVQA
from harness.baselines.vlbert_pretraining import VLBertForPretraining
from harness.baselines.vlbert_refcoco import VLBertForReferring
from harness.baselines.vlbert_vcr import VLBertForVCR
from harness.errors import BadInput

TINY = VLBertConfig(
    vocab_size=12,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=6,
    max_position_embeddings=9,
    appearance_size=4,
    geometry_size=8,
    answers=3,
    region_classes=5,
)

State = dict[str, Tensor]
Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def save(content: Any, **options: Any) -> Path:
        path = tmp_path / "released.model"
        torch.save(content, path, **options)
        return path

    return save


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def pretrained() -> State:
    return dict(randomised(VLBertForPretraining(TINY)).state_dict())


def load(path: Path, model: nn.Module, table: NameTable) -> LoadReport:
    return load_official(path, model, renames=table.renames, fresh=table.fresh)


def assert_holds(model: nn.Module, expected: Mapping[str, Tensor]) -> None:
    found = model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)


def old_layer_norms(state: State) -> State:
    """Names as early BERT's code spelt them."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in state.items()
    }


def weight_normed(layer: nn.Module, dim: Any) -> None:
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(layer, dim=dim)


def with_optimizer(state: State) -> dict[str, Any]:
    """As the official training loop saves: momenta and step counts beside the weights."""
    model = VLBertForPretraining(TINY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sum(p.sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    return {
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "validation_monitor": {"best_epoch": 3, "best_val": 0.5},
    }


# ---------------------------------------------------------------- kinds of files

KINDS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "under state_dict": lambda state: {"state_dict": state, "epoch": 9},
    "under model_state_dict": lambda state: {"model_state_dict": state},
    "module. before names": lambda state: {f"module.{k}": v for k, v in state.items()},
    "module. twice": lambda state: {
        "state_dict": {f"module.module.{k}": v for k, v in state.items()}
    },
    "gamma and beta": old_layer_norms,
    "optimizer inside": with_optimizer,
    "parameters": lambda state: {name: nn.Parameter(value) for name, value in state.items()},
    "without the tied matrix": lambda state: {
        name: value for name, value in state.items() if "decoder" not in name
    },
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_read(write: Callable[..., Path], kind: str, zipped: bool) -> None:
    state = pretrained()
    path = write(KINDS[kind](state), _use_new_zipfile_serialization=zipped)
    assert zipfile.is_zipfile(path) == zipped
    model = VLBertForPretraining(TINY)
    report = load(path, model, VLBERT_PRETRAINING)
    assert_holds(model, state)
    assert report.loaded == tuple(model.state_dict())
    assert report.missing == report.unused == ()
    assert len(report.renamed) == (12 if kind == "gamma and beta" else 0)
    head, embeddings = model.vlbert.mlm_head.predictions, model.vlbert.word_embeddings
    assert head.decoder.weight is embeddings.weight


def test_half_precision_becomes_the_models(write: Write) -> None:
    state = pretrained()
    model = VLBertForPretraining(TINY)
    load(write({k: v.half() for k, v in state.items()}), model, VLBERT_PRETRAINING)
    assert_holds(model, {name: value.half().float() for name, value in state.items()})


# ---------------------------------------------------------------- fine-tuning from pretraining


def test_vqa_starts_from_the_word_head(write: Write) -> None:
    state, model = pretrained(), VLBertForVQA(TINY)
    report = load(write(state), model, VLBERT_VQA)
    before = "vlbert.mlm_head.predictions.transform."
    for name in ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias"):
        assert torch.equal(model.get_parameter(f"final_mlp.0.{name}"), state[before + name])
    assert len(report.renamed) == 4
    assert report.missing == ("final_mlp.2.weight", "final_mlp.2.bias")
    assert "vlbert.mvrc_head.transform.dense.weight" in report.unused
    assert len(report.loaded) + len(report.missing) == len(model.state_dict())
    assert len(report.loaded) + len(report.unused) == len(state)


def test_referring_expressions_start_from_the_region_head(write: Write) -> None:
    state, model = pretrained(), VLBertForReferring(TINY)
    report = load(write(state), model, VLBERT_REFERRING)
    for name in ("dense.weight", "dense.bias"):
        source = state[f"vlbert.mvrc_head.transform.{name}"]
        assert torch.equal(model.get_parameter(f"final_mlp.0.{name}"), source)
    assert report.missing == ("final_mlp.2.weight", "final_mlp.2.bias")


def test_vcr_starts_from_the_encoder(write: Write) -> None:
    state, model = pretrained(), VLBertForVCR(TINY)
    report = load(write({f"module.{k}": v for k, v in state.items()}), model, VLBERT_VCR)
    assert torch.equal(model.encoder.word_embeddings.weight, state["vlbert.word_embeddings.weight"])
    projection = "obj_downsample.1.weight"
    assert torch.equal(
        model.state_dict()[f"image_feature_extractor.fe.{projection}"],
        state[f"image_feature_extractor.{projection}"],
    )
    assert all(name.startswith(VLBERT_VCR.fresh) for name in report.missing)
    assert len(report.missing) == 4


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (VLBertForVQA, VLBERT_VQA),
        (VLBertForReferring, VLBERT_REFERRING),
        (VLBertForVCR, VLBERT_VCR),
    ],
)
def test_a_fine_tuned_file_is_read_whole(
    write: Write, kind: type[nn.Module], table: NameTable
) -> None:
    state = dict(randomised(kind(TINY)).state_dict())
    model = kind(TINY)
    report = load(write({"state_dict": state}), model, table)
    assert_holds(model, state)
    assert report.missing == report.unused == ()
    assert not report.renamed


def test_a_fine_tuned_head_comes_before_one_that_would_be_renamed(write: Write) -> None:
    state = dict(randomised(VLBertForVQA(TINY), seed=1).state_dict())
    extra = "vlbert.mlm_head.predictions.transform.dense.weight"
    model = VLBertForVQA(TINY)
    report = load(write({extra: torch.zeros(8, 8)} | state), model, VLBERT_VQA)
    assert_holds(model, state)
    assert report.unused == (extra,)


def test_a_file_of_the_end_to_end_model_leaves_its_cnn_unused(write: Write) -> None:
    cnn = {f"image_feature_extractor.backbone.layer{n}.weight": torch.ones(2) for n in range(9)}
    report = load(write(pretrained() | cnn), VLBertForPretraining(TINY), VLBERT_PRETRAINING)
    assert set(report.unused) == set(cnn)
    assert "image_feature_extractor.backbone (9)" in report.text()


# ---------------------------------------------------------------- ViLBERT's names


class SmallViLBert(nn.Module):
    """The outline of ViLBERT for tasks: an encoder, and heads by the official names."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = nn.ModuleDict({"embeddings": nn.ModuleDict({"LayerNorm": nn.LayerNorm(3)})})
        self.vil_logit = nn.Linear(3, 1)
        self.vil_prediction = nn.ModuleDict(
            {"main": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))}
        )


def encoder_state() -> State:
    return {
        "bert.embeddings.LayerNorm.gamma": torch.randn(3),
        "bert.embeddings.LayerNorm.beta": torch.randn(3),
    }


@pytest.mark.parametrize("dimension", [None, 0], ids=["one length", "a length a row"])
def test_a_weight_normed_classifier_becomes_plain_matrices(
    write: Write, dimension: int | None
) -> None:
    """Against torch's own weight_norm, which vilbert_beta used with one length for the matrix."""
    torch.manual_seed(0)
    theirs = SmallViLBert()
    for at in (0, 3):
        weight_normed(theirs.get_submodule(f"vil_prediction.main.{at}"), dimension)
    with torch.no_grad():
        for at in (0, 3):
            theirs.get_parameter(f"vil_prediction.main.{at}.weight_g").mul_(1.7)
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("bert.")}
    model = SmallViLBert()
    report = load(write(state | encoder_state()), model, VILBERT_TASKS)
    given = torch.randn(5, 3)
    theirs.eval()
    model.eval()
    torch.testing.assert_close(
        model.vil_prediction["main"](given), theirs.vil_prediction["main"](given)
    )
    assert not report.missing
    assert not report.unused
    pair = ("vil_prediction.main.0.weight_g*weight_v", "vil_prediction.main.0.weight")
    assert pair in report.renamed


def test_a_weight_normed_classifier_stays_so_where_the_model_has_it_so(write: Write) -> None:
    theirs, model = nn.Linear(3, 4), nn.Linear(3, 4)
    for layer in (theirs, model):
        weight_normed(layer, None)
    report = load_official(write(theirs.state_dict()), model)
    assert_holds(model, theirs.state_dict())
    assert report.renamed == ()


def test_wrong_lengths_are_named(write: Write) -> None:
    state = {"weight_g": torch.ones(3, 1), "weight_v": torch.ones(4, 3), "bias": torch.ones(4)}
    model = nn.ModuleDict({"x": nn.Linear(3, 4)})
    line = refusal(write({f"x.{k}": v for k, v in state.items()}), model)
    assert "x.weight_g has 3 lengths" in line


def test_heads_that_a_pretrained_vilbert_lacks_start_afresh(write: Write) -> None:
    state, model = encoder_state(), SmallViLBert()
    report = load(write(state | {"cls.predictions.bias": torch.ones(2)}), model, VILBERT_TASKS)
    assert torch.equal(
        model.state_dict()["bert.embeddings.LayerNorm.weight"],
        state["bert.embeddings.LayerNorm.gamma"],
    )
    assert len(report.missing) == 6
    assert report.unused == ("cls.predictions.bias",)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_an_encoder_is_read_with_and_without_its_prefix(write: Write, prefix: str) -> None:
    inner = nn.ModuleDict({"embeddings": nn.ModuleDict({"LayerNorm": nn.LayerNorm(3)})})
    outer = nn.ModuleDict({"bert": inner})
    state = {f"{prefix}embeddings.LayerNorm.{k}": torch.randn(3) for k in ("weight", "bias")}
    for model in (inner, outer):
        assert len(load(write(state), model, VILBERT).loaded) == 2
        assert torch.equal(
            next(iter(model.state_dict().values())), state[f"{prefix}embeddings.LayerNorm.weight"]
        )


# ---------------------------------------------------------------- refusals


def refusal(path: Path, model: nn.Module, table: NameTable | None = None) -> str:
    """The line of the error; the model must be left as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(BadInput) as caught:
        load(path, model, table or NameTable())
    assert_holds(model, before)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    assert len(line) < 400
    return line


def test_a_missing_name_that_matters_is_named(write: Write) -> None:
    state = pretrained()
    del state["vlbert.encoder.layer.1.output.dense.bias"]
    line = refusal(write(state), VLBertForVQA(TINY), VLBERT_VQA)
    assert "lacks 1 of the model's" in line
    assert "first vlbert.encoder.layer.1.output.dense.bias" in line


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_refused(write: Write, value: float) -> None:
    state = pretrained()
    name = "vlbert.encoder.layer.1.output.dense.bias"
    state[name] = torch.full_like(state[name], value)
    assert f"{name} holds NaN or infinity" in refusal(write(state), VLBertForVQA(TINY), VLBERT_VQA)


def test_a_head_that_must_not_start_afresh_is_missed(write: Write) -> None:
    line = refusal(write(pretrained()), VLBertForVQA(TINY), NameTable(VLBERT_VQA.renames))
    assert "lacks 2 of the model's" in line
    assert "final_mlp.2.weight" in line


def test_a_model_of_other_sizes_is_refused_by_a_name_and_both_shapes(write: Write) -> None:
    state = dict(VLBertForVQA(TINY).state_dict())
    state["final_mlp.2.weight"], state["final_mlp.2.bias"] = torch.ones(7, 8), torch.ones(7)
    line = refusal(write(state), VLBertForVQA(TINY))
    assert "final_mlp.2.weight has shape (7, 8), the model's final_mlp.2.weight (3, 8)" in line
    assert "(and 1 more differ)" in line


def test_a_shape_that_would_spread_is_refused(write: Write) -> None:
    """copy_ alone would fill a whole matrix from one row."""
    state = pretrained() | {"vlbert.word_embeddings.weight": torch.ones(1, 8)}
    assert "has shape (1, 8)" in refusal(write(state), VLBertForPretraining(TINY))


def test_two_values_for_one_name_are_refused(write: Write) -> None:
    state = pretrained()
    name = "vlbert.embedding_LayerNorm"
    value = state.pop(f"{name}.weight")
    state |= {f"{name}.gamma": value, f"module.{name}.gamma": value + 1}
    assert "is there twice" in refusal(write(state), VLBertForPretraining(TINY))
    model = nn.ModuleDict({"b": nn.LayerNorm(2)})
    both = {"a1.weight": torch.ones(2), "a2.weight": torch.ones(2), "b.bias": torch.ones(2)}
    line = refusal(write(both), model, NameTable([("a1.", "b."), ("a2.", "b.")]))
    assert "a1.weight and a2.weight are both b.weight" in line


def test_a_tied_weight_with_two_values_is_refused(write: Write) -> None:
    state = pretrained()
    decoder = "vlbert.mlm_head.predictions.decoder.weight"
    state[decoder] = state[decoder] + 1
    line = refusal(write(state), VLBertForPretraining(TINY))
    assert "vlbert.word_embeddings.weight" in line
    assert decoder in line


@pytest.mark.parametrize(
    "weight",
    [torch.ones(3, 8, dtype=torch.int64), torch.ones(3, 8).to_sparse()],
    ids=["whole numbers", "sparse"],
)
def test_a_weight_that_is_no_plain_table_is_refused(write: Write, weight: Tensor) -> None:
    state = dict(VLBertForVQA(TINY).state_dict()) | {"final_mlp.2.weight": weight}
    assert "final_mlp.2.weight is no plain table" in refusal(write(state), VLBertForVQA(TINY))


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, {"epoch": 3}, [torch.ones(2)], torch.ones(2), "text"]
)
def test_a_file_without_a_table_of_weights_is_refused(write: Write, content: object) -> None:
    assert "holds no table of weights" in refusal(write(content), VLBertForVQA(TINY))


def test_what_is_no_checkpoint_is_refused(write: Write, tmp_path: Path) -> None:
    model = VLBertForVQA(TINY)
    assert "no such file" in refusal(tmp_path / "absent.model", model)
    assert "no such file" in refusal(tmp_path, model)
    path = tmp_path / "other.model"
    whole = write(pretrained()).read_bytes()
    for data in (b"", b"hello", b"PK\x03\x04" + bytes(60), whole[: len(whole) // 2], whole[:-9]):
        path.write_bytes(data)
        assert "torn or no checkpoint" in refusal(path, model) or "refused" in refusal(path, model)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "old format", "bare pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    write: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    mark = tmp_path / "ran"
    content = {"state_dict": pretrained(), "optimizer": Malicious(mark)}
    if form == "bare pickle":
        path = tmp_path / "bare.model"
        path.write_bytes(pickle.dumps({"a": Malicious(mark)}, protocol=2))
    else:
        path = write(content, _use_new_zipfile_serialization=form == "zip")
    line = refusal(path, VLBertForPretraining(TINY))
    assert not mark.exists()
    if form != "bare pickle":  # torch's reader gives it up before its content
        assert "could run code" in line
        assert "posix.mkdir" in line or "nt.mkdir" in line


def test_a_whole_pickled_model_is_refused(write: Write) -> None:
    assert "could run code" in refusal(write(nn.Linear(2, 2)), nn.Linear(2, 2))


# ---------------------------------------------------------------- the report


def test_the_report_says_what_became_of_every_name(write: Write) -> None:
    report = load(write(old_layer_norms(pretrained())), VLBertForVQA(TINY), VLBERT_VQA)
    lines = report.text().split("\n")
    assert lines[0] == "released.model"
    assert lines[1].split() == [
        "loaded",
        str(len(report.loaded)),
        "of",
        str(len(report.loaded) + 2),
        "names",
    ]
    assert lines[2].split()[:2] == ["renamed", "14"]
    assert "gamma -> weight (5)" in lines[2]
    assert "vlbert.mlm_head.predictions.transform -> final_mlp.0 (2)" in lines[2]
    assert "vlbert.mvrc_head (4)" in lines[3]
    assert lines[4].endswith("final_mlp.2 (2)")
