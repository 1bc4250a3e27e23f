"""`vireid results` and `--json` as a user or a program calls them."""

import io
import json
from pathlib import Path

import pytest

from tests.report.studies import build_factorial
from tests.tiny import TINY
from vireid.cli.study import _outcome
from vireid.cli.trace import changed
from vireid.core.messages import Printer
from vireid.report.records.study import read_plan

RESULTS = str(Path(__file__).parents[2] / "results")
FIT, OTHER = "e5ae21295c69", "16981659c75d"  # one cell of optimized_idkl at two seeds


def printed(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_show_says_where_a_fit_comes_from(shell):
    result = shell.run("results", "show", FIT[:7], "--store", RESULTS)
    assert result.returncode == 0, result.stderr
    for words in (f"fit {FIT}, ok", "study optimized_idkl, cell baseline, seed 101", "vireid train ", "# Environment"):
        assert words in result.stdout
    assert "model.name\tidkl" in result.stdout
    assert "environment" not in result.stderr


def test_show_and_list_as_json(shell):
    shown = printed(shell.run("results", "show", FIT, "--json", "--store", RESULTS))
    assert (shown["record"]["id"], len(shown["evaluations"])) == (
        FIT,
        15,
    )  # the model's three, and twelve of int8 files
    assert shown["command"].startswith("vireid train ")
    named = ("int8_kernels", "optimized_idkl")
    assert shown["studies"] == [{"study": study, "cell": "baseline", "seed": 101} for study in named]
    listed = printed(shell.run("results", "list", "--kind", "fit", "--json", "--store", RESULTS))
    assert FIT in [entry["id"] for entry in listed]
    assert {entry["kind"] for entry in listed} == {"fit"}


def test_diff_names_what_differs(shell):
    found = printed(shell.run("results", "diff", FIT, OTHER, "--json", "--store", RESULTS))
    assert [key for key, *_ in found["configuration"]] == ["seed", "data.synthetic.seed"]
    figure = next(number for number in found["numbers"] if number["name"] == "mAP")
    assert figure["difference"] == pytest.approx(figure["second"] - figure["first"])
    text = shell.run("results", "diff", FIT, OTHER, "--store", RESULTS).stdout
    assert "seed\t101\t102" in text
    assert "The images differ as well" in text


def test_an_unknown_run_is_one_message(shell):
    result = shell.run("results", "show", "ffff", "--store", RESULTS)
    assert result.returncode == 2
    assert "run 'ffff': no record matches" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_plan_and_the_studies_as_json(shell):
    plan = printed(shell.run("ablate", "quick", "--plan", "--json"))
    assert len(plan["runs"]) == len(plan["cells"]) * len(plan["seeds"])
    assert "quick" in [study["name"] for study in printed(shell.run("ablate", "--list", "--json"))]


def test_a_training_as_json_has_nothing_else_on_standard_output(shell):
    trained = printed(shell.run("train", *TINY, "--json"))
    assert shell.store.joinpath("runs", f"{trained['fit']}.json").is_file()
    assert all(0 <= evaluation["mAP"] <= 1 for evaluation in trained["evaluations"])
    page = shell.run("results", "show", trained["fit"]).stdout
    assert "vireid train " in page


def test_a_study_as_json_says_what_is_there_and_what_failed(tmp_path):
    store = build_factorial(tmp_path, seeds=(101,), missing=[("0000", 101)])
    failures = {"fit of 0000, seed 101": "killed for lack of memory"}
    told = _outcome(store, read_plan(store, "factorial"), failures, None)
    trained = {run["cell"]: run["trained"] for run in told["runs"]}
    assert [cell for cell, done in trained.items() if not done] == ["0000"]
    assert told["failures"] == failures
    last = told["runs"][-1]
    assert all(0 < scores["mAP"] < 1 for scores in last["evaluations"].values())
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize(("key", "whole"), [("augmentation.erasing.ratio_law", True), ("evaluation." * 6, False)])
def test_keys_that_differ_stay_whole_while_there_is_room(key, whole):
    digest = "resnet18-width_0.25-ibn_none.safetensors@sha256:" + 64 * "5"
    (table,) = changed("Configuration", [(key, digest, digest[::-1])])
    out = io.StringIO()
    Printer(file=out, force_terminal=True, color_system=None, width=80, markup=False).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert (key in out.getvalue()) == whole
