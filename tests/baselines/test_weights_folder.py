"""Weights folders that must not be believed: another model's, of no numbers, of no folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.baselines.captioner import load_show_attend_tell
from harness.baselines.multitask_folder import read_folder, save_folder
from harness.baselines.multitask_model import (
    BUNDLED,
    load_vilbert,
    load_vlbert,
    load_vlbert_blind,
)
from harness.baselines.nce_model import load_nce
from harness.errors import BadInput
from harness.types import LoadRequest


def copy_of(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLED / name, tmp_path / name))


@pytest.mark.parametrize(
    ("load", "folder", "of"),
    [
        (load_vlbert, "vilbert--toybox", "vilbert"),
        (load_vilbert, "vlbert--toybox", "vlbert"),
        (load_vlbert_blind, "vlbert--toybox", "vlbert"),  # it sees
        (load_vlbert_blind, "vilbert--toybox", "vilbert"),
    ],
)
def test_no_weights_are_scored_under_another_models_name(
    load: Callable[[LoadRequest], Any], folder: str, of: str
) -> None:
    asked = LoadRequest("vqa", "toybox", weights=BUNDLED / folder)
    with pytest.raises(BadInput, match=f"weights of {of}, .*; give --model {of}$"):
        load(asked)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    path = copy_of("vlbert--toybox", tmp_path) / "model.safetensors"
    state = load_file(path)
    name = next(name for name, weights in state.items() if weights.is_floating_point())
    state[name].view(-1)[-1] = value
    save_file(state, path)
    with pytest.raises(BadInput) as caught:
        load_vlbert(LoadRequest("vqa", "toybox", weights=path.parent))
    assert str(caught.value).startswith(f"{path}: {name} holds NaN or infinity")


@pytest.mark.parametrize("value", [float("nan"), 1e6])  # the second has no place in fp16
def test_a_training_that_came_to_no_numbers_writes_no_weights(value: float, tmp_path: Path) -> None:
    seer, vocabulary, config = read_folder(BUNDLED / "vlbert--toybox")
    with torch.no_grad():
        next(seer.parameters()).view(-1)[0] = value
    with pytest.raises(BadInput, match="lower --set learning_rate"):
        save_folder(tmp_path / "new", seer, vocabulary, config)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("load", [load_nce, load_show_attend_tell, load_vlbert_blind])
def test_a_file_is_not_called_a_folder_that_is_not_there(
    load: Callable[[LoadRequest], Any], tmp_path: Path
) -> None:
    path = tmp_path / "released.bin"
    with pytest.raises(BadInput, match="no such folder"):
        load(LoadRequest("retrieval", "toybox", weights=path))
    path.touch()
    with pytest.raises(BadInput, match="is a file, which this model does not read"):
        load(LoadRequest("retrieval", "toybox", weights=path))


def test_a_vocabulary_with_a_word_twice_is_refused(tmp_path: Path) -> None:
    path = copy_of("vlbert--toybox", tmp_path) / "vocab.txt"
    words = path.read_text().splitlines()
    path.write_text("\n".join([*words[:-1], words[-2]]) + "\n")
    with pytest.raises(BadInput, match="a word is there twice"):
        load_vlbert(LoadRequest("vqa", "toybox", weights=path.parent))


@pytest.mark.parametrize(
    ("content", "reason"),
    [("[]", "the first is no JSON object"), ("{}", "'vision' is missing")],
)
def test_what_is_wrong_with_a_config_is_said_in_plain_words(
    content: str, reason: str, tmp_path: Path
) -> None:
    path = copy_of("vlbert--toybox", tmp_path) / "config.json"
    path.write_text(content)
    with pytest.raises(BadInput) as caught:
        load_vlbert(LoadRequest("vqa", "toybox", weights=path.parent))
    assert f"({reason})" in str(caught.value)
