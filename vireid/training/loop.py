"""The training loop: a model, a loader and a recipe become weights, learning curves and measured times."""

from pathlib import Path

from vireid.core.float32 import exact_float32
from vireid.core.types import Model
from vireid.training import WEIGHTS
from vireid.training.allocator import keep_freed_memory
from vireid.training.checkpoint import Checkpoint, save_weights
from vireid.training.config import BatchNorm, RecipeConfig
from vireid.training.contracts import (
    EpochCallback,
    EvaluateCallback,
    FitResult,
    PeakMemory,
    ProgressCallback,
    TrainingLoader,
    Weighting,
)
from vireid.training.device import device_kind, resolve_device
from vireid.training.run import Run


def fit(
    model: Model,
    loader: TrainingLoader,
    recipe: RecipeConfig,
    weighting: Weighting,
    *,
    seed: int,
    directory: Path,
    resume_key: str,
    device: str = "cpu",
    batch_norm: BatchNorm = "synchronised",
    evaluate: EvaluateCallback | None = None,
    on_epoch: EpochCallback | None = None,
    progress: ProgressCallback | None = None,
    peak_memory: PeakMemory | None = None,
) -> FitResult:
    """Train ``model`` in place and write its final weights to ``directory``.

    Of several processes (torch.distributed is initialised, and accelerate told so by the environment) each calls this
    with the same arguments but for its share of the batches. Losses see the batch of all; callbacks may be given in the
    main process alone, which writes.

    A checkpoint of the same ``resume_key`` in ``directory`` is taken up where it ended; on the CPU the result is
    then bitwise that of an uninterrupted run with the same number of threads. The checkpoint stays until
    ``discard_checkpoint``, so that a kill before the result is recorded loses nothing.

    Args:
        model: built, with any pretrained weights loaded; left on ``device`` in evaluation mode.
        loader: training batches; of several processes, this one's share of each.
        recipe: how to train.
        weighting: makes one loss of the model's terms.
        seed: keys the global generators at the start of every epoch (dropout).
        directory: of this run; made where absent.
        resume_key: the run's id.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``.
        batch_norm: what batch norms in training see of several processes.
        evaluate: metrics on dev, called every ``recipe.evaluate_every`` epochs with the model in evaluation mode and
            the scale of the epoch's stage; they enter the curves and decide nothing.
        on_epoch: called with each new curve entry once its checkpoint is written.
        progress: called after every batch with epoch, epochs, step, steps (from 1) and the weighted loss; on an
            accelerator the loss is some steps old (NaN before the first), as reading it would wait for the device.
        peak_memory: makes a context around the training part of each epoch; its ``peak_bytes`` is read afterwards.

    Raises:
        TrainingDivergedError: a loss term or the gradient became NaN or infinite; the last checkpoint stays.
        UserError: device, precision, stage or directory cannot be used, or the checkpoint is another run's.
    """
    target = resolve_device(device)
    with keep_freed_memory(target), exact_float32(target):
        run = Run(model, loader, recipe, weighting, seed, Checkpoint(directory, resume_key), target, batch_norm)
        try:
            resumed_from = run.resume()
            while run.measured.epoch < recipe.total_epochs:
                run.epoch(evaluate, on_epoch, progress, None if peak_memory is None else peak_memory())
            if run.processes.is_main:
                save_weights(run.module, directory)
            run.accelerator.wait_for_everyone()
        finally:
            run.close()
    return FitResult(
        curves=run.measured.curves,
        step_seconds=run.measured.step_seconds,
        seconds=run.measured.seconds,
        peak_memory_bytes=run.measured.peak_memory_bytes,
        device=device_kind(run.accelerator.device),
        weights=directory / WEIGHTS,
        resumed_from=resumed_from,
    )
