"""Studies on a real Ray cluster of three nodes: what is recorded is what the local engine records, whatever dies."""

import re
import signal
import time

import psutil
import pytest

from tests.ablation.spread import Studies
from vireid.store import Store

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the local engine records of the study, everything measured."""
    studies = Studies(tmp_path_factory.mktemp("undisturbed"))
    done = studies.run(studies.write(cost=True, explain=True))
    assert done.returncode == 0, done.stderr
    return studies.records()


def _fits(store: Store) -> list[str]:
    return [record.id for record in store.records() if record.kind == "fit"] if store.runs.is_dir() else []


def _same(records, undisturbed):
    assert any(name.endswith(".safetensors") for name in records)
    assert records == {name: undisturbed[name] for name in records}
    return {name for name in undisturbed if name not in records}


def test_records_and_weights_are_those_of_the_local_engine(machines, studies, undisturbed):
    done = studies.run(studies.write(cost=True, latency=True, explain=True), *machines.engine, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"cell \d of 2 .*: (?:render images|train|evaluate)", done.stderr
    )  # progress of jobs reaches the driver
    assert _same(studies.records(), undisturbed) == set()
    store = Store(studies.folder / "store")
    assert [record.status for record in store.records() if record.kind == "latency"].count("ok") > 0
    assert len(list(store.runs.glob("*/explain/retrieval.json"))) == 2
    assert len(list(store.runs.glob("*/job.log"))) == 2
    assert not list(machines.scratch.glob("*/*-job")), "jobs were left in scratch space"

    before = {path: path.stat().st_mtime_ns for path in store.runs.rglob("*.json")}
    again = studies.run("study.yaml", *machines.engine)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in store.runs.rglob("*.json")} == before


def test_a_node_that_dies_costs_no_record(machines, studies, undisturbed):
    known = {job.pid for job in machines.left()}
    driver = studies.start(studies.write(), *machines.engine, "--jobs", "3")
    while (node := machines.node_of(job := machines.job(known))) is machines.cluster.head_node:
        known.add(job.pid)  # with the head the whole cluster would be gone
    machines.cluster.remove_node(node, allow_graceful=False)
    machines.add(resources={"latency": 1} if "latency" in str(node._ray_params.resources) else {})
    done = studies.finish(driver)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    _same(studies.records(), undisturbed)
    assert len(_fits(Store(studies.folder / "store"))) == 2


def test_a_driver_that_dies_takes_up_where_it_stopped(machines, studies, undisturbed):
    study, store = studies.write(), Store(studies.folder / "store")
    driver = studies.start(study, *machines.engine, "--jobs", "1")
    deadline = time.monotonic() + 300
    while not _fits(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    machines.job()
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=30)
    assert len(_fits(store)) == 1
    before = {path: path.stat().st_mtime_ns for path in store.runs.glob("*.json")}
    deadline = time.monotonic() + 60
    while machines.left() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert machines.left() == [], "a job goes on without its driver"

    done = studies.run(study, *machines.engine)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished record was written again"
    _same(studies.records(), undisturbed)
    assert len(_fits(store)) == 2


def test_a_worker_that_is_killed_as_for_want_of_memory_is_tried_again(machines, studies, undisturbed):
    """The job's own process first, as the system does it; then Ray's worker above it, as Ray does it."""
    known = {job.pid for job in machines.left()}
    driver = studies.start(studies.write(), *machines.engine, "--jobs", "1", "--request", "memory_gib=0.1")
    first = machines.job(known)
    first.kill()
    second = machines.job(known | {first.pid})
    second.parent().kill()
    _, alive = psutil.wait_procs([second], timeout=30)
    assert alive == [], "the job outlived its worker"
    done = studies.finish(driver)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    _same(studies.records(), undisturbed)
    assert not list((studies.folder / "store/runs").glob("*.failed-*.json"))


def test_a_plug_in_travels(machines, studies):
    (studies.folder / "beside.py").write_text("SIZE = 3\n")
    (studies.folder / "mine.py").write_text(
        "import beside\nfrom vireid.models.agw import AGW\nclass Mine(AGW):\n"
        "    class Config(AGW.Config):\n        name: str = 'mine:Mine'\n        size: int = beside.SIZE\n"
    )
    study = studies.write("model={name: 'mine:Mine', width: 0.125}", changed="recipe.optimiser.lr=1e-4")
    done = studies.run(study, *machines.engine, "--only", "one=off")
    assert done.returncode == 0, done.stderr
    records = [r for r in studies.records().values() if isinstance(r, dict) and r["kind"] == "fit"]
    assert [record["config"]["model"]["size"] for record in records] == [3]


def test_a_node_without_a_package_is_named_before_anything_runs(machines, studies):
    hiding = studies.folder / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(
        "import sys\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'safetensors':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    node = machines.add(env_vars={"PYTHONPATH": str(hiding)})
    try:
        done = studies.run(studies.write(), *machines.engine)
    finally:
        machines.cluster.remove_node(node)
    assert done.returncode == 2, done.stderr
    assert "lacks the package safetensors: install the suite in the Python that runs Ray there" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (studies.folder / "store/runs").is_dir() or not list((studies.folder / "store/runs").glob("*.json"))


def test_a_request_that_no_machine_meets_and_a_cluster_that_is_not_there(machines, studies):
    study = studies.write()
    done = studies.run(study, *machines.engine, "--request", "big=1")
    assert (done.returncode, "no machine of the cluster meets --request big=1" in done.stderr) == (2, True), done.stderr
    done = studies.run(study, "--engine", "ray", "--address", "127.0.0.1:1")
    assert (done.returncode, "no Ray cluster at 127.0.0.1:1" in done.stderr) == (2, True), done.stderr
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr
