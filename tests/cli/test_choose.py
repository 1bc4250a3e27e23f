"""``vireid choose`` as a user runs it, in this process: it reads records and prints."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.deployments import HERE, build_deployment
from vireid.ablation.publish import publish_study
from vireid.ablation.study import read_study
from vireid.cli import app
from vireid.cli import choose as _command  # noqa: F401 - adds itself to `app`
from vireid.cli.show import console
from vireid.cli.study import find_template
from vireid.core.errors import UserError
from vireid.core.records import EvaluationRecord, LatencyRecord
from vireid.report.records.deployment import store_deployment, study_deployment
from vireid.report.records.study import StudyView
from vireid.report.sections.deployment import prices
from vireid.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return build_deployment(tmp_path / "store")


def here(store: Store, threads: int = 1) -> str:
    records = [r for r in store.records() if isinstance(r, LatencyRecord) and r.threads == threads]
    return next(r.id for r in records if r.environment.device["cpu"] == HERE["cpu"])


def run(store: Store, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["choose", "--store", str(store.root), *words], env={"COLUMNS": "220"})
    if isinstance(result.exception, UserError):
        raise result.exception
    return result.exit_code, result.stdout


def test_json_names_choice_runner_up_and_command(store: Store) -> None:
    code, text = run(
        store, "--device", here(store), "--max-ms", "29", "--max-mb", "200", "--study", "hardware", "--json"
    )
    found = json.loads(text)
    assert code == 0
    assert (found["best"]["model"], found["best"]["runtime"]["name"]) == ("compact", "onnxruntime")
    assert found["best"]["mAP"] == pytest.approx(0.27)
    assert found["runner_up"]["precision"] == "int8"
    assert found["intervals_overlap"] is True
    assert found["commands"] == [f"vireid bundle {found['best']['fits'][0]} --to deployed-bundle"]
    assert {entry["precision"] for entry in found["not_evaluated"]} == {"bf16", "int8"}
    assert found["note"] == "synthetic data (renderer 1.0), not comparable with published results"


def test_nothing_fits_is_exit_code_1_with_a_sentence(store: Store) -> None:
    code, text = run(store, "--device", here(store)[:9], "--max-ms", "1", "--json")
    assert code == 1
    assert json.loads(text)["reason"].startswith("Nothing evaluated fits all limits; latency (p50): at least 3.00 ms")
    assert json.loads(text)["best"] is None


def test_unknown_devices_and_protocols_are_refused(store: Store) -> None:
    with pytest.raises(UserError, match="no record matches"):
        run(store, "--device", "ffffffffffff")
    fit = StudyView(store, "hardware").runs[0].planned.fit
    with pytest.raises(UserError, match="of kind 'fit'; name a latency record"):
        run(store, "--device", fit)
    with pytest.raises(UserError, match=r"--protocol llcm: nothing was evaluated.*sysu/official · all"):
        run(store, "--device", here(store), "--protocol", "llcm")


def test_a_device_without_candidates_names_those_that_have_them(store: Store) -> None:
    with console.capture() as captured:
        code, _ = run(store, "--device", here(store), "--threads", "7")
    assert code == 1
    text = captured.get()
    assert "No candidate was measured on Example CPU @ 2.6 GHz, 2 logical cores, 7 threads, isolated" in text
    assert "Example ARM board, 4 logical cores, 1 thread, isolated: 2" in text
    for model in ("idkl", "compact"):
        assert f"vireid profile data=sysu_quick model={model} profile=isolated 'profile.threads=[7]'" in text


def test_the_table_marks_the_choice_and_what_does_not_fit(store: Store) -> None:
    with console.capture() as captured:
        code, _ = run(store, "--device", here(store), "--max-ms", "29", "--max-mb", "200")
    assert code == 0
    text = " ".join(captured.get().split())
    assert "mAP 27.0 % [22.0, 32.0] (mean over seeds 1, 2; the commands take the first) at 6.00 ms (p50)" in text
    assert "is the most accurate of the 3 candidates within the limits, 5 evaluated." in text
    assert "Chosen by test identities" in text
    assert "vireid bundle " in text


def test_a_fit_of_no_study_is_measured_by_its_own_keys(store: Store) -> None:
    (store.study("hardware") / "plan.json").unlink()
    model = next(m for m in store_deployment(store).models if m.cost.model["name"] == "compact")
    assert model.measured_as == [
        "model=compact",
        "model.backbone=resnet18",
        "model.width=0.5",
        "data.height=96",
        "data.width=48",
    ]


def test_a_study_may_name_the_report_on_hardware(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    quick = (Path(__file__).parents[2] / "ablations" / "quick.yaml").read_text()
    file.write_text(quick.replace("report: ablation", "report: hardware"))
    study = read_study(file)
    assert study.report == "hardware"
    assert find_template(study.report).name == "hardware.ipynb"


def test_publishing_copies_all_that_the_report_reads(store: Store, tmp_path: Path) -> None:
    publish_study(store, "hardware", tmp_path / "results")
    before, after = (study_deployment(StudyView(s, "hardware")) for s in (store, Store(tmp_path / "results")))
    assert after.labels == before.labels
    assert {t.seconds for t in after.shown} == {t.seconds for t in before.shown}
    assert [p.ratio for p in prices(after)] == [p.ratio for p in prices(before)]
    files = [r.id for r in store.records() if isinstance(r, EvaluationRecord) and r.artefact is not None]
    assert len(files) == 2
    assert all(Store(tmp_path / "results").get(name) is not None for name in files)
