"""``vireid evaluate``: own features under a rule or a whole protocol, a finished fit, or two of either compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app
from vireid.cli.options import given, refuse, root_option
from vireid.cli.show import console, evaluation_table, protocol_label
from vireid.core.errors import UserError

if TYPE_CHECKING:
    from vireid.evaluation.features import FeatureResult

BY_RULE, BY_PROTOCOL = "A features file under a rule", "A features file under a whole protocol"
EITHER = "Any features file"
# Options by what they belong to; one that would be ignored is refused.
OF_RULE = ("rule", "cmc", "query_cam_array")
OF_PROTOCOL = ("protocol", "mode", "direction", "shots", "trials", "split", "regdb_split")
OF_RERANKING = ("variant", "k1", "k2", "weight", "search")
OF_FILES = (*OF_RULE, *OF_PROTOCOL, "normalize", "rerank", *OF_RERANKING)
FLAGS = {"weight": "--lambda"}
SYNTHETIC = "synthetic images: not comparable with published results"


@app.command()
def evaluate(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FEATURES.npz|RUN]",
            help="A features file (docs/evaluate.md), or the id of a fit (`vireid results list`).",
            show_default=False,
        ),
    ] = None,
    protocols: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROTOCOL]...",
            help="With RUN: protocols as in a config, e.g. '{name: sysu/official, mode: indoor, shots: 10}'; "
            "those of the fit's dataset when none is given.",
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="Gallery images left out: none; sysu (camera 2 for queries of camera 3); same-id-same-cam (those of "
            "the query's identity and camera).",
            metavar="none|sysu|same-id-same-cam",
            rich_help_panel=BY_RULE,
            show_default=False,
        ),
    ] = "",
    cmc: Annotated[
        Literal["dedup", "plain"] | None,
        typer.Option(
            help="Count one image per identity or all; as the rule's dataset does by default.", rich_help_panel=BY_RULE
        ),
    ] = None,
    query_cam_array: Annotated[
        str, typer.Option(metavar="NAME", help="Array with the queries' cameras.", rich_help_panel=BY_RULE)
    ] = "query_cam",
    protocol: Annotated[
        str,
        typer.Option(
            help="A name such as sysu/official, or '{name: …}'; the file holds features and paths. Needs --root.",
            rich_help_panel=BY_PROTOCOL,
            show_default=False,
        ),
    ] = "",
    root: Annotated[
        Path | None, typer.Option("--root", help="Where the dataset lies (of --protocol, or of RUN).")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="all or indoor.", rich_help_panel=BY_PROTOCOL)] = None,
    direction: Annotated[str | None, typer.Option(help="i2v, v2i, v2t or t2v.", rich_help_panel=BY_PROTOCOL)] = None,
    shots: Annotated[
        int | None, typer.Option(help="Gallery images per identity and camera.", rich_help_panel=BY_PROTOCOL)
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Random galleries.", rich_help_panel=BY_PROTOCOL)] = None,
    split: Annotated[
        Literal["test", "dev"], typer.Option(help="Test or held-out training identities.", rich_help_panel=BY_PROTOCOL)
    ] = "test",
    regdb_split: Annotated[
        int | None, typer.Option(help="Of regdb/…: 1 to 10, 1 by default.", rich_help_panel=BY_PROTOCOL)
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            help="L2-normalise rows and rank by cosine, or rank raw rows by Euclidean distance; with --protocol as it "
            "says by default.",
            rich_help_panel=EITHER,
        ),
    ] = True,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Re-rank as well (k-reciprocal encoding).", rich_help_panel=EITHER)
    ] = False,
    variant: Annotated[
        Literal["zhong", "query-only"],
        typer.Option(help="Where --rerank looks for neighbours: all images, or queries alone.", rich_help_panel=EITHER),
    ] = "zhong",
    k1: Annotated[int, typer.Option(help="Of --rerank: neighbours.", rich_help_panel=EITHER)] = 20,
    k2: Annotated[int, typer.Option(help="Of --rerank: neighbours averaged.", rich_help_panel=EITHER)] = 6,
    weight: Annotated[
        float, typer.Option("--lambda", help="Of --rerank: weight of the original distance.", rich_help_panel=EITHER)
    ] = 0.3,
    search: Annotated[
        Literal["exact", "faiss-exact", "faiss-ivf", "faiss-ivfpq"],
        typer.Option(help="Of --rerank: who finds neighbours; faiss for large galleries.", rich_help_panel=EITHER),
    ] = "exact",
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two features files, or two runs: B − A with an interval over identities."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON (fractions) instead of a table; with --rerank of the re-ranked.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Evaluate your own features, or a finished fit under further protocols; nothing is trained again.

    vireid evaluate features.npz --rule sysu --rerank

    vireid evaluate images.npz --protocol sysu/official --root /data/SYSU-MM01

    vireid evaluate --compare a.npz b.npz --rule sysu

    vireid evaluate RUN '{name: sysu/official, mode: indoor}'
    """
    names = list(compare) if compare else [target] if target else []
    if not names:
        raise UserError("nothing to evaluate: give a features file or a run id; `vireid evaluate --help` shows both")
    if compare and target:
        raise UserError(f"--compare takes both names itself; leave out '{target}'")
    if not any(name.endswith(".npz") or Path(name).is_file() for name in names):
        hint = "belongs to a features file (FEATURES.npz); a run takes protocols: '{name: …, reranking: {name: zhong}}'"
        refuse(ctx, OF_FILES, hint, FLAGS)
        if compare:
            _compare_runs(*compare, store, as_json)
        else:
            _evaluate_run(names[0], protocols or [], root, store, as_json)
        return
    if protocols:
        raise UserError(f"'{protocols[0]}': with a features file give it as --protocol '{protocols[0]}'")
    if bool(rule) == bool(protocol):
        raise UserError(
            "a features file needs either --rule none|sysu|same-id-same-cam (arrays query, gallery, query_id, …) or "
            "--protocol NAME --root DIR (arrays features, paths)"
        )
    refuse(
        ctx,
        ("root", *OF_PROTOCOL) if rule else OF_RULE,
        f"works with {'--protocol' if rule else '--rule'} only; leave it out",
    )
    if not rerank:
        refuse(ctx, OF_RERANKING, "works with --rerank only; add --rerank, or leave it out", FLAGS)

    from vireid.cli.show_features import metrics_table
    from vireid.external.features import by_rule, reranking_config

    again = reranking_config(variant, k1, k2, weight, search) if rerank else None
    if rule:
        files = by_rule(rule, again, cmc=cmc, normalise=normalize, query_cam=query_cam_array)
    else:
        from vireid.external.protocols import by_protocol

        choices = {"mode": mode, "direction": direction, "shots": shots, "trials": trials}
        choices["normalise"] = normalize if given(ctx, "normalize") else None
        files = by_protocol(protocol, choices, root, again, split=split, number=regdb_split)
    results = [files.evaluate(Path(name)) for name in names]
    notes = [SYNTHETIC] if files.synthetic else []
    if compare:
        _print_file_comparison(files.title, names, results, notes, as_json)
    elif as_json:
        _print_json(results[0][-1].summary())
    else:
        console.print(metrics_table(f"{names[0]} · {files.title}", results[0], notes))


