"""Commands that compare with public implementations: import a checkpoint, evaluate loss terms on given arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vireid.cli import app
from vireid.cli.show import console
from vireid.core.messages import Table

if TYPE_CHECKING:
    from vireid.models.importers.load import Imported

ArchOption = Annotated[str, typer.Option("--arch", help="Public implementation: idkl, idkl_fork, agw or iv_reid.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="State dict of the public code (.pth or .safetensors).")],
    arch: ArchOption,
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory for the model's weights and its model.json.")
    ] = None,
    embed: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--embed",
            metavar="IN.npz OUT.npz",
            help="Embed array 'images' (N×3×H×W, normalised) of IN into array 'embedding' (N×2048) of OUT: the test "
            "feature after its neck, not L2-normalised. Array 'modality' (N; 0 visible, 1 infrared) for agw.",
        ),
    ] = None,
) -> None:
    """Read a public implementation's checkpoint strictly, say what it holds, and keep or run it as our model."""
    from vireid.external.checkpoints import embed_file, save_imported
    from vireid.models.importers.load import import_state

    imported = import_state(file, arch)
    console.print(_summary(imported, file, arch))
    if output is not None:
        save_imported(imported, file, arch, output)
        console.print(f"model: {output}", soft_wrap=True)
    if embed is not None:
        count, width = embed_file(imported.model, *embed)
        console.print(f"{count} embeddings of {width} values: {embed[1]}", soft_wrap=True)


@app.command("loss-terms")
def loss_terms(
    file: Annotated[Path, typer.Argument(help="Arrays: labels, infrared, features and logits (.npz).")],
    arch: ArchOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Evaluate the loss terms of an architecture on given arrays, to compare with another implementation."""
    from vireid.external.losses import loss_terms_of_file

    terms = loss_terms_of_file(file, arch)
    if as_json:
        typer.echo(json.dumps(terms, indent=1))
        return
    table = Table(title=f"Loss terms of {arch}, unweighted")
    table.add_column("term")
    table.add_column("value", justify="right")
    for name, value in terms.items():
        table.add_row(name, f"{value:.8g}")
    console.print(table)


def _summary(imported: Imported, file: Path, arch: str) -> Table:
    """Parameters of the file by role, and what of it never runs."""
    table = Table(title=f"{file.name}: {arch}, {imported.num_classes} classes")
    table.add_column("part")
    table.add_column("parameters", justify="right")
    for role, count in imported.parameters.items():
        table.add_row(role.replace("_", "-"), f"{count:,}", end_section=role == "dead")
    for part, count in imported.dead.items():
        table.add_row(f"dead: {part}", f"{count:,}")
    total = sum(imported.parameters.values())
    table.caption = f"{total / 1e6:.1f} M in all; dead: never run, or never trained"
    return table
