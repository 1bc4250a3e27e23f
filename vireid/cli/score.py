"""``vireid score``: features of your own under a rule or a whole protocol; ``vireid compare``: two systems, paired."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from vireid.cli import DEFAULT_STORE, StoreOption, app, given, opened, refuse, show, writable
from vireid.core.errors import UserError

if TYPE_CHECKING:
    from vireid.core.records import EvaluationRecord
    from vireid.evaluation.features import FeatureResult
    from vireid.external.features import FileEvaluation

BY_RULE, BY_PROTOCOL = "A features file under a rule", "A features file under a whole protocol"
EITHER = "Any features file"
KEPT = "A record, to stand beside fits of the suite"
# Options by what they belong to; one that would be ignored is refused.
OF_RULE = ("rule", "cmc", "query_cam_array")
OF_PROTOCOL = ("protocol", "root", "mode", "direction", "shots", "trials", "split", "regdb_split")
OF_RERANKING = ("variant", "k1", "k2", "weight", "search")
OF_RECORDS = ("citation", "paper", "test_time", "store")  # of `--method`, which keeps a record
OF_FILES = (*OF_RULE, *OF_PROTOCOL, "normalize", "rerank", *OF_RERANKING)
FLAGS = {"weight": "--lambda"}
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON (fractions) instead of a table; with --rerank of the re-ranked.")
]


@dataclass(frozen=True)
class Options:
    """How features files are read, as ``score`` and ``compare`` ask for it."""

    rule: Annotated[
        str,
        typer.Option(
            help="Gallery images left out: none; sysu (camera 2 for queries of camera 3); same-id-same-cam (those of "
            "the query's identity and camera).",
            metavar="none|sysu|same-id-same-cam",
            rich_help_panel=BY_RULE,
            show_default=False,
        ),
    ] = ""
    cmc: Annotated[
        Literal["dedup", "plain"] | None,
        typer.Option(
            help="Count one image per identity or all; as the rule's dataset does by default.", rich_help_panel=BY_RULE
        ),
    ] = None
    query_cam_array: Annotated[
        str, typer.Option(metavar="NAME", help="Array with the queries' cameras.", rich_help_panel=BY_RULE)
    ] = "query_cam"
    protocol: Annotated[
        str,
        typer.Option(
            help="A name such as sysu/official, or '{name: …}'; the file holds features and paths. Needs --root.",
            rich_help_panel=BY_PROTOCOL,
            show_default=False,
        ),
    ] = ""
    root: Annotated[
        Path | None, typer.Option("--root", help="Where the dataset lies.", rich_help_panel=BY_PROTOCOL)
    ] = None
    mode: Annotated[str | None, typer.Option(help="all or indoor.", rich_help_panel=BY_PROTOCOL)] = None
    direction: Annotated[
        str | None, typer.Option(help="i2v, v2i, v2t, t2v; i2m, v2m, t2m.", rich_help_panel=BY_PROTOCOL)
    ] = None
    shots: Annotated[
        int | None, typer.Option(help="Gallery images per identity and camera.", rich_help_panel=BY_PROTOCOL)
    ] = None
    trials: Annotated[int | None, typer.Option(help="Random galleries.", rich_help_panel=BY_PROTOCOL)] = None
    split: Annotated[
        Literal["test", "dev"], typer.Option(help="Test or held-out training identities.", rich_help_panel=BY_PROTOCOL)
    ] = "test"
    regdb_split: Annotated[
        int | None, typer.Option(help="Of regdb/…: 1 to 10, 1 by default.", rich_help_panel=BY_PROTOCOL)
    ] = None
    normalize: Annotated[
        bool,
        typer.Option(
            help="L2-normalise rows and rank by cosine, or rank raw rows by Euclidean distance; with --protocol as it "
            "says by default.",
            rich_help_panel=EITHER,
        ),
    ] = True
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Re-rank as well (k-reciprocal encoding).", rich_help_panel=EITHER)
    ] = False
    variant: Annotated[
        Literal["zhong", "query-only"],
        typer.Option(help="Where --rerank looks for neighbours: all images, or queries alone.", rich_help_panel=EITHER),
    ] = "zhong"
    k1: Annotated[int, typer.Option(help="Of --rerank: neighbours.", rich_help_panel=EITHER)] = 20
    k2: Annotated[int, typer.Option(help="Of --rerank: neighbours averaged.", rich_help_panel=EITHER)] = 6
    weight: Annotated[
        float, typer.Option("--lambda", help="Of --rerank: weight of the original distance.", rich_help_panel=EITHER)
    ] = 0.3
    search: Annotated[
        Literal["exact", "faiss-exact", "faiss-ivf", "faiss-ivfpq"],
        typer.Option(help="Of --rerank: who finds neighbours; faiss for large galleries.", rich_help_panel=EITHER),
    ] = "exact"


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``Options`` to a command, which gets them as one: typer reads signatures alone."""
    names = [field.name for field in fields(Options)]
    hints = get_type_hints(Options, include_extras=True)
    parameters = inspect.signature(command, eval_str=True).parameters
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(Options, name), annotation=hints[name])
        for name in names
    ]

    @functools.wraps(command)
    def called(**values: Any) -> None:
        options = Options(**{name: values.pop(name) for name in names})
        command(options=options, **values)

    kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters.values()]
    signature = inspect.Signature([*(p for p in kept if p.name != "options"), *added])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return called


