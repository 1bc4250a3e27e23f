"""Two processes are one with the same global batch; what would make them two is shown to be seen.

Batch norms are not in here: on the CPU they are not synchronised (see ``test_norms.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.training.parts import recipe
from vireid.core.seeding import key_to_int
from vireid.core.types import Batch, ModelOutput
from vireid.data.shares import WHOLE, Share
from vireid.losses.identity import cross_entropy
from vireid.losses.mmd import mutual_distillation
from vireid.losses.numeric import euclidean
from vireid.losses.pairs import pair_rows
from vireid.losses.tgsa import tgsa_intra
from vireid.losses.triplet import batch_hard_triplet
from vireid.training.loop import fit
from vireid.training.processes import Processes
from vireid.weighting.config import GradNormConfig, UncertaintyConfig
from vireid.weighting.gradnorm import GradNormWeighting
from vireid.weighting.uncertainty import UncertaintyWeighting

PEOPLE, PER_PERSON = 6, 4
TERMS = {"id": 1.0, "triplet": 1.0, "graph": 0.5, "mutual": 0.5, "centre": 0.1}
WEIGHTINGS = {
    "uncertainty": lambda: UncertaintyWeighting(UncertaintyConfig(lr_scale=10.0), TERMS),
    "gradnorm": lambda: GradNormWeighting(GradNormConfig(lr=0.05), TERMS),
}


class Network(nn.Module):
    """Losses of every kind: by row, by pair over the batch, by graph, by identity across modalities.

    Centres are a parameter that a loss uses without the forward pass, ``unused`` one that no loss reaches, and the
    prototypes come of another look at the epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)  # running statistics of its own rows
        self.head = nn.Linear(8, PEOPLE)
        self.unused = nn.Linear(8, 2)
        self.centres = nn.Parameter(torch.randn(PEOPLE, 8))
        self.register_buffer("prototypes", torch.zeros(PEOPLE, 8))

    def default_weights(self) -> dict[str, float]:
        return TERMS

    def features(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).relu().square().mean(dim=(2, 3))

    def forward(self, batch: Batch) -> ModelOutput:
        feature = self.features(batch.images)
        return ModelOutput({"shared": feature}, {"shared": self.head(feature), "unused": self.unused(feature)})

    def loss_terms(self, output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
        feature, labels = output.features["shared"], batch.labels
        first = (batch.view == 0).nonzero()[:, 0]
        pairs = pair_rows(labels[first], batch.infrared[first])
        aligned = pairs.align(feature[first])
        visible, infrared = aligned.view(2, -1, pairs.per_identity, feature.shape[1]).unbind()
        return {
            "id": cross_entropy(output.logits["shared"], labels),
            "triplet": batch_hard_triplet(euclidean(feature), labels, 0.3),
            "graph": torch.stack(list(tgsa_intra(euclidean(aligned), "full").values())).sum(),
            "mutual": mutual_distillation(visible, infrared),
            "centre": (feature - self.centres[labels] - self.prototypes[labels]).square().mean(),
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.conv.parameters())

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters()), "lr_scale": 1.0, "name": "all"}]

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        sums, counts = torch.zeros_like(self.prototypes), torch.zeros(PEOPLE, 1)
        for batch in batches:
            sums.index_add_(0, batch.labels, self.features(batch.images))
            counts.index_add_(0, batch.labels, torch.ones(len(batch), 1))
        self.prototypes.copy_(sums / counts)

    def end_epoch(self) -> None:
        pass


class Loader:
    """A share of random batches, identity by identity; some people have a second view of their visible images."""

    steps_per_epoch = 4

    def __init__(self, share: Share, with_second_view: int = 2) -> None:
        self.share, self.with_second_view = share, with_second_view

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        for step in range(first_step, self.steps_per_epoch):
            random = torch.Generator().manual_seed(key_to_int("batches", epoch, step) % 2**63)
            people = torch.randperm(PEOPLE, generator=random)
            labels = people.repeat_interleave(PER_PERSON)
            rows = torch.arange(len(labels))
            second = rows[(rows % 2 == 1) & (labels < self.with_second_view)]
            rows = torch.cat([rows, second])
            view = (torch.arange(len(rows)) >= len(labels)).long()
            labels, modality = labels[rows], (rows + 1) % 2
            images = torch.randn(len(rows), 3, 6, 6, generator=random) + labels.view(-1, 1, 1, 1) / 3
            batch = Batch(images, labels, modality, torch.zeros_like(labels), view)
            mine = torch.isin(labels, people.chunk(self.share.count)[self.share.index]).nonzero()[:, 0]
            yield Batch(*(getattr(batch, name)[mine] for name in ("images", "labels", "modality", "camera", "view")))


