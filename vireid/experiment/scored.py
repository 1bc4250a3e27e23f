"""Features that other programs computed, kept beside the fits of the suite: as a fit without weights, and its scores.

So everything that lists, shows and compares records does so with theirs. What needs weights refuses them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vireid import evaluation
from vireid.core.config import deciding, parse, resolved
from vireid.core.environment import snapshot
from vireid.core.errors import UserError, did_you_mean
from vireid.core.files import file_digest
from vireid.core.identity import run_id
from vireid.core.published import PUBLISHED, REFERENCES, references
from vireid.core.records import ComponentStamp, EvaluationRecord, FitRecord, ImportedFile, now
from vireid.core.source import Source
from vireid.core.types import ImageIndex
from vireid.data import DATASETS
from vireid.data.layout import Layout, fingerprint
from vireid.data.synthetic.config import read_card
from vireid.evaluation.evaluate import EvaluationResult
from vireid.evaluation.protocols import DIRECTION_WORDS, ProtocolConfig, Split, card
from vireid.evaluation.test_time import ModelProtocol
from vireid.experiment.data import check_lists, evaluation_lists
from vireid.experiment.records import write_per_query
from vireid.experiment.sources import part_stamp
from vireid.profiling.device import describe_device
from vireid.store import Store

FeatureRule = Literal["none", "flip"]
"""What a row was made of: the image, or the image and its mirror image."""
_ENTRIES = ("name", "mode", "trials", "cmc")  # of a card, named and valued as in a protocol's configuration


@dataclass(frozen=True, slots=True)
class ScoredFeatures:
    """A features file under a protocol, with what its records say."""

    file: Path
    content: str  # SHA-256 of the features by image, however the file wraps and orders them
    layout: Layout
    index: ImageIndex  # all images of the split
    split: Split
    results: tuple[tuple[ProtocolConfig, EvaluationResult], ...]  # plain, then re-ranked where asked for
    started: str


def source_of(method: str | None, citation: str | None, paper: str | None, folder: Path = PUBLISHED) -> Source:
    """Whose features are scored.

    Args:
        method: its name.
        citation: of the work, as text.
        paper: key of the work in references.bib.
        folder: where that file lies.

    Raises:
        UserError: no method or no citation, or a key that is not there.
    """
    if not (method or "").strip():
        raise UserError("--method: whose features they are has to be said, such as --method ADCA")
    if not (citation or "").strip():
        raise UserError(f"--method {method} needs --citation: authors, title, venue and year, or an address")
    if paper is not None and paper not in (works := references(folder)):
        raise UserError(
            f"--paper {paper}: no such key in {folder / REFERENCES}{did_you_mean(paper, works)}; leave it out where "
            "the work has no entry there"
        )
    return Source(method=str(method).strip(), citation=str(citation).strip(), paper=paper)


def keep_scores(
    store: Store, scored: ScoredFeatures, source: Source, test_time: FeatureRule = "none"
) -> list[EvaluationRecord]:
    """Keep scores of features, or find them kept: a fit without weights, and an evaluation for each result.

    The fit's identity is the features and the images; an evaluation's, the fit and the protocol.

    Args:
        store: where to.
        scored: the features' scores.
        source: whose features they are.
        test_time: what each row was made of; goes on the cards.

    Raises:
        UserError: the same features are kept as another method's; images or lists that cannot be read or have changed;
            a protocol under which features of image and mirror image cannot be ranked.
    """
    protocols = [_with_rule(protocol, test_time) for protocol, _ in scored.results]
    images = fingerprint(scored.index, store.root / "cache", workers=os.cpu_count() or 1)
    specification = _specification(scored, images)
    fit = run_id({**specification, "data": {**specification["data"], "dataset": deciding(scored.layout.config)}})
    _keep_fit(store, fit, specification, scored, source)
    records = []
    for protocol, (_, result) in zip(protocols, scored.results, strict=True):
        id_ = evaluation_id(fit, protocol)
        record = store.get(id_)
        if isinstance(record, EvaluationRecord):
            _check_source(record, source, scored.file, store)
            check_lists(id_, record.lists, scored.layout, scored.index)
        else:
            entries = {"selection": f"not known: features of {source.method}", "test_time_augmentation": test_time}
            record = EvaluationRecord(
                id=id_,
                status="ok",
                fit=fit,
                protocol=result.card | entries,
                metrics=result.metrics,
                metric_units=result.metric_units,
                per_trial=result.per_trial,
                spread=result.spread,
                intervals=result.intervals,
                fingerprint=images,
                lists=evaluation_lists(scored.layout, scored.index, protocol.spec, scored.split),
                **write_per_query(store, fit, id_, result.per_query),
                **_common(scored, source, "evaluator"),
            )
            store.put(record)
        records.append(record)
    return records


def evaluation_id(fit: str, protocol: ModelProtocol) -> str:
    """Identity of the score of features under a protocol, as that of a fit's evaluation."""
    version = {} if evaluation.VERSION == "1" else {"evaluator": evaluation.VERSION}
    return run_id({"kind": "evaluation", "fit": fit, "protocol": deciding(protocol), **version})


