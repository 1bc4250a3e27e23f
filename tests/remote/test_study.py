"""A study in a store behind a URL: machines share it, and one that is killed costs the fit that it was at."""

import re
import time

import pytest

from tests.ablation.spread import Studies


@pytest.fixture
def studies(tmp_path):
    studies = Studies(tmp_path)
    yield studies
    studies.end()


@pytest.mark.check
@pytest.mark.timeout(600)
def test_two_machines_run_each_fit_once_and_end_with_the_same_records(studies, url, tmp_path):
    study, caches = studies.write(), [tmp_path / "one", tmp_path / "two"]
    ends = [studies.finish(d) for d in [studies.start(study, "--jobs", "1", store=url, cache=c) for c in caches]]
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    said = "".join(end.stderr for end in ends)
    for cell in ("baseline", "one=on"):
        assert len(re.findall(rf"fit of {cell}, seed 1: done in", said)) == 1, said
        assert len(re.findall(rf"fit of {cell}, seed 1: on record", said)) == 1, said
    copies = [next((cache / "vireid" / "stores").iterdir()).relative_to(tmp_path) for cache in caches]
    kept = [studies.records(str(copy)) for copy in copies]
    assert kept[0].keys() >= {name for name in kept[1] if not name.endswith(".safetensors")}
    there = studies.records("bucket/runs")
    assert {name.rpartition("/")[2] for name in there} >= {"model.safetensors"}
    for copy in kept:
        assert copy.items() <= there.items()
    assert not list((tmp_path / "bucket" / "runs").glob("leases/*.lease"))


@pytest.mark.check
@pytest.mark.timeout(600)
def test_a_killed_driver_goes_on_and_another_machine_has_it_all(studies, url, tmp_path):
    study, bucket = studies.write(), tmp_path / "bucket" / "runs"
    driver = studies.start(study, "--jobs", "1", store=url, cache=tmp_path / "one", quiet=True)
    while not list(bucket.glob("runs/*.json")):
        assert driver.poll() is None
        time.sleep(0.1)
    driver.kill()
    driver.wait(30)
    first = {path.name: path.read_bytes() for path in bucket.glob("runs/*.json")}
    end = studies.finish(studies.start(study, "--jobs", "1", store=url, cache=tmp_path / "one"))
    assert end.returncode == 0, end.stderr
    assert {name: (bucket / "runs" / name).read_bytes() for name in first} == first
    finished = {path.name: path.read_bytes() for path in bucket.glob("runs/*.json")}
    end = studies.finish(studies.start(study, "--jobs", "1", store=url, cache=tmp_path / "two"))
    assert end.returncode == 0, end.stderr
    assert {path.name: path.read_bytes() for path in bucket.glob("runs/*.json")} == finished
    undisturbed = studies.finish(studies.start(study, "--jobs", "1", store="undisturbed"))
    assert undisturbed.returncode == 0
    assert studies.records("bucket/runs") == studies.records("undisturbed")