def trained(folder: Path, weighting: str, with_second_view: int, share: Share = WHOLE) -> dict[str, Any]:
    model, weigh = Network(), WEIGHTINGS[weighting]()
    loader = Loader(share, with_second_view)
    settings = recipe(
        epochs=2,
        batch_size=PEOPLE * PER_PERSON,
        identities=PEOPLE,
        accumulation=2,
        clip_norm=1.0,
        optimiser={"name": "sgd", "lr": 0.02},
        schedule={"name": "constant"},
    )
    result = fit(model, loader, settings, weigh, seed=3, directory=folder, resume_key="k")
    curves = [{key: entry[key] for key in ("terms", "weights", "loss", "grad_norm")} for entry in result.curves]
    return {"state": {**model.state_dict(), **weigh.state_dict()}, "curves": curves}


Case = tuple[str, int, str]  # weighting, people with a second view, what is broken
BREAKS: dict[str, dict[str, Any]] = {
    "": {},
    "gradients are not averaged": {"average_gradients": lambda self, parameters: None},
    "losses see a share": {"everything": lambda self, output, batch: (output, batch)},
    "buffers are not averaged": {"average_buffers": lambda self, *modules: None},
}


def member(index: int, folder: str, cases: list[Case]) -> None:
    """One of two processes; the first writes what it learnt in each case."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(index), LOCAL_RANK=str(index), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=index, world_size=2)
    for number, (weighting, views, broken) in enumerate(cases):
        with pytest.MonkeyPatch.context() as patch:
            for name, function in BREAKS[broken].items():
                patch.setattr(Processes, name, function)
            outcome = trained(Path(folder) / f"case-{number}", weighting, views, Share(index, 2))
        torch.save(outcome, f"{folder}/{number}-{index}.pt")
    torch.distributed.destroy_process_group()


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def test_two_processes_are_one_with_the_same_batch(tmp_path: Path) -> None:
    whole = ("uncertainty", "gradnorm")
    cases: list[Case] = [(name, PEOPLE, "") for name in whole]
    cases += [("uncertainty", PEOPLE, broken) for broken in BREAKS if broken]
    cases += [("uncertainty", 2, "")]  # rows in unlike numbers
    torch.multiprocessing.spawn(member, (str(tmp_path), cases), nprocs=2)
    alone = {case: trained(tmp_path / "-".join(map(str, case)), *case) for case in {case[:2] for case in cases}}
    for number, (weighting, views, broken) in enumerate(cases):
        expected = alone[weighting, views]
        first, second = (torch.load(tmp_path / f"{number}-{index}.pt") for index in (0, 1))
        if views < PEOPLE:  # means over rows in unlike numbers: the weights are the same, running statistics nearly
            for outcome in (first, second, expected):
                outcome["state"] = {name: value for name, value in outcome["state"].items() if "running" not in name}
        apart = distance(first["state"], expected["state"])
        if broken:
            assert apart > 1e-4, f"nothing shows that {broken}"
            continue
        assert apart < 2e-6
        assert distance(first["state"], second["state"]) == 0
        for ours, theirs in zip(first["curves"], expected["curves"], strict=True):
            for key in ("terms", "weights"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-6)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        moved = distance(expected["state"], {**WEIGHTINGS[weighting]().state_dict(), **Network().state_dict()})
        assert moved > 1e-2  # so that standing still is not what they agree in


def test_an_output_with_rows_of_its_own_is_refused() -> None:
    class Two:
        num_processes, process_index, is_main_process, device = 2, 0, True, torch.device("cpu")

    batch = next(Loader(Share()).epoch(0))
    joined = ModelOutput({"joint": torch.zeros(2 * len(batch), 8)})
    with pytest.raises(ValueError, match=r"output 'joint' has 56 rows for a batch of 28"):
        Processes(Two()).everything(joined, batch)


def test_a_single_process_changes_nothing() -> None:
    class One:
        num_processes, process_index, is_main_process, device = 1, 0, True, torch.device("cpu")

    processes, batch = Processes(One()), next(Loader(Share()).epoch(0))
    model = Network()
    output = model(batch)
    assert processes.everything(output, batch) == (output, batch)
    assert processes.whole(batch) is batch
    F.cross_entropy(output.logits["shared"], batch.labels).backward()
    before = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    processes.average_gradients(model.parameters())
    processes.average_buffers(model)
    assert all(
        a is None if b.grad is None else torch.equal(a, b.grad) for a, b in zip(before, model.parameters(), strict=True)
    )
    assert (processes.total(7), processes.largest(5), processes.largest(None)) == (7, 5, None)
