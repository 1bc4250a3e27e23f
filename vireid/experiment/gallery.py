"""A fit's gallery in every storage, evaluated: on dev, where one is chosen, and on test, where its accuracy is told."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.config import Component, deciding, parse
from vireid.core.errors import UserError
from vireid.core.identity import run_id
from vireid.core.records import EvaluatedFile, EvaluationRecord, GalleryRecord, MetricInterval, PairedDifference, now
from vireid.core.seeding import generator
from vireid.core.types import FloatArray, ImageIndex
from vireid.data.layout import EvaluationPart, fingerprint
from vireid.evaluation.compare import DRAWS, identity_intervals, paired_differences
from vireid.evaluation.extraction import extract
from vireid.evaluation.gallery import FITTED, STORAGES, storages_for
from vireid.evaluation.protocols import card
from vireid.evaluation.stored_gallery import StoredResult, codec_of, evaluate_stored
from vireid.evaluation.test_time import ModelProtocol
from vireid.experiment.context import RunContext
from vireid.experiment.data import evaluation_loader
from vireid.experiment.deploy.evaluate import Trained
from vireid.experiment.fit import embeddings
from vireid.experiment.identity import computed_with, runtime_version
from vireid.experiment.records import common
from vireid.profiling import RUNTIMES
from vireid.statistics.bootstrap import LEVEL

VERSION = "1"  # of the storages and their evaluation; raised when a change alters accuracies
TRAINING_IMAGES = 10_000  # that means and directions are of, at most


@dataclass(frozen=True)
class _Source:
    """What makes features: the trained model, or one of its files."""

    file: EvaluatedFile | None
    runtime: Component | None

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides an accuracy."""
        if self.file is None or self.runtime is None:
            return {}
        return {"deployed": {**self.file.runtime, **computed_with(self.runtime)}}


def gallery_protocols(run: RunContext) -> list[ModelProtocol]:
    """The protocols of a configuration that stored galleries can be searched under.

    Raises:
        UserError: none can.
    """
    protocols = [
        p
        for p in run.config.evaluation.protocols
        if (p.text, p.test_time, p.reranking.name, p.corruption, p.normalise) == ("none", "none", "none", None, True)
    ]
    if not protocols:
        raise UserError(
            f"run {run.ids.fit}: none of its protocols ranks single images by cosine without re-ranking; name one "
            "with --protocol, such as sysu/official"
        )
    return protocols


def gallery_step(
    run: RunContext, protocols: Sequence[ModelProtocol], storages: Sequence[str] = (), *, deployed: bool = False
) -> list[GalleryRecord]:
    """Evaluate a finished fit with its gallery in each storage; finished records are reused.

    A fit with ``data.split=dev`` has seen neither dev nor test identities and is evaluated on both; one that has
    trained on the dev identities on test alone.

    Args:
        run: of the fit.
        protocols: as ``gallery_protocols`` gives them.
        storages: of ``vireid.evaluation.gallery``; all that make the features smaller where it is empty.
        deployed: also of the files that were evaluated of the fit, whose features are made anew.

    Raises:
        UserError: the fit does not exist, its images or weights are gone or changed, or a storage cannot hold its
            features.
    """
    trained = Trained(run)
    sources = [_Source(None, None), *(_deployed(run) if deployed else [])]
    records: list[GalleryRecord] = []
    for number, source in enumerate(sources):
        run.progress("galleries", number, len(sources), "model" if source.file is None else source.file.precision)
        with tempfile.TemporaryDirectory(prefix="vireid-gallery-") as folder:
            records += _Galleries(trained, source, Path(folder)).records(protocols, storages)
    run.progress("galleries", len(sources), len(sources))
    return records


def _deployed(run: RunContext) -> Iterator[_Source]:
    """The files of a fit that have an evaluation, one for each runtime."""
    seen: set[str] = set()
    for record in run.store.records(lambda row: row.kind == "evaluation" and row.fit == run.fit.id):
        if not isinstance(record, EvaluationRecord) or record.fit != run.fit.id or record.artefact is None:
            continue
        settings = {key: value for key, value in record.artefact.runtime.items() if key != "version"}
        if (key := run_id(settings)) not in seen:
            seen.add(key)
            name = str(settings["name"])
            yield _Source(record.artefact, parse(RUNTIMES.config(name), settings, f"record {record.id}"))


