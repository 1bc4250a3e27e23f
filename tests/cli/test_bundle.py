"""`vireid bundle` and `vireid results add` as a user calls them."""

import json

import pytest

from tests.bundle.conftest import QUICK, SMALL, Bundle
from vireid.bundle.write import DeviceCheck


def _text(result):
    assert "Traceback" not in result.stderr
    return " ".join((result.stdout + result.stderr).split())


@pytest.mark.check
def test_a_configuration_is_bundled_measured_and_added(shell):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    made = shell.run("bundle", *SMALL, "--to", "here")
    assert made.returncode == 0, made.stdout + made.stderr
    for words in ("idkl-48x32-fp32-initial", "initial", "not known", "README.txt"):
        assert words in made.stdout
    measured = Bundle(shell.folder / "here").run(*QUICK, "--gallery", "0", "--out", "record.json")
    assert measured.returncode == 0, measured.stderr
    added = shell.run("results", "add", "record.json")
    assert added.returncode == 0
    assert "record.json: 1 new, 0 known" in _text(added)
    assert "no cost record names the graph" in _text(added)
    again = shell.run("results", "add", "record.json")
    assert "0 new, 1 known" in _text(again)
    content = json.loads((shell.folder / "record.json").read_text())
    content["records"][0]["record"]["seconds"][0] = 1e-9
    (shell.folder / "edited.json").write_text(json.dumps(content))
    edited = shell.run("results", "add", "record.json", "edited.json")
    assert edited.returncode == 2
    assert "edited.json: record 1: record" in _text(edited)
    assert "was changed after it was made" in _text(edited)
    second = Bundle(shell.folder / "here").run(*QUICK, "--gallery", "0", "--out", "second.json")
    assert second.returncode == 0
    refused = shell.run("results", "add", "second.json")
    assert refused.returncode == 1
    assert "is in the store with other content, which was kept" in _text(refused)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bundle", "--to", "b"], "nothing to bundle"),
        (["bundle", "0123456789ab", "--to", "b"], "run '0123456789ab': no record matches"),
        (["bundle", "model=idkl_smal", "--to", "b"], "did you mean 'idkl_small'"),
        (["bundle", "--file", "none.onnx", "--to", "b"], "none.onnx: cannot be read"),
        (["results", "add", "none.json"], "none.json: cannot be read"),
    ],
)
def test_faults_on_the_command_line_are_named(shell, arguments, words):
    result = shell.run(*arguments)
    assert result.returncode == 2
    assert words in _text(result)
    assert not (shell.folder / "b").exists()


def test_limits_of_the_device_s_check_are_those_of_the_library(shell, monkeypatch):
    seen = []
    monkeypatch.setattr("vireid.experiment.deploy.bundle.bundle_step", lambda *args: seen.append(args[-1]) or 1 / 0)
    for arguments in ((), ("--min-cosine", "0.5", "--references", "8")):
        with pytest.raises(ZeroDivisionError):
            shell.run("bundle", "model=idkl_small", "--to", "out", *arguments)
    assert seen == [DeviceCheck(), DeviceCheck(cosine=0.5, images=8)]
    shown = " ".join(shell.run("bundle", "--help").stdout.replace("│", " ").split())
    for field in DeviceCheck.model_fields.values():
        assert f"{field.default:g} by default" in shown
