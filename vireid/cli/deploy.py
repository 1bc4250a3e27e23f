"""Commands that prepare models for devices: export, quantise, bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, finished_run, opened, run_named, runs_named
from vireid.cli.show import console, deployed_table
from vireid.core.errors import UserError, did_you_mean
from vireid.core.processor import IntegerKernels
from vireid.core.table import Table
from vireid.experiment.progress import bars

if TYPE_CHECKING:
    from vireid.experiment.deploy import bundle as bundles
    from vireid.experiment.deploy import export as exports
    from vireid.experiment.deploy.evaluate import Quantised
    from vireid.profiling.export.write import Format

KERNELS: tuple[IntegerKernels, ...] = tuple(kind for kind in get_args(IntegerKernels) if kind != "unknown")


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="Folder for the files; made where it does not exist.")],
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|KEY=VALUE...]",
            help="Id of a fit (`vireid results list`), or a configuration: of its fit if it was trained, else with "
            "initial weights.",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="onnx|openvino|safetensors", help="Repeatable; all three by default."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare/--force",
            help="Hold a fit's files to evaluation.gate on its evaluation images, which must be here; or write all.",
        ),
    ] = True,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write what is deployed of a model for other runtimes, each file checked against PyTorch before it is kept."""
    from functools import partial

    from vireid.core.records import FitRecord
    from vireid.experiment.deploy.export import export_step
    from vireid.experiment.deploy.gate import check_exported

    chosen = _formats(formats or [])
    with bars() as progress:
        run = run_named(target or [], store, progress)
        fitted = isinstance(run.store.get(run.ids.fit), FitRecord)
        accept = partial(check_exported, run) if compare and fitted else None
        result = export_step(run, to, chosen, accept)
    console.print(_export_table(result, to))


def _formats(names: list[str]) -> list[Format]:
    """The formats of these names, each once; all when none is named."""
    from vireid.profiling.export.write import FORMATS

    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format {name}: unknown format{did_you_mean(name, FORMATS)}")
    return [format for format in FORMATS if format in names or not names]


def _export_table(result: exports.Export, folder: Path) -> Table:
    weights = "initial weights" if result.run is None else f"fit {result.run}"
    table = Table(title=f"{folder}: {weights}")
    table.add_columns("file", "MB", "difference to eager", text=("file",))
    for file in result.files:
        same = file.format == "safetensors"
        table.add_row(file.path.name, f"{file.size_bytes / 1e6:.1f}", "none" if same else f"{file.difference:.1e}")
    table.caption = "largest error of any value, relative to the feature's root mean square; .xml comes with its .bin"
    return table


