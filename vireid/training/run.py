"""One fit in progress: its parts on the device, one epoch at a time, and the state that a checkpoint holds."""

import math
import time
from contextlib import closing, nullcontext
from dataclasses import fields, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vireid.core.errors import TrainingDivergedError
from vireid.core.seeding import seed_everything
from vireid.core.types import Batch, LearnsFromEpoch, Model, ModelOutput
from vireid.training.checkpoint import Checkpoint, Progress
from vireid.training.config import BatchNorm, RecipeConfig
from vireid.training.contracts import EpochCallback, EvaluateCallback, ProgressCallback, TrainingLoader, Weighting
from vireid.training.device import make_accelerator
from vireid.training.meters import EpochMeter, Fault
from vireid.training.norms import SharedNorms
from vireid.training.optimisers import build_optimiser, set_lr
from vireid.training.processes import Processes
from vireid.training.recompute import Recomputation
from vireid.training.resize import scaled
from vireid.training.schedules import lr_factor
from vireid.training.stages import Stages

MAX_SKIPPED_STEPS = 50  # in a row under fp16: by then the loss scale has been halved 50 times


class Run:
    """Model, weighting, optimiser and accelerate of one fit; ``epoch`` trains the next epoch and saves it."""

    def __init__(
        self,
        model: Model,
        loader: TrainingLoader,
        recipe: RecipeConfig,
        weighting: Weighting,
        seed: int,
        checkpoint: Checkpoint,
        device: torch.device,
        batch_norm: BatchNorm = "synchronised",
    ) -> None:
        if recipe.steps_per_epoch not in (None, loader.steps_per_epoch):
            raise ValueError(f"recipe wants {recipe.steps_per_epoch} steps, the loader gives {loader.steps_per_epoch}")
        self.model = model
        self.module = cast(nn.Module, model)
        self.measured = Progress()
        self._loader, self._recipe, self._seed, self._checkpoint = loader, recipe, seed, checkpoint
        self._weighting = weighting
        self._stages = Stages(recipe.stages, self.module, model.default_weights())
        self.accelerator = make_accelerator(device, recipe.precision)
        self.processes = Processes(self.accelerator)
        self._norms = SharedNorms(
            self.module, self._stages, len(recipe.stages), self.processes.count, batch_norm, self.accelerator.device
        )
        self._format = torch.channels_last if recipe.channels_last else torch.preserve_format
        self.module.to(self.accelerator.device).to(memory_format=self._format)
        cast(nn.Module, weighting).to(self.accelerator.device)
        self._optimiser = self.accelerator.prepare_optimizer(
            build_optimiser(recipe.optimiser, model, weighting, self.accelerator.device)
        )
        self._parameters = list(self.module.parameters())
        self._learned = [part for group in self._optimiser.param_groups for part in group["params"]]
        self._call_model = self.accelerator.prepare_model(self.module, evaluation_mode=True)  # autocast alone
        scaler = self.accelerator.scaler
        weighting.begin(model, (lambda loss: loss) if scaler is None else scaler.scale)
        self._recomputation = Recomputation(self.module) if recipe.activation_checkpointing else None
        self._stage: int | None = None
        self._skipped = 0

    def resume(self) -> int | None:
        """Take up the directory's checkpoint; return how many epochs it had finished, None where there is none."""
        saved = self._checkpoint.load()
        if saved is None:
            return None
        self.measured, states = saved
        for name, part in self._stateful().items():
            part.load_state_dict(states[name])
        return self.measured.epoch

    def epoch(
        self,
        evaluate: EvaluateCallback | None,
        on_epoch: EpochCallback | None,
        progress: ProgressCallback | None,
        memory: Any,
    ) -> None:
        """Train the next epoch, let model and weighting learn from it, evaluate where due, save."""
        epoch, recipe = self.measured.epoch, self._recipe
        stage = recipe.stage_at(epoch)
        if stage != self._stage:
            self._stages.enter(stage)
            self._stage = stage
        else:
            self._stages.train_mode(stage)
        own = ("process", self.processes.index) if self.processes.index else ()  # dropout of its own for each
        seed_everything(self._seed, "epoch", epoch, *own)
        self._weighting.begin_epoch(epoch)
        with memory if memory is not None else nullcontext() as reading:
            entry = self._train(epoch, stage, progress)
            self.processes.average_buffers(self.module, cast(nn.Module, self._weighting))
            entry["seconds"] += self._after_epoch(epoch, stage)
        self.model.end_epoch()
        self._weighting.end_epoch(entry["terms"])
        entry["at_bound"] = self._weighting.at_bound()
        due = recipe.evaluate_every and (epoch + 1) % recipe.evaluate_every == 0
        if evaluate is not None and due and self.processes.is_main:
            self.module.eval()
            with torch.no_grad():
                entry["dev"] = dict(evaluate(self.module, recipe.stages[stage].scale))
        self.measured.epoch += 1
        self.measured.curves.append(entry)
        self.measured.seconds += entry["seconds"]
        peak = self.processes.largest(None if reading is None else reading.peak_bytes)
        peaks = [self.measured.peak_memory_bytes, peak]
        self.measured.peak_memory_bytes = max((peak for peak in peaks if peak is not None), default=None)
        if self.processes.is_main:
            states = {name: part.state_dict() for name, part in self._stateful().items()}
            self._checkpoint.save(self.measured, states)
        self.accelerator.wait_for_everyone()
        if on_epoch is not None:
            on_epoch(entry)

    def close(self) -> None:
        """Hand the model back as it came: plain forward, own gradient flags, evaluation mode."""
        self.accelerator.unwrap_model(self._call_model, keep_fp32_wrapper=False)
        self.accelerator.free_memory()
        self._norms.release()
        self._stages.release()
        if self._recomputation is not None:
            self._recomputation.release()
        for parameter in self._parameters:
            parameter.grad = None
        self.module.eval()

    def _stateful(self) -> dict[str, Any]:
        states = {"model": self.module, "weighting": self._weighting, "optimiser": self._optimiser}
        if self.accelerator.scaler is not None:
            states["scaler"] = self.accelerator.scaler
        return states

    def _train(self, epoch: int, stage: int, progress: ProgressCallback | None) -> dict[str, Any]:
        recipe, steps = self._recipe, self._loader.steps_per_epoch
        meter = EpochMeter(self.accelerator.device, overflow_allowed=recipe.precision == "fp16")
        batches = self._loader.epoch(epoch)
        images, waited, lr = 0, 0.0, 0.0
        started = last_step = time.perf_counter()
        with closing(cast(Any, batches)) if hasattr(batches, "close") else nullcontext():
            for step in range(steps):
                asked = time.perf_counter()
                batch = next(batches, None)
                if batch is None:
                    raise ValueError(f"the loader ended epoch {epoch} after {step} of its {steps} batches")
                waited += time.perf_counter() - asked
                images += len(batch)
                first_of_group = step - step % recipe.accumulation
                group = min(recipe.accumulation, steps - first_of_group)
                stepping = step == first_of_group + group - 1
                lr = recipe.optimiser.lr * lr_factor(recipe, epoch, first_of_group, steps)
                fault = self._backward(self._to_device(batch, stage), stage, group, meter)
                if fault is None and stepping:
                    fault = self._step(step, lr, meter)
                    now = time.perf_counter()
                    self.measured.step_seconds.append(now - last_step)
                    last_step = now
                if fault is not None:
                    raise self._diverged(fault, epoch, lr)
                if progress is not None:
                    progress(epoch + 1, recipe.total_epochs, step + 1, steps, meter.recent_loss)
        if (fault := meter.fault()) is not None:  # waits for the device, so the clock below is true
            raise self._diverged(fault, epoch, lr)
        finished = time.perf_counter()
        if self.accelerator.device.type != "cpu" and self.measured.step_seconds:
            self.measured.step_seconds[-1] += finished - last_step  # what was still in the device's queue
        seconds = finished - started
        images = self.processes.total(images)
        terms, loss, weights, norm = meter.means()
        return {
            "epoch": epoch + 1,
            "stage": recipe.stages[stage].name,
            "lr": lr,
            "loss": loss,
            "terms": terms,
            "weights": weights,
            "grad_norm": norm,
            "images_per_second": images / seconds,
            "seconds": seconds,
            "data_seconds": waited,
            **({} if recipe.stages[stage].scale == 1 else {"scale": recipe.stages[stage].scale}),
        }

    def _after_epoch(self, epoch: int, stage: int) -> float:
        """Show the epoch's batches again to a model that learns from them; return the seconds that this took."""
        if not isinstance(self.model, LearnsFromEpoch):
            return 0.0
        started = time.perf_counter()
        with torch.no_grad(), self.accelerator.autocast(), self._norms.apart():
            shares = (self._to_device(batch, stage) for batch in self._loader.epoch(epoch))
            self.model.after_epoch(self.processes.whole(share) for share in shares)
        return time.perf_counter() - started

    def _backward(self, batch: Batch, stage: int, group: int, meter: EpochMeter) -> Fault | None:
        """Add one batch's share of the gradient; ``group`` batches make one optimiser step."""
        output, batch = self.processes.everything(_full_precision(self._call_model(batch)), batch)
        terms = self._stages.active(stage, self.model.loss_terms(output, batch))
        total, weights = self._weighting(terms)
        fault = meter.add(terms, total, weights)
        if fault is None:
            self.accelerator.backward(total / group)
        return fault

    def _step(self, step: int, lr: float, meter: EpochMeter) -> Fault | None:
        self.processes.average_gradients(self._learned)
        if self._recipe.clip_norm is not None:
            norm = self.accelerator.clip_grad_norm_(self._parameters, self._recipe.clip_norm)
        else:
            self.accelerator.unscale_gradients(self._optimiser)
            norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        fault = meter.add_norm(norm, step)
        if fault is not None:
            return fault
        set_lr(self._optimiser, lr)
        self._optimiser.step()
        self._optimiser.zero_grad()
        if not self._optimiser.step_was_skipped:
            self._weighting.end_step()
        self._skipped = self._skipped + 1 if self._optimiser.step_was_skipped else 0
        return Fault("gradient norm", math.inf, step) if self._skipped >= MAX_SKIPPED_STEPS else None

    def _to_device(self, batch: Batch, stage: int) -> Batch:
        device = self.accelerator.device
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(batch)
            if isinstance(value := getattr(batch, field.name), Tensor)
        }
        images = scaled(moved["images"], self._recipe.stages[stage].scale)
        moved["images"] = images.contiguous(memory_format=self._format)
        return replace(batch, **moved)

    def _diverged(self, fault: Fault, epoch: int, lr: float) -> TrainingDivergedError:
        kept = f"the checkpoint after epoch {epoch} is kept" if epoch else "no epoch was finished"
        return TrainingDivergedError(
            f"training diverged: {fault.name} became {fault.value} in epoch {epoch + 1}, step {fault.step + 1} of "
            f"{self._loader.steps_per_epoch}, at learning rate {lr:g}: lower recipe.optimiser.lr, lengthen "
            f"recipe.schedule.warmup_epochs or set recipe.clip_norm; {kept} ({self._checkpoint.path.parent})"
        )


def _full_precision(output: ModelOutput) -> ModelOutput:
    """Losses are computed in float32 whatever the precision of the forward pass.

    Maps are left as they are: no term needs all of them, and each copy would be as large as the widest activation. A
    term that reads a map casts it.
    """

    def cast_all(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}

    return ModelOutput(cast_all(output.features), cast_all(output.logits), output.maps)
