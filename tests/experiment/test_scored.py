"""Features of other programs, kept beside fits: their identity, what their records say, what they refuse."""

import json

import numpy as np
import pytest

from tests.tiny import tiny
from vireid.core.errors import UserError
from vireid.core.published import bibtex, method
from vireid.core.records import EvaluationRecord, FitRecord
from vireid.core.source import Source
from vireid.data.sysu import SYSUMM01
from vireid.experiment.compare import compare_runs
from vireid.experiment.context import RunContext
from vireid.experiment.differences import configuration, figures
from vireid.experiment.fit import evaluate_step, fit_step
from vireid.experiment.reload import config_of_fit, earlier_fit
from vireid.experiment.scored import keep_scores, protocol_of, source_of
from vireid.experiment.sources import stale_parts
from vireid.experiment.trace import remake
from vireid.external.features import by_protocol, reranking_config
from vireid.report.records.deployment import store_deployment
from vireid.store import Store

OURS = Source(method="Ours", citation="A. Author, somewhere, 2026")
PROTOCOL = "{name: sysu/official, trials: 2}"


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.prepare()
    return store


@pytest.fixture
def index(rendered):
    return SYSUMM01(tiny().data.dataset, rendered).evaluation("test")


@pytest.fixture
def write(index, tmp_path):
    def write(name="images.npz", seed=0, order=None, save=np.savez, **more):
        features = np.random.default_rng(seed).random((len(index), 5), dtype=np.float32)
        rows = np.arange(len(index)) if order is None else order
        paths = [index.paths[row] for row in rows]
        save(tmp_path / name, features=features[rows], paths=np.array(paths), **more)
        return tmp_path / name

    return write


@pytest.fixture
def keep(store, rendered):
    def keep(file, source=OURS, protocol=PROTOCOL, test_time="none", split="test", again=None):
        asked = by_protocol(protocol, {}, rendered, again, split=split)
        return keep_scores(store, asked.score(file), source, test_time)

    return keep


def fit_of(store, records):
    fit = store.get(records[0].fit)
    assert isinstance(fit, FitRecord)
    return fit


def test_a_fit_without_weights_and_an_evaluation_say_whose_features_they_are(store, write, keep, rendered):
    file = write()
    plain, reranked = keep(file, again=reranking_config("zhong", 4, 2, 0.3))
    fit = fit_of(store, [plain])
    assert (fit.imported.file, fit.imported.source) == ("images.npz", "features of Ours")
    assert {record.source for record in (fit, plain, reranked)} == {OURS}
    assert (fit.curves, fit.config["kind"], "model" in fit.components) == ([], "fit", False)
    assert {record.data_kind for record in (fit, plain, reranked)} == {"synthetic"}
    assert plain.card.selection == "not known: features of Ours"
    assert plain.card.is_plain
    assert reranked.card.reranking_settings["name"] == "zhong"
    wanted = by_protocol(PROTOCOL, {}, rendered).evaluate(file)[0]
    assert plain.metrics == pytest.approx(wanted.metrics, abs=1e-12)
    assert len(store.per_query(plain)) == 2 * wanted.queries
    assert (method(fit), method(plain)) == ("Ours", "Ours")
    assert stale_parts([fit, plain, reranked]) == {}
    assert {record.id for record in store.records()} == {fit.id, plain.id, reranked.id}


def test_identity_is_the_features_the_images_and_the_protocol(index, write, keep):
    first = keep(write())[0]
    backwards = np.arange(len(index))[::-1]
    for file in (write("b.npz", order=backwards), write("c.npz", save=np.savez_compressed, other=np.zeros(3))):
        assert keep(file) == [first]
    assert keep(write(seed=1))[0].fit != first.fit
    other = keep(write(), protocol="{name: sysu/official, mode: indoor, trials: 2}")[0]
    assert (other.fit, other.id != first.id) == (first.fit, True)
    mirrored = keep(write(), test_time="flip")[0]
    assert (mirrored.fit, mirrored.id != first.id) == (first.fit, True)
    assert mirrored.card.test_time_augmentation == "flip"


def test_the_same_features_on_other_images_are_another_fit(store, write, keep, rendered_copy):
    first = keep(write())[0]
    asked = by_protocol(PROTOCOL, {}, rendered_copy)
    assert keep_scores(store, asked.score(write()), OURS)[0] == first  # wherever they lie
    paths = {path.relative_to(rendered_copy).as_posix() for path in rendered_copy.glob("cam*/*/*.jpg")}
    with np.load(write()) as content:
        read = set(content["paths"].tolist())
    image = rendered_copy / sorted(paths & read)[0]
    image.write_bytes((rendered_copy / sorted(paths & read)[-1]).read_bytes())
    changed = keep_scores(store, by_protocol(PROTOCOL, {}, rendered_copy).score(write()), OURS)[0]
    assert changed.fit != first.fit
    assert changed.fingerprint != first.fingerprint


def test_features_of_one_method_are_not_those_of_another(store, write, keep):
    first = keep(write())[0]
    with pytest.raises(UserError, match=r"kept as those of Ours \(A. Author, somewhere, 2026\) .*, not as those of X"):
        keep(write(), Source(method="X", citation="other"))
    with pytest.raises(UserError, match="Zhang2023DEEN"):
        keep(write(), Source(method="Ours", citation=OURS.citation, paper="Zhang2023DEEN"))
    (store.runs / f"{first.fit}.json").unlink()
    with pytest.raises(UserError, match=first.id):
        keep(write(), Source(method="X", citation="other"))


