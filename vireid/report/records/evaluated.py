"""Evaluations of deployed files: of what kind a file is, and which instructions its int8 accuracy belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vireid.core.identity import run_id
from vireid.core.processor import INTEGER_PRECISIONS, IntegerKernels, kernels_of_runtime
from vireid.core.records import EvaluatedFile, EvaluationRecord, FitRecord, GalleryRecord
from vireid.report.records.deployment import DeploymentView, Model
from vireid.report.records.keys import AccuracyKey
from vireid.report.records.timings import Timing

if TYPE_CHECKING:
    from vireid.report.records.choose import Deployable

NOT_RECORDED = "not recorded"
Evaluated = EvaluationRecord | GalleryRecord


def evaluations_under(deployment: DeploymentView, fit: FitRecord, key: AccuracyKey) -> list[EvaluationRecord]:
    """A fit's plain evaluations under a key, of the model itself and of files."""
    return [
        evaluation
        for evaluation, its_key in deployment.plain_evaluations(fit)
        if "mAP" in evaluation.metrics and its_key == key
    ]


def is_of(evaluation: Evaluated, timing: Timing) -> bool:
    """Whether an evaluated file is of the kind that was timed."""
    file, record = evaluation.artefact, timing.first
    return (
        file is not None
        and file.graph == record.artefact
        and run_id(file.runtime) == run_id(record.runtime)
        and file.precision == record.precision
        and tuple(file.resolution) == tuple(record.resolution)
    )


def counts_for(evaluation: Evaluated, timing: Timing) -> bool:
    """Whether the accuracy of an evaluated file is that of the timed one: an integer file's on like kernels alone."""
    return is_of(evaluation, timing) and evaluated_with(evaluation) in (None, kernels_of(timing))


def kernels_of(timing: Timing) -> IntegerKernels:
    """What sums the products of an integer file on the machine of a timing."""
    return kernels_of_runtime(timing.runtime_name, timing.first.environment.device)


def evaluated_with(evaluation: Evaluated) -> IntegerKernels | None:
    """What summed the products of an integer file that was evaluated; None of other precisions.

    Where the record does not say, those of the machine that it names.
    """
    file = evaluation.artefact
    if file is None or file.precision not in INTEGER_PRECISIONS:
        return None
    return file.kernels or kernels_of_runtime(str(file.runtime.get("name")), evaluation.environment.device)


def measured_elsewhere(deployment: DeploymentView, model: Model, timing: Timing, key: AccuracyKey) -> tuple[str, ...]:
    """Kernels that files of a timing's kind were evaluated with, other than those of its machine."""
    evaluations = (e for fit in model.fits for e in evaluations_under(deployment, fit, key) if is_of(e, timing))
    others = {kernels for e in evaluations if (kernels := evaluated_with(e)) not in (None, kernels_of(timing))}
    return tuple(sorted(map(str, others)))


def kernels_note(candidate: Deployable) -> str:
    """What the accuracy of an integer file belongs to; empty of other precisions."""
    accuracy = candidate.accuracy
    if accuracy is None or not accuracy.kernels:
        return ""
    if NOT_RECORDED in accuracy.kernels:
        return (
            f"The int8 accuracy of {candidate} has no instruction set on record; it counts here because the machine "
            f"that it was measured on has {kernels_of(candidate.timing)} as well. `vireid quantise` records it."
        )
    return f"The int8 accuracy of {candidate} was measured on {accuracy.kernels}, as this machine computes."


def query_file_bytes(files: Sequence[EvaluatedFile]) -> int | None:
    """Size of the file that queries go through, the largest over seeds; None where it is not known.

    A network with a stem for each modality has two files, of which a device of queries needs one; their sizes were
    recorded together.
    """
    several = any(len({name.partition("/")[0] for name in file.parts}) > 1 for file in files)
    return None if several else max((file.size_bytes for file in files), default=None)
