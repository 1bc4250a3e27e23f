"""`vireid bundle` and `vireid results add` as a user calls them."""

import json

import pytest

from tests.bundle.conftest import SMALL, Bundle
from tests.bundle.contributions import GRAPH, contribution, entry, write
from vireid.bundle.write import DeviceCheck

CALM = ("--seconds", "0.5", "--threads", "1", "--gallery", "0")  # long enough that other work is no drift


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
    measured = Bundle(shell.folder / "here").run(*CALM, "--out", "record.json")
    assert measured.returncode == 0, measured.stderr
    added = shell.run("results", "add", "record.json")
    assert added.returncode == 0
    assert "record.json: 1 measurement by somebody who gave no name: " in _text(added)
    assert "no cost record names the graph" in _text(added)
    again = shell.run("results", "add", "record.json")
    assert again.returncode == 0
    assert "record.json: is there already, and was left as it is" in _text(again)
    content = json.loads((shell.folder / "record.json").read_text())
    content["records"][0]["record"]["seconds"][0] = 1e-9
    (shell.folder / "edited.json").write_text(json.dumps(content))
    edited = shell.run("results", "add", "record.json", "edited.json")
    assert edited.returncode == 2
    assert "edited.json: record 1: record" in _text(edited)
    assert "was changed after it was made" in _text(edited)
    second = Bundle(shell.folder / "here").run(*CALM, "--by", "Ada", "--record", "second.json")
    assert second.returncode == 0
    assert "second.json: 1 measurement by Ada" in _text(shell.run("results", "add", "second.json"))
    checked = shell.run("results", "check-devices")
    assert checked.returncode == 0
    assert "2 contributed files right, 0 refused" in _text(checked)


def test_a_file_of_a_board_is_filed_and_checked(shell):
    write(shell.folder / "out.json", contribution())
    first = shell.run("results", "add", "out.json")
    assert first.returncode == 0
    assert "out.json: 2 measurements by Ada: " in _text(first)
    (placed,) = (shell.store / "devices/example-pi-5-model-b-rev-1-0").glob("*.json")
    assert f"no cost record names the graph {GRAPH}" in _text(first)
    assert list(shell.store.glob("runs/*")) == [], "it enters no store as a record of one's own"
    assert "is there already" in _text(shell.run("results", "add", "out.json"))
    assert "1 contributed file right, 0 refused" in _text(shell.run("results", "check-devices"))
    placed.rename(placed.with_name("other.json"))
    wrong = shell.run("results", "check-devices")
    assert wrong.returncode == 1
    assert "refused: " in _text(wrong)
    assert "0 contributed files right, 1 refused" in _text(wrong)


def test_one_refused_file_adds_none(shell):
    write(shell.folder / "good.json", contribution())
    write(shell.folder / "bad.json", contribution(entry([0.1] * 30)))
    refused = shell.run("results", "add", "good.json", "bad.json")
    assert refused.returncode == 2
    assert "bad.json: record 1: all samples are equal, which no clock gives" in _text(refused)
    assert not (shell.store / "devices").exists()


def test_a_file_of_an_older_bundle_goes_into_the_store_as_before(shell):
    content = contribution(entry())
    old = {"format": content["format"], "version": 1, "bundle": content["bundle"], "records": content["records"]}
    write(shell.folder / "old.json", old)
    assert "old.json: 1 new, 0 known" in _text(shell.run("results", "add", "old.json"))
    assert "old.json: 0 new, 1 known" in _text(shell.run("results", "add", "old.json"))
    assert len(list(shell.store.glob("runs/*.json"))) == 1
    write(shell.folder / "old.json", {**old, "records": [entry([0.2, 0.3])]})
    other = shell.run("results", "add", "old.json")
    assert other.returncode == 1
    assert "is in the store with other content, which was kept" in _text(other)


def test_a_store_without_boards_has_nothing_to_check(shell):
    done = shell.run("results", "check-devices")
    assert done.returncode == 0
    assert "0 contributed files right, 0 refused" in _text(done)


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
