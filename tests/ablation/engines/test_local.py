"""The same study started twice at once in one store, as two people on one machine would."""

import re

import pytest


@pytest.mark.check
@pytest.mark.timeout(600)
def test_a_study_started_twice_runs_each_fit_once(studies):
    study = studies.write()
    drivers = [studies.start(study, "--jobs", "1"), studies.start(study, "--jobs", "1")]
    ends = [studies.finish(driver) for driver in drivers]
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    said = "".join(end.stderr for end in ends)
    for cell in ("baseline", "one=on"):
        assert len(re.findall(rf"fit of {cell}, seed 1: done in", said)) == 1, said
        assert len(re.findall(rf"fit of {cell}, seed 1: on record", said)) == 1, said
    assert not list((studies.folder / "store/leases").glob("*.lease"))