@app.command()
def quantise(
    run: Annotated[str, typer.Argument(help="Id of a fit, or its first digits.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the files; made where it does not exist.")],
    runtimes: Annotated[
        list[str] | None,
        typer.Option(
            "--runtime",
            metavar="onnxruntime|openvino|executorch",
            help="Repeatable; by default onnxruntime and openvino.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            help="A setting to compare, such as '{activations: asymmetric, ranges: percentile}'; repeatable. Without "
            "any, three or four that are worth it.",
        ),
    ] = None,
    kernels: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="|".join(KERNELS),
            help="Int8 instructions of the processor that the file is for; by default this one's. Settings are "
            "compared where this one sums alike; else one is taken: 7-bit weights for avx2 and avx512. ExecuTorch "
            "sums alike everywhere.",
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also print what each layer loses, the worst first.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write a file too that is beyond the limits of evaluation.gate.")
    ] = False,
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies now.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Quantise a trained fit to int8: compare settings on dev, keep the nearest to it, evaluate that very file."""
    from vireid.experiment.deploy.evaluate import CANDIDATES, USUAL, quantise_step

    for name in runtimes or []:
        if name not in CANDIDATES:
            raise UserError(f"--runtime {name}: quantises nothing{did_you_mean(name, CANDIDATES)}")
    if kernels is not None and kernels not in KERNELS:
        raise UserError(f"--for {kernels}: no such int8 instructions{did_you_mean(kernels, KERNELS)}")
    given = [_mapping(text) for text in settings or []]
    with finished_run(run, store, root) as context:
        quantised = quantise_step(
            context, to, list(dict.fromkeys(runtimes or USUAL)), given, kernels, force=force, layers=layers
        )
    for result in quantised:
        console.print(_candidates(result))
        console.print(deployed_table(result.records))
        if result.layers:
            console.print(_layers_table(result))
        for file in result.files:
            console.print(f"{file}: {file.stat().st_size / 1e6:.1f} MB", soft_wrap=True)


def _mapping(text: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--setting '{text}': not YAML: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"--setting '{text}': give a mapping, such as '{{activations: asymmetric}}'")
    return data


def _candidates(quantised: Quantised) -> Table:
    """What was compared; the one that was kept is marked."""
    artefact = quantised.records[0].artefact
    assert artefact is not None
    table = Table(title=f"{quantised.runtime.name}, int8: settings on {quantised.candidates[0]['split']}")
    table.add_columns("setting", "cosine", "top-10 overlap", "mAP %", wrap=("setting",))
    for candidate in quantised.candidates:
        kept = candidate["cosine"] == artefact.cosine
        setting = ", ".join(f"{key} {value}" for key, value in candidate["quantisation"].items()) or "defaults"
        table.add_row(
            f"{setting} ← kept" if kept and len(quantised.candidates) > 1 else setting,
            f"{candidate['cosine']:.5f}",
            f"{candidate['overlap10']:.3f}",
            f"{100 * candidate['mAP']:.1f}",
            style="bold" if kept else None,
        )
    table.caption = (
        "cosine and overlap: with the trained model's features in PyTorch float32; computed with "
        f"{artefact.kernels} kernels of {quantised.runtime.name} {artefact.runtime_version}"
    )
    return table


def _layers_table(quantised: Quantised) -> Table:
    """What each layer loses; the first are the ones worth keeping in float32."""
    table = Table(title=f"{quantised.runtime.name}, int8: noise of each layer")
    table.add_columns("layer", "signal to noise, dB", "noise added %", wrap=("layer",))
    for loss in quantised.layers:
        table.add_row(loss.layer, f"{loss.decibels:.1f}", f"{100 * loss.added:.3f}")
    table.caption = "outputs beside those of the float graph on calibration images; added: beyond that of the inputs"
    return table


@app.command()
def bundle(
    to: Annotated[Path, typer.Option("--to", help="Folder for the bundle, or a file that ends in .zip.")],
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|KEY=VALUE...]...",
            help="Ids of fits (`vireid results list`), and overrides of one configuration: of its fit if it was "
            "trained, else with initial weights.",
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", help="An ONNX file that vireid exported; repeatable."),
    ] = None,
    references: Annotated[
        int | None,
        typer.Option(
            "--references", help="Images (an even number) that an int8 file is checked on there; 200 by default."
        ),
    ] = None,
    min_cosine: Annotated[
        float | None,
        typer.Option(
            "--min-cosine", help="An int8 file whose features there come below it is refused; 0.99 by default."
        ),
    ] = None,
    min_overlap: Annotated[
        float | None,
        typer.Option(
            "--min-overlap", help="And one that keeps a smaller share of the ten nearest images; 0.95 by default."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Pack models to be measured on a Raspberry Pi, a Jetson or an old laptop with Python, NumPy and ONNX Runtime."""
    from vireid.bundle.write import DeviceCheck
    from vireid.core.config import parse
    from vireid.experiment.deploy.bundle import bundle_step

    given = {"images": references, "cosine": min_cosine, "overlap10": min_overlap}
    limits = {key: value for key, value in given.items() if value is not None}
    check = parse(DeviceCheck, limits, "--references, --min-cosine, --min-overlap")
    with bars() as progress:
        runs = runs_named(target or [], store, progress)
        result = bundle_step(runs, files or [], opened(store), to, progress, check)
    console.print(_bundle_table(result, to))
    for name in result.one_sided:
        console.print(
            f"{name}: the graph for infrared images, which queries need; visible ones have another", soft_wrap=True
        )
    if to.suffix == ".zip":
        console.print(f"on the device: unzip {to.name}, then see README.txt in {to.stem}/", soft_wrap=True)
    else:
        console.print(f"copy {to} to the device, then see README.txt in it", soft_wrap=True)


def _bundle_table(result: bundles.Bundled, to: Path) -> Table:
    table = Table(title=f"{to}: {result.size_bytes / 1e6:.1f} MB")
    table.add_columns("model", "weights", "MB", "mAP %", text=("weights",), wrap=("model",))
    for model in result.models:
        known = model.accuracy[0] if model.accuracy else None
        table.add_row(
            model.name,
            "initial" if model.run is None else f"fit {model.run}",
            f"{model.bytes / 1e6:.1f}",
            "not known" if known is None else f"{100 * known.mAP:.1f}",
        )
    shown = (model.accuracy[0] for model in result.models if model.accuracy)
    protocols = list(dict.fromkeys(known.protocol + known.note for known in shown))
    table.caption = f"mAP: {' | '.join(protocols)}" if protocols else ""
    return table
