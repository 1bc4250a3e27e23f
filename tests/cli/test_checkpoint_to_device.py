"""From a file that public code saved to a bundle for a device and a choice, one command each, for every importer."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.models.public_state import drawn, filled, public_shapes
from vireid.models.importers import IMPORTERS

PEOPLE = (
    "data.synthetic.train_ids=6",
    "data.synthetic.val_ids=6",
    "data.synthetic.test_ids=12",
    "data.synthetic.height=96",
    "data.synthetic.width=48",
    "data.height=96",
    "data.width=48",
)
SYSU = ("data=sysu_quick", "data.synthetic.visible_per_camera=2", "data.synthetic.infrared_per_camera=2", *PEOPLE)
REGDB = ("data=regdb_synthetic", *PEOPLE)
FAST = "profile.budget={warmup_seconds: 0.02, min_seconds: 0.02, min_repeats: 5, max_seconds: 0.5}"


def scored(weights):
    """As the scripts of AGW, CAJ and DEEN save: the weights beside scores, those of CMC an array."""
    return {
        "net": weights,
        "cmc": np.linspace(0.1, 1, 20),
        "mAP": np.float64(0.4),
        "mINP": np.float64(0.3),
        "epoch": 3,
    }


@dataclass(frozen=True)
class Released:
    """A file of public code: its name, its wrapper, the images that it is met with, whose reading an audit knows."""

    file: str
    wrapped: object
    images: tuple[str, ...]
    known: str


RELEASED = {
    "idkl": Released("model_best.pth", dict, SYSU, "code of IDKL"),
    "idkl_fork": Released("model_best.pth", dict, SYSU, "code of IDKL"),
    "agw": Released("sysu_agw_best.t", scored, SYSU, "code of AGW, CAJ, DEEN"),
    "iv_reid": Released("all_best_state.pth", dict, SYSU, "code of AGW, CAJ, DEEN"),  # its script pickles the module
    "caj": Released("sysu_caj_best.t", scored, SYSU, "code of AGW, CAJ, DEEN"),
    "deen": Released("sysu_deen_best.t", scored, SYSU, "code of AGW, CAJ, DEEN"),
    "deen_regdb": Released("regdb_deen_best.t", scored, REGDB, "code of IDKL, with CMC dedup"),
    "tvi_lfm": Released(
        "model_Fusion_96.pth", dict, (*SYSU, "data.captions={captioner: Blip}"), "code of AGW, CAJ, DEEN"
    ),
    "tvi_lfm_base": Released("VI_sysu_BASE.pth", dict, SYSU, "code of AGW, CAJ, DEEN"),
}


def done(shell, *arguments):
    result = shell.run(*arguments)
    assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def weights_of(arch):
    """Weights of every key with which activations stay of order one through attention and expansion too."""
    shapes = public_shapes(arch)
    if arch in ("idkl", "idkl_fork", "iv_reid"):
        return filled(shapes)
    return {key: drawn(key, shape) for key, shape in shapes.items()}


def test_every_architecture_has_a_file():
    assert list(RELEASED) == IMPORTERS.names()


OFTEN = ("idkl", "iv_reid", "deen")  # one network, two, and branches; all nine take ten minutes


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=pytest.mark.check if arch in OFTEN else pytest.mark.soak) for arch in RELEASED]
)
def test_a_released_checkpoint_reaches_a_device(shell, arch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    released = RELEASED[arch]
    file = shell.folder / released.file
    torch.save(released.wrapped(weights_of(arch)), file, _use_new_zipfile_serialization=arch != "agw")
    printed = done(shell, "import", released.file, "--arch", arch, *released.images)
    file.unlink()
    fit = printed.rstrip().rpartition("fit ")[2][:12]
    shown = json.loads(done(shell, "results", "show", fit, "--json"))
    origin = shown["record"]["imported"]
    assert (origin["file"], origin["source"]) == (released.file, IMPORTERS.load(arch).source)
    first = json.loads(done(shell, "results", "show", shown["evaluations"][0], "--json"))
    assert first["record"]["protocol"]["selection"] == "not known: imported weights"
    assert f"read so by the {released.known}" in done(shell, "audit", fit)
    runtimes = "profile.runtimes=[{name: onnxruntime}, {name: onnxruntime, precision: int8}]"
    done(shell, "profile", fit, runtimes, "profile.batches=[1]", "profile.threads=[1]", FAST)
    done(shell, "quantise", fit, "--to", "deployed", "--runtime", "onnxruntime", "--setting", "{}", "--force")
    exported = done(shell, "export", fit, "--to", "exported")
    assert ".onnx" in exported
    files = sorted((shell.folder / "deployed").glob("*-int8.onnx"))  # of two stems that for queries comes first
    bundled = done(shell, "bundle", fit, "--file", f"deployed/{files[0].name}", "--to", "board", "--references", "4")
    assert f"fit {fit}" in bundled
    assert "not known" not in bundled  # of either file's accuracy
    chosen = done(shell, "choose", "--max-ms", "10000", "--threads", "1")
    assert "onnxruntime" in chosen
    refused = shell.run("profile", fit, "model.width=0.5")
    assert refused.returncode == 2
    assert "'model.width=0.5': a fit has settled that" in refused.stderr
    for folder in ("deployed", "exported", "board"):
        for heavy in (shell.folder / folder).rglob("*"):
            if heavy.is_file() and heavy.stat().st_size > 1e6:
                heavy.unlink()  # 94 MB each
