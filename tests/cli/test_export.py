"""`vireid export` as a user calls it."""

import pytest

SMALL = (
    "model=idkl_small",
    "model.width=0.125",
    "data.height=48",
    "data.width=32",
)


def test_a_configuration_is_written_in_every_format(shell):
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    result = shell.run("export", *SMALL, "--to", "files")
    assert result.returncode == 0, result.stdout + result.stderr
    names = ["model.bin", "model.onnx", "model.safetensors", "model.xml"]
    assert sorted(path.name for path in (shell.folder / "files").iterdir()) == names
    for words in ("initial weights", "model.onnx", "model.xml", "difference to eager"):
        assert words in result.stdout
    assert not shell.store.exists(), "an export that reuses nothing leaves nothing in the store"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "files", "--format", "onx", *SMALL], ["--format onx", "did you mean 'onnx'"]),
        (["0123456789ab", "--to", "files"], ["run '0123456789ab': no record matches"]),
        (["0123456789ab", "seed=1", "--to", "files"], ["give the id of one fit, or key=value overrides"]),
        (["model=idkl_smal", "--to", "files"], ["did you mean 'idkl_small'"]),
    ],
)
def test_faults_on_the_command_line_are_named(shell, arguments, words):
    result = shell.run("export", *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    text = " ".join(result.stderr.split())
    for word in words:
        assert word in text, f"'{word}' not in: {text}"
    assert not (shell.folder / "files").exists()
