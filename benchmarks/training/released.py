"""Runs the training step of the released IDKL code (github.com/1KK077/IDKL) from a checkout that the user brings.

Nothing of that code is here. What keeps it from running is mended in memory after import: a constructor argument that
no caller gives, the download of ImageNet weights, and an import of OpenCV that nothing uses.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

# The SYSU-MM01 configuration of the release, as its own training script passes it on.
SYSU_SETTINGS: dict[str, Any] = {
    "drop_last_stride": True,
    "decompose": True,
    "classification": True,
    "triplet": True,
    "margin": 1.3,
    "bg_kl": True,
    "sm_kl": True,
    "distalign": True,
    "IP": True,
    "num_parts": 6,
    "k_size": 10,
}
LEARNING_RATE, WEIGHT_DECAY = 3.5e-4, 5e-3
CPU = torch.device("cpu")
INFRARED_CAMERA = 3  # the release reads the modality from the camera's number


class ReleasedStep:
    """Model, optimiser and one training step as the release's engine takes it, in float32, or in float16.

    Args:
        checkout: the repository or the folder that holds its ``train.py``.
        classes: number of identities.
        device: where the images will lie.
        half: autocast and a gradient scaler in place of apex, with which the release trains in float16.
    """

    def __init__(self, checkout: Path, classes: int, device: torch.device = CPU, *, half: bool = False) -> None:
        module = _import_models(checkout)
        with redirect_stdout(StringIO()):  # it prints while it is built
            self.model: nn.Module = module.Baseline(num_classes=classes, **SYSU_SETTINGS).to(device)
        self._device, self._half = device, half
        self._scaler = torch.amp.GradScaler(device.type, enabled=half)
        self._optimiser = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def __call__(self, images: Tensor, labels: Tensor, infrared: Tensor) -> float:
        """One step; returns the loss."""
        self.model.train()
        cameras = torch.where(infrared, INFRARED_CAMERA, 1)
        self._optimiser.zero_grad()
        with torch.autocast(self._device.type, torch.float16, enabled=self._half):
            loss, _ = self.model(images, labels, cam_ids=cameras, epoch=1)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return float(loss.detach())


def find_checkout(path: Path) -> Path | None:
    """Folder with the release's ``models/baseline.py`` at ``path`` or one level below; None where there is none."""
    for folder in (path, path / "IDKL"):
        if (folder / "models" / "baseline.py").is_file():
            return folder
    return None


def _import_models(checkout: Path) -> ModuleType:
    folder = find_checkout(checkout)
    if folder is None:
        raise FileNotFoundError(f"{checkout} holds no models/baseline.py: give a checkout of 1KK077/IDKL")
    sys.path.insert(0, str(folder))
    sys.modules.setdefault("cv2", ModuleType("cv2"))
    resnet: Any = importlib.import_module("models.resnet")
    resnet.load_state_dict_from_url = lambda *_, **__: {}  # weights from scratch, as ours
    for name in ("Shared_module_fr", "Shared_module_bh", "Special_module"):
        getattr(resnet, name).__init__.__defaults__ = (0,)  # modality_attention, which no caller gives
    return importlib.import_module("models.baseline")