def protocol_of(record: EvaluationRecord) -> ModelProtocol | None:
    """The protocol of a score of features, read from its card; None where it makes another id than the record's."""
    entries = record.card.entries
    for direction, words in DIRECTION_WORDS.items():
        tree = {
            **{name: entries.get(name) for name in _ENTRIES},
            "direction": direction,
            "shots": None if entries.get("shots") == "all" else entries.get("shots"),
            "normalise": entries.get("feature_normalisation") == "L2",
            "reranking": _reranking(record.card.reranking_settings),
            "test_time": entries.get("test_time_augmentation"),
            "matches": entries.get("matches", "any"),
        }
        if not str(entries.get("direction")).startswith(words):
            continue
        try:
            protocol = parse(ModelProtocol, tree, f"record {record.id}")
        except UserError:
            return None
        same = card(protocol)["direction"] == entries.get("direction") and evaluation_id(record.fit, protocol)
        return protocol if same == record.id else None
    return None


def _with_rule(protocol: ProtocolConfig, test_time: FeatureRule) -> ModelProtocol:
    settings = {name: getattr(protocol, name) for name in type(protocol).model_fields}
    return parse(ModelProtocol, {**settings, "test_time": test_time}, "--test-time")


def _reranking(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A card's re-ranking as a protocol's configuration has it."""
    return {{"lambda": "lambda_value"}.get(key, key): value for key, value in settings.items() if key != "recall"}


def _specification(scored: ScoredFeatures, images: str) -> dict[str, Any]:
    name = scored.layout.config.name
    return {
        "kind": "fit",
        "features": scored.content,
        "data": {
            "dataset": resolved(scored.layout.config),
            "version": DATASETS.version(name),
            "split": scored.split,
            "synthetic": None,  # as of fits on the images of a folder
            "fingerprint": images,
        },
    }


def _keep_fit(store: Store, id_: str, specification: dict[str, Any], scored: ScoredFeatures, source: Source) -> None:
    record = store.get(id_)
    if isinstance(record, FitRecord):
        _check_source(record, source, scored.file, store)
        return
    rendered = read_card(scored.index.root)
    images = {**specification["data"], "synthetic": None if rendered is None else rendered.get("specification") or {}}
    origin = ImportedFile(source=f"features of {source.method}", file=scored.file.name, sha256=file_digest(scored.file))
    store.put(
        FitRecord(
            id=id_,
            status="ok",
            config=specification,
            seed=0,
            data={"name": scored.layout.config.name, "specification": images},
            imported=origin,
            **_common(scored, source),
        )
    )


def _check_source(record: FitRecord | EvaluationRecord, source: Source, file: Path, store: Store) -> None:
    if record.source != source:
        raise UserError(
            f"{file}: these features are kept as {_named(record.source)} (run {record.id}), not as {_named(source)}; "
            f"name them so, or delete {store.runs / record.id}.json"
        )


def _named(source: Source) -> str:
    paper = f", {source.paper}" if source.paper else ""
    return f"those of {source.method} ({source.citation}{paper})"


def _common(scored: ScoredFeatures, source: Source, *made_by: str) -> dict[str, Any]:
    """Fields of ``RecordBase`` beside id and status."""
    name = scored.layout.config.name
    stamp = ComponentStamp(name=name, version=DATASETS.version(name), digest=DATASETS.source_digest(name))
    return {
        "data_kind": "real" if read_card(scored.index.root) is None else "synthetic",
        "source": source,
        "environment": snapshot(accelerator="cpu", threads=os.cpu_count() or 1, device=describe_device()),
        "components": {"dataset": stamp, **{part: part_stamp(part) for part in made_by}},
        "started": scored.started,
        "ended": now(),
    }
