"""Importing a public checkpoint and evaluating loss terms from the command line."""

import json

import numpy as np
import pytest
import torch

from tests.models.public_state import GOLDEN, shapes
from vireid.external.audit import load_imported
from vireid.models.importers.load import import_state


def _refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    text = " ".join(result.stderr.split())
    for word in words:
        assert word in text, f"'{word}' not in: {text}"


@pytest.mark.parametrize("arch", ["agw", "caj", "deen", "iv_reid", "tvi_lfm"])
def test_terms_of_another_architecture_are_not_idkls(shell, arch):
    """They were IDKL's, at that architecture's margin, without a word."""
    result = shell.run("dev", "loss-terms", str(GOLDEN / "loss_a.npz"), "--arch", arch)
    _refused(result, f"--arch {arch}: has other loss terms than IDKL")


@pytest.fixture
def checkpoint(shell):
    """A whole state dict of the released IDKL that takes little room: one value per key, the classes told apart."""
    state = {
        key: torch.tensor(0) if key.endswith("tracked") else torch.tensor(0.01).expand(shape)
        for key, shape in shapes("idkl").items()
    }
    torch.save({"net": state}, shell.folder / "idkl.pth")
    return shell.folder / "idkl.pth"


def test_import_keeps_the_model_and_embeds_images(shell, checkpoint):
    images = np.random.default_rng(0).standard_normal((5, 3, 64, 32)).astype(np.float32)
    np.savez(shell.folder / "in.npz", images=images)
    result = shell.run("import", "idkl.pth", "--arch", "idkl", "--output", "model", "--embed", "in.npz", "out.npz")
    assert result.returncode == 0, result.stderr
    for words in ("20 classes", "deployed", "23512128", "special_att", "7098368", "72.7 M in all"):
        assert words in result.stdout
    card = json.loads((shell.folder / "model" / "model.json").read_text())
    assert card["arch"] == "idkl"
    assert card["num_classes"] == 20
    assert card["source_file"] == "idkl.pth"
    with np.load(shell.folder / "out.npz") as out:
        embedding = out["embedding"]
    model = load_imported(shell.folder / "model")
    expected = import_state(checkpoint, "idkl").model
    with torch.no_grad():
        measured, direct = (m.embedder(torch.from_numpy(images)).numpy() for m in (model, expected))
    assert np.array_equal(measured, direct)
    assert embedding.shape == (5, 2048)
    assert embedding.dtype == np.float32
    assert np.allclose(embedding, direct, rtol=1e-4)
    (shell.folder / "model" / "model.safetensors").unlink()  # 190 MB


def test_loss_terms_are_printed_under_the_golden_names(shell):
    expected = json.loads((GOLDEN / "loss_a.json").read_text())
    result = shell.run("dev", "loss-terms", str(GOLDEN / "loss_a.npz"), "--arch", "idkl", "--json")
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout)
    assert list(measured) == list(expected)
    assert measured == pytest.approx(expected, rel=1e-5)


def test_a_file_of_another_architecture_is_refused_with_the_one_that_fits(shell, checkpoint):
    _refused(shell.run("import", "idkl.pth", "--arch", "idkl_fork"), "idkl.pth", "88 missing", "looks like --arch idkl")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import", "none.pth", "--arch", "idkl"], ["none.pth", "no such file"]),
        (["import", "none.pth", "--arch", "idlk"], ["unknown architecture 'idlk'", "did you mean 'idkl'"]),
    ],
)
def test_faults_on_the_command_line_are_named(shell, arguments, words):
    _refused(shell.run(*arguments), *words)
