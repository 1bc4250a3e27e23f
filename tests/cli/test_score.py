"""``vireid score`` and ``compare`` as a new user runs them: golden files, a NumPy script, whole protocols, faults."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture
def here(shell, monkeypatch):
    """The shell, whose folder the test stands in itself, 80 columns wide."""
    monkeypatch.chdir(shell.folder)
    shell.columns = 80
    return shell


def printed(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--rule", "sysu"], "sysu_a"),
        (["--rule", "none"], "regdb"),
        (["--rule", "same-id-same-cam", "--query-cam-array", "query_cam_llcm"], "same_id_same_cam"),
    ],
)
def test_golden_files_print_the_golden_numbers(here, options, key):
    for case in ("a", "b"):
        wanted = json.loads((GOLDEN / f"case_{case}.json").read_text())[key]
        found = printed(here.run("score", str(GOLDEN / f"case_{case}.npz"), *options, "--json"))
        assert list(found) == ["r1", "r5", "r10", "r20", "mAP", "mINP", "queries", "valid_queries"]
        assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_the_table_keeps_plain_and_reranked_apart_and_says_how_they_were_measured(here):
    result = here.run("score", str(GOLDEN / "case_a.npz"), "--rule", "sysu", "--rerank", "--variant", "query-only")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^plain\t67.15\t89.78\t94.89\t98.54\t63.06\t49.40$", result.stdout, re.MULTILINE)
    assert re.search(r"^re-ranked \(query-only\)(\t[\d.]+){6}$", result.stdout, re.MULTILINE)
    for words in (
        "150 queries, 137 of them with a match",
        "CMC dedup",
        "cosine",
        "k1 20, k2 6, λ 0.3",
        "test sampling",
    ):
        assert words in result.stdout


def test_json_with_rerank_is_the_reranked_object(here):
    file = str(GOLDEN / "case_a.npz")
    plain = printed(here.run("score", file, "--rule", "sysu", "--json"))
    reranked = printed(here.run("score", file, "--rule", "sysu", "--rerank", "--json"))
    assert reranked["mAP"] > plain["mAP"] + 0.02
    assert list(plain) == list(reranked)


def test_compare_prints_the_paired_difference(here):
    with np.load(GOLDEN / "case_a.npz") as file:
        arrays = {name: file[name] for name in file.files if "reranked" not in name}
    noise = np.random.default_rng(0).normal(scale=0.05, size=arrays["query"].shape)
    np.savez(here.folder / "b.npz", **arrays | {"query": arrays["query"] + noise})
    names = [str(GOLDEN / "case_a.npz"), "b.npz"]
    found = printed(here.run("compare", *names, "--rule", "sysu", "--json"))
    assert found["mAP"]["difference"] == pytest.approx(found["mAP"]["second"] - found["mAP"]["first"])
    assert found["mAP"]["low"] <= found["mAP"]["difference"] <= found["mAP"]["high"]
    assert found["valid_queries"] == 137
    table = here.run("compare", *names, "--rule", "sysu")
    assert "difference" in table.stdout
    assert "not training randomness" in " ".join(table.stdout.split())
    np.savez(here.folder / "c.npz", **arrays | {"query_id": arrays["query_id"][::-1]})
    refused = here.run("compare", names[0], "c.npz", "--rule", "sysu")
    assert refused.returncode == 2
    assert "same queries" in refused.stderr


def test_the_documentation_runs_as_written_and_prints_what_it_says(here):
    page = (ROOT / "docs/evaluate.md").read_text(encoding="utf-8")
    script = re.search(r"```python\n(# write_features\.py.*?)```", page, re.DOTALL)[1]
    assert "vireid" not in script
    (here.folder / "write_features.py").write_text(script)
    subprocess.run([sys.executable, "write_features.py"], cwd=here.folder, check=True)
    shown = r"```text\n\$ (vireid score features\.npz[^\n]*)\n(.*?)```"
    (table_command, table), (json_command, values) = re.findall(shown, page, re.DOTALL)
    shown = here.on_terminal(*table_command.split()[1:])
    assert [line.rstrip() for line in shown.strip().splitlines()] == table.strip("\n").splitlines()
    assert printed(here.run(*json_command.split()[1:])) == pytest.approx(json.loads(values))


def test_the_three_lines_of_the_documentation_run_as_written(here, capsys):
    text = (ROOT / "docs" / "evaluate.md").read_text()
    (here.folder / "features.npz").write_bytes((GOLDEN / "case_b.npz").read_bytes())
    snippet = re.search(r"```python\n(import numpy as np\n.*?)```", text, re.DOTALL)[1]
    (here.folder / "three_lines.py").write_text(snippet)
    runpy.run_path("three_lines.py")
    wanted = json.loads((GOLDEN / "case_b.json").read_text())["sysu_a"]
    assert float(capsys.readouterr().out.split()[0]) == pytest.approx(wanted["mAP"], abs=1e-4)


def test_a_whole_protocol_by_file_name(here, rendered):
    paths = sorted(p.relative_to(rendered).as_posix() for p in rendered.glob("cam*/*/*.jpg"))
    features = np.random.default_rng(0).random((len(paths), 4), dtype=np.float32)
    np.savez(here.folder / "images.npz", features=features, paths=np.array(paths))
    options = ["--protocol", "sysu/official", "--root", str(rendered), "--mode", "indoor", "--trials", "3"]
    found = printed(here.run("score", "images.npz", *options, "--json"))
    assert 0 < found["mAP"] < 1
    table = here.run("score", "images.npz", *options)
    assert "mean of 3 trials" in table.stdout
    assert "not comparable with published results" in table.stdout
    np.savez(here.folder / "images.npz", features=features[1:], paths=np.array(paths[1:]))
    assert here.run("score", "images.npz", *options).returncode in (0, 2)  # the first image may be no test image
    np.savez(here.folder / "images.npz", features=features[:5], paths=np.array(paths[:5]))
    refused = here.run("score", "images.npz", *options)
    assert refused.returncode == 2
    assert "have no features" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate"], "nothing to evaluate"),
        (["score", "no.npz", "--rule", "none"], "no.npz: no such file"),
        (["score", "case_a.npz"], "either --rule"),
        (["score", "case_a.npz", "--rule", "sisu"], "did you mean 'sysu'"),
        (["score", "case_a.npz", "--rule", "sysu", "--mode", "all"], "--mode works with --protocol only"),
        (["score", "case_a.npz", "--rule", "sysu", "--root", "."], "--root works with --protocol only"),
        (["score", "case_a.npz", "--rule", "sysu", "--k1", "9"], "--k1 works with --rerank only"),
        (["score", "case_a.npz", "--rule", "sysu", "--rerank", "--k1", "900"], "lower k1"),
        (["score", "case_a.npz", "--rule", "sysu", "sysu/official"], "unexpected extra argument(s) (sysu/official)"),
        (["score", "case_a.npz", "--protocol", "sysu/official"], "needs --root"),
        (["score", "case_a.npz", "--protocol", "sysu/official", "--root", "."], "does not hold this dataset"),
        (["score", "abc", "--rule", "sysu"], "--rule belongs to a features file"),
        (["score", "abc"], "`vireid evaluate` takes the id of a run"),
        (["compare", "abc", "def", "--lambda", "0.1"], "--lambda belongs to a features file"),
        (["evaluate", "abc"], "run 'abc'"),
        (["compare", "abc", "def"], "run 'abc'"),
        (["compare", "case_a.npz", "a.npz", "b.npz"], "unexpected extra argument(s) (b.npz)"),
    ],
)
def test_faults_are_one_message(here, arguments, words):
    (here.folder / "case_a.npz").write_bytes((GOLDEN / "case_a.npz").read_bytes())
    result = here.run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (["evaluate", "a.npz", "--rule", "sysu", "--json"], ["score", "a.npz", "--rule", "sysu", "--json"]),
        (["evaluate", "--rule=sysu", "a"], ["score", "--rule=sysu", "a"]),
        (
            ["evaluate", "--compare", "a.npz", "a.npz", "--rule", "sysu"],
            ["compare", "a.npz", "a.npz", "--rule", "sysu"],
        ),
        (["evaluate", "--compare", "abc", "def"], ["compare", "abc", "def"]),
        (["loss-terms", "loss_a.npz", "--arch", "idkl"], ["dev", "loss-terms", "loss_a.npz", "--arch", "idkl"]),
    ],
)
def test_earlier_spellings_run_as_before_after_one_remark(here, before, now):
    for name in ("a.npz", "a"):
        (here.folder / name).write_bytes((GOLDEN / "case_a.npz").read_bytes())
    (here.folder / "loss_a.npz").write_bytes((GOLDEN / "loss_a.npz").read_bytes())
    earlier, result = here.run(*before), here.run(*now)
    assert (earlier.returncode, earlier.stdout) == (result.returncode, result.stdout)
    remark, _, rest = earlier.stderr.partition("\n")
    assert remark.endswith(f"is called `vireid {' '.join(now[: 1 + (now[0] == 'dev')])}` now")
    assert rest == result.stderr


def test_a_run_under_a_long_protocol_is_no_earlier_spelling(here):
    protocol = f"{{name: sysu/official, mode: indoor, trials: {'0' * 300}3}}"
    assert here.run("evaluate", "abc", protocol).stderr.startswith("error: run 'abc'")


def test_junk_is_counted_in_the_output(here):
    with np.load(GOLDEN / "case_a.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["gallery_id"][:5] = -1
    np.savez(here.folder / "market.npz", **arrays)
    shown = here.run("score", "market.npz", "--rule", "none").stdout
    assert "in a gallery of 85 (5 more, of negative identities, left out as junk)" in " ".join(shown.split())
    assert printed(here.run("score", "market.npz", "--rule", "none", "--json"))["junk"] == 5
