"""From a file that public code saved to a bundle for a device and a choice, one command each."""

import json

import pytest
import torch

from tests.models.public_state import filled, shapes
from tests.tiny import TINY

IMAGES = ("data=sysu_quick", *(text for text in TINY if text.startswith("data.")))
FAST = "profile.budget={warmup_seconds: 0.02, min_seconds: 0.02, min_repeats: 5, max_seconds: 0.5}"


def done(shell, *arguments):
    result = shell.run(*arguments)
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.check
def test_a_released_checkpoint_reaches_a_device(shell):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    state = {f"module.{key}": value for key, value in filled(shapes("idkl")).items()}
    torch.save({"net": state, "mAP": 0.4, "epoch": 3}, shell.folder / "released.pth")
    printed = done(shell, "import", "released.pth", "--arch", "idkl", *IMAGES)
    assert "sysu/official" in printed
    fit = printed.rstrip().rpartition("fit ")[2][:12]
    shown = json.loads(done(shell, "results", "show", fit, "--json"))
    assert shown["record"]["imported"]["file"] == "released.pth"
    first = json.loads(done(shell, "results", "show", shown["evaluations"][0], "--json"))
    assert first["record"]["protocol"]["selection"] == "not known: imported weights"
    assert "read so by the code of IDKL" in done(shell, "audit", fit)
    runtimes = "profile.runtimes=[{name: onnxruntime}, {name: onnxruntime, precision: int8}]"
    done(shell, "profile", fit, runtimes, "profile.batches=[1]", "profile.threads=[1]", FAST)
    done(shell, "quantise", fit, "--to", "deployed", "--runtime", "onnxruntime", "--setting", "{}", "--force")
    bundled = done(shell, "bundle", fit, "--file", "deployed/model-int8.onnx", "--to", "board", "--references", "4")
    assert f"fit {fit}" in bundled
    chosen = done(shell, "choose", "--max-ms", "10000", "--threads", "1")
    assert "onnxruntime" in chosen
    assert fit in chosen or "idkl" in chosen
    refused = shell.run("profile", fit, "model.width=0.5")
    assert refused.returncode == 2
    assert "'model.width=0.5': a fit has settled that" in refused.stderr
    for folder in ("deployed", "board"):
        for file in (shell.folder / folder).glob("*.onnx"):
            file.unlink()  # 94 MB