@app.command()
@_with_options
def score(
    ctx: typer.Context,
    options: Options,
    features: Annotated[Path, typer.Argument(metavar="FEATURES.npz", help="See docs/evaluate.md.")],
    method: Annotated[
        str | None,
        typer.Option(help="Whose features: keeps the score in the store. With --protocol.", rich_help_panel=KEPT),
    ] = None,
    citation: Annotated[
        str | None, typer.Option(help="Of --method: the work, as a report prints it.", rich_help_panel=KEPT)
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            metavar="BIBKEY", help="Of --method: key in results/published/references.bib.", rich_help_panel=KEPT
        ),
    ] = None,
    test_time: Annotated[
        Literal["none", "flip"],
        typer.Option(help="Of --method: flip where rows join image and mirror image.", rich_help_panel=KEPT),
    ] = "none",
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Score features of your own, in .npz files that any program wrote, under a rule or a whole protocol.

    vireid score features.npz --rule sysu --rerank

    vireid score images.npz --protocol sysu/official --root /data/SYSU-MM01

    vireid score images.npz --protocol sysu/official --root … --method ADCA --citation "Yang et al., ACM MM 2022"
    """
    if not _is_file(str(features)):
        _refuse_files(ctx)
        raise UserError(f"'{features}' is no features file; `vireid evaluate` takes the id of a run")
    if method is None:
        refuse(ctx, OF_RECORDS, "works with --method only, which keeps a record; add --method, or leave it out")
    files = _file_evaluation(ctx, options)
    records: list[EvaluationRecord] = []
    if method is None:
        results = files.evaluate(features)
    else:
        results, records = _keep(files, features, store, method, citation, paper, test_time)
    if as_json:
        kept_as = {"fit": records[-1].fit, "evaluation": records[-1].id} if records else {}
        _print_json(results[-1].summary() | kept_as)
        return
    notes = [show.SYNTHETIC] if files.synthetic else []
    show.console.print(show.metrics_table(f"{features} · {files.title}", results, notes))
    if records:
        kept = ", ".join(f"evaluation {record.id}" for record in records)
        show.console.print(f"kept as fit {records[0].fit}, {kept}: {store / 'runs'}", soft_wrap=True)


def _keep(
    files: FileEvaluation,
    features: Path,
    store: Path,
    method: str,
    citation: str | None,
    paper: str | None,
    test_time: Literal["none", "flip"],
) -> tuple[list[FeatureResult], list[EvaluationRecord]]:
    """Score a features file and keep the scores under the name of its method.

    Raises:
        UserError: no citation, an unknown paper, or a rule, which does not say which images they are.
    """
    from vireid.experiment.scored import keep_scores, source_of
    from vireid.external.features import feature_result

    source = source_of(method, citation, paper)
    if files.score is None:
        raise UserError("--method works with --protocol only: a rule does not say which images the features are of")
    scored = files.score(features)
    records = keep_scores(writable(store), scored, source, test_time)
    return [feature_result(result) for _, result in scored.results], records


@app.command()
@_with_options
def compare(
    ctx: typer.Context,
    options: Options,
    first: Annotated[str, typer.Argument(metavar="A", help="A features file, or the id of a run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The other.")],
    as_json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Compare two systems query by query: B − A, with an interval over identities.

    vireid compare a.npz b.npz --rule sysu

    vireid compare RUN_A RUN_B
    """
    if _is_file(first) or _is_file(second):
        _compare_files(_file_evaluation(ctx, options), first, second, as_json)
    else:
        _refuse_files(ctx)
        _compare_runs(first, second, store, as_json)