def _print_file_comparison(
    title: str, names: list[str], results: list[list[FeatureResult]], notes: list[str], as_json: bool
) -> None:
    from vireid.cli.show_features import comparison_json, comparison_table, reranking_words

    for first, second in zip(*results, strict=True):
        if as_json and first is not results[0][-1]:
            continue
        differences = second.minus(first)
        if as_json:
            sizes = {"queries": first.queries, "valid_queries": first.valid_queries}
            _print_json(comparison_json(first.metrics, second.metrics, differences) | sizes)
            continue
        words = f"{title} · {reranking_words(first.settings)}"
        sides = ((names[0], first.metrics), (names[1], second.metrics))
        console.print(comparison_table(words, *sides, differences, notes))


def _compare_runs(first: str, second: str, place: Path, as_json: bool) -> None:
    from vireid.cli.show_features import comparison_json, comparison_table
    from vireid.experiment.compare import compare_runs
    from vireid.store import Store

    found = compare_runs(Store(place), first, second)
    if as_json:
        _print_json(
            [{"protocol": c.card, **comparison_json(c.first.metrics, c.second.metrics, c.differences)} for c in found]
        )
        return
    for comparison in found:
        first_side, second_side = ((f"run {e.fit}", e.metrics) for e in (comparison.first, comparison.second))
        notes = [SYNTHETIC] if comparison.first.data_kind == "synthetic" else []
        title = protocol_label(comparison.card)
        console.print(comparison_table(title, first_side, second_side, comparison.differences, notes))


def _evaluate_run(run: str, protocols: list[str], root: Path | None, place: Path, as_json: bool) -> None:
    from vireid.experiment.evaluate import evaluate_step
    from vireid.experiment.progress import bars
    from vireid.experiment.reload import config_of_fit
    from vireid.store import Store

    store = Store(place)
    store.prepare()
    settings = config_of_fit(store.find(run), protocols, root, store)
    with root_option(run), bars() as progress:
        evaluations = evaluate_step(settings, store, progress)
    if as_json:
        _print_json([{"id": e.id, "protocol": e.protocol, **e.metrics} for e in evaluations])
        return
    console.print(evaluation_table(evaluations))


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