class _Galleries:
    """Features of one source, made when a record is missing."""

    def __init__(self, trained: Trained, source: _Source, folder: Path) -> None:
        self._trained, self._run, self._source, self._folder = trained, trained.run, source, folder
        self._embedders: Any = None
        self._features: dict[str, FloatArray] = {}
        self._file = source.file
        self._width: int | None = None  # of the features, once a record or they themselves tell

    def records(self, protocols: Sequence[ModelProtocol], storages: Sequence[str]) -> list[GalleryRecord]:
        records: list[GalleryRecord] = []
        own = self._run.config.data.split
        parts: tuple[EvaluationPart, ...] = ("dev", "test") if own == "dev" else ("test",)
        for part in parts:
            index = self._run.data.evaluation if part == own else self._run.data.layout.evaluation(part)
            for protocol in protocols:
                records += self._under(protocol, part, index, storages)
        return records

    def _under(
        self, protocol: ModelProtocol, part: EvaluationPart, index: ImageIndex, storages: Sequence[str]
    ) -> Iterator[GalleryRecord]:
        run, layout, exact = self._run, self._run.data.layout, None
        listed = layout.test_list() if protocol.spec.listed and part == "test" else None
        for name in storages or STORAGES:
            specified = {"protocol": deciding(protocol), "part": part, "storage": name, **self._source.settings}
            id_ = run_id({"kind": "gallery", "version": VERSION, "fit": run.fit.id, **specified})
            stored = run.store.get(id_)
            if isinstance(stored, GalleryRecord):
                self._width = stored.features
                yield stored
                continue
            if not storages and self._width is not None and name not in storages_for(self._width):
                continue
            started, training = now(), self._of("train", self._training)
            self._width, features = training.shape[1], self._of(part, index)

            def ranked(storage: str, training: FloatArray = training, features: FloatArray = features) -> StoredResult:
                codec = codec_of(storage, training)
                return evaluate_stored(features, index, protocol, codec, layout.permutations(), listed=listed)

            exact = exact or ranked("fp32")
            result = ranked(name)
            record = GalleryRecord(
                id=id_,
                status="ok",
                fit=run.fit.id,
                protocol=card(protocol, split=part),
                storage=name,
                features=training.shape[1],
                row_bytes=result.row_bytes,
                scanned_bytes=result.scanned_bytes,
                metrics=result.metrics,
                per_trial=result.per_trial,
                intervals={
                    metric: MetricInterval(low=i.low, high=i.high, level=LEVEL, resamples=DRAWS)
                    for metric, i in identity_intervals(result.trials).items()
                },
                differences={
                    metric: PairedDifference(mean=d.value, low=d.low, high=d.high)
                    for metric, d in paired_differences(exact.trials, result.trials).items()
                },
                overlap10=result.overlap(exact),
                fitted_on={"images": len(training), "fingerprint": run.data.train_fingerprint}
                if name in FITTED
                else None,
                fingerprint=fingerprint(index, run.cache, workers=run.workers),
                artefact=self._file,
                **common(run.config, started, "trainer", "evaluator"),
            )
            run.store.put(record)
            yield record

    @property
    def _training(self) -> ImageIndex:
        """Training images, drawn among them where there are very many."""
        train = self._run.data.train
        if len(train) <= TRAINING_IMAGES:
            return train
        return train.select(
            np.sort(generator("gallery training", len(train)).permutation(len(train))[:TRAINING_IMAGES])
        )

    def _of(self, part: str, index: ImageIndex) -> FloatArray:
        """Features (N×D) of images, made once."""
        if part not in self._features:
            loader = evaluation_loader(self._run, index)
            runtime, file = self._source.runtime, self._source.file
            if runtime is None or file is None:
                self._features[part] = embeddings(self._run, loader=loader)
            else:
                if self._embedders is None:
                    deployment = self._trained.deploy(runtime, self._folder)
                    made = {name: getattr(deployment, name) for name in ("digest", "parts", "size_bytes")}
                    known = {"runtime_version": runtime_version(runtime), **computed_with(runtime)}
                    self._embedders, self._file = deployment.embedders, file.model_copy(update={**made, **known})
                self._features[part] = extract(self._embedders, loader)
        return self._features[part]


def chosen_storage(records: Sequence[GalleryRecord], keep: float) -> str | None:
    """The storage of fewest bytes that keeps a share of float32's mAP on dev; None without dev records.

    Args:
        records: of one fit, source and protocol.
        keep: the share, such as 0.99.
    """
    scores = {r.storage: r for r in records if r.card.split == "dev"}
    if "fp32" not in scores:
        return None
    floor = keep * scores["fp32"].metrics["mAP"]
    kept = [record for record in scores.values() if record.metrics["mAP"] >= floor]
    return min(kept, key=lambda record: (record.row_bytes, record.scanned_bytes)).storage