def _is_file(name: str) -> bool:
    return name.endswith(".npz") or Path(name).is_file()


def _refuse_files(ctx: typer.Context) -> None:
    hint = "belongs to a features file (FEATURES.npz); a run takes protocols: '{name: …, reranking: {name: zhong}}'"
    refuse(ctx, OF_FILES, hint, FLAGS)


def _file_evaluation(ctx: typer.Context, options: Options) -> FileEvaluation:
    """What is asked of features files; options that contradict each other or would be ignored are refused."""
    rule, protocol = options.rule, options.protocol
    if bool(rule) == bool(protocol):
        raise UserError(
            "a features file needs either --rule none|sysu|same-id-same-cam (arrays query, gallery, query_id, …) or "
            "--protocol NAME --root DIR (arrays features, paths)"
        )
    refuse(ctx, OF_PROTOCOL if rule else OF_RULE, f"works with {'--protocol' if rule else '--rule'} only; leave it out")
    if not options.rerank:
        refuse(ctx, OF_RERANKING, "works with --rerank only; add --rerank, or leave it out", FLAGS)

    from vireid.external.features import by_protocol, by_rule, reranking_config

    again = None
    if options.rerank:
        again = reranking_config(options.variant, options.k1, options.k2, options.weight, options.search)
    if rule:
        return by_rule(rule, again, cmc=options.cmc, normalise=options.normalize, query_cam=options.query_cam_array)
    choices = {name: getattr(options, name) for name in ("mode", "direction", "shots", "trials")}
    choices["normalise"] = options.normalize if given(ctx, "normalize") else None
    return by_protocol(protocol, choices, options.root, again, split=options.split, number=options.regdb_split)


def _compare_files(files: FileEvaluation, first: str, second: str, as_json: bool) -> None:
    notes = [show.SYNTHETIC] if files.synthetic else []
    pairs = list(zip(files.evaluate(Path(first)), files.evaluate(Path(second)), strict=True))
    if as_json:
        one, other = pairs[-1]
        sizes = {"queries": one.queries, "valid_queries": one.valid_queries}
        _print_json(show.comparison_json(one.metrics, other.metrics, other.minus(one)) | sizes)
        return
    for one, other in pairs:
        title = f"{files.title} · {show.reranking_label(one.settings['reranking'])}"
        show.console.print(
            show.comparison_table(title, (first, one.metrics), (second, other.metrics), other.minus(one), notes)
        )


def _compare_runs(first: str, second: str, store: Path, as_json: bool) -> None:
    from vireid.experiment.compare import compare_runs

    comparisons = compare_runs(opened(store), first, second)
    if as_json:
        _print_json(
            [
                {
                    "protocol": c.card,
                    **({} if c.selections is None else {"selection": c.selections}),
                    **show.comparison_json(c.first.metrics, c.second.metrics, c.differences),
                }
                for c in comparisons
            ]
        )
        return
    for comparison in comparisons:
        pair = (comparison.first, comparison.second)
        sides = [(f"run {e.fit}" + (f", {e.source.method}" if e.source.method else ""), e.metrics) for e in pair]
        notes = [show.SYNTHETIC] if comparison.first.data_kind == "synthetic" else []
        if comparison.selections is not None:
            notes.append("weights chosen: first {}; second {}".format(*comparison.selections))
        title = show.protocol_label(comparison.first.card)
        show.console.print(show.comparison_table(title, sides[0], sides[1], comparison.differences, notes))


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