def test_raw_features_of_mirror_images_are_refused(write, keep):
    with pytest.raises(UserError, match="--test-time: test_time flip adds unit features"):
        keep(write(), protocol="{name: sysu/official, trials: 2, normalise: false}", test_time="flip")


def test_a_method_has_a_citation_and_a_known_paper():
    source = source_of(" DEEN ", "Zhang and Wang, CVPR 2023", "Zhang2023DEEN")
    assert (source.method, source.kind) == ("DEEN", "measured")
    assert source_of("ADCA", "Yang et al., ACM MM 2022", None).paper is None
    for arguments, words in (
        (("", "x", None), "--method: whose features"),
        (("ADCA", None, None), "--method ADCA needs --citation"),
        (("ADCA", " ", None), "--method ADCA needs --citation"),
        (("DEEN", "x", "Zhang2023DEN"), "did you mean 'Zhang2023DEEN'"),
    ):
        with pytest.raises(UserError, match=words):
            source_of(*arguments)
    for fault in ({"method": "x"}, {"paper": "x"}, {"kind": "published", "method": "x", "citation": "y"}):
        with pytest.raises(ValueError, match="source"):
            Source(**fault)


def test_records_of_fits_are_written_as_before_and_papers_are_cited(store, write, keep):
    assert Source().model_dump() == {"kind": "measured", "citation": None}
    source = Source(method="DEEN", citation="Zhang and Wang", paper="Zhang2023DEEN")
    record = keep(write(), source)[0]
    written = json.loads((store.runs / f"{record.id}.json").read_text())["source"]
    assert written == {"kind": "measured", "citation": "Zhang and Wang", "method": "DEEN", "paper": "Zhang2023DEEN"}
    assert bibtex([record]).startswith("@inproceedings{Zhang2023DEEN,")
    assert bibtex([record.model_copy(update={"source": Source()})]) == ""


def test_they_are_compared_with_a_fit_of_the_suite_query_by_query(store, write, keep, rendered):
    config = tiny(f"data.root={rendered}", "data.split=test", f"evaluation.protocols=[{PROTOCOL}]")
    run = RunContext(config, store)
    fit_step(run)
    (ours,), (theirs,) = evaluate_step(run), keep(write())
    assert ours.fingerprint == theirs.fingerprint
    (found,) = compare_runs(store, run.ids.fit, theirs.fit)
    assert found.selections == ("last epoch", "not known: features of Ours")
    gain = theirs.metrics["mAP"] - ours.metrics["mAP"]
    assert gain != 0
    assert found.differences["mAP"].value == pytest.approx(gain)
    (among,) = compare_runs(store, theirs.id, keep(write(seed=1))[0].id)
    assert among.selections is None
    mirrored = keep(write(seed=4), test_time="flip")[0]
    with pytest.raises(UserError, match="no protocol in common"):
        compare_runs(store, run.ids.fit, mirrored.fit)
    own, their_fit = run.fit, fit_of(store, [theirs])
    assert {"r1", "mAP", "mINP"} <= {figure.name for figure in figures(own, their_fit, store) if figure.difference}
    assert configuration(store, theirs)["features"] == their_fit.config["features"]


def test_what_needs_weights_refuses_in_one_line(store, write, keep):
    fit = fit_of(store, keep(write()))
    run = RunContext(tiny(), store)
    for ask in (lambda: config_of_fit(fit, [], None, store), lambda: earlier_fit(fit.id, "start_from", run, "")):
        with pytest.raises(UserError, match=f"run {fit.id} is features of Ours, computed by another program") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert store_deployment(store).models == ()


@pytest.mark.parametrize("test_time", ["none", "flip"])
def test_the_command_that_makes_it_again_names_the_file_and_the_protocol(store, write, keep, test_time):
    source = Source(method="Ours", citation="A. Author's, 2026", paper="Zhang2023DEEN")
    again = reranking_config("query-only", 5, 2, 0.4)
    for record in keep(write(), source, test_time=test_time, again=again):
        assert protocol_of(record).test_time == test_time
        made = remake(store, record)
        assert made.command.startswith("vireid score images.npz --protocol '{name: sysu/official, trials: 2")
        assert ("query-only" in made.command) != record.card.is_plain
        assert ("--test-time flip" in made.command) == (test_time == "flip")
        assert "--paper Zhang2023DEEN" in made.command
        assert fit_of(store, [record]).imported.sha256 in made.remark
        unknown = record.model_copy(update={"protocol": {**record.protocol, "trials": 3}})
        assert remake(store, unknown).command is None
    fit = fit_of(store, [record])
    assert remake(store, fit).command.startswith("vireid score images.npz")


def test_a_score_under_a_gallery_of_both_modalities_is_traced_and_never_reranked(store, write, keep):
    (record,) = keep(write(), protocol="{name: sysu/mixed, direction: v2m, matches: other, trials: 2}")
    assert (protocol_of(record).matches, protocol_of(record).direction) == ("other", "v2m")
    command = remake(store, record).command
    assert "name: sysu/mixed" in command
    assert "matches: other" in command
    with pytest.raises(UserError, match="sysu/mixed cannot be re-ranked"):
        keep(write(), protocol="sysu/mixed", again=reranking_config("zhong", 4, 2, 0.3))


def test_other_gallery_lists_are_refused(store, write, keep):
    record = keep(write())[0]
    assert isinstance(record, EvaluationRecord)
    store.put(record.model_copy(update={"lists": {**record.lists, "labels": "0" * 16}}))
    with pytest.raises(UserError, match="rests on other labels"):
        keep(write())
