"""Features that any program wrote, in ``.npz`` files: query and gallery arrays under a rule, or a whole protocol.

For a protocol the file has a feature per image, matched to the dataset by file name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.config import parse
from vireid.core.errors import UserError, did_you_mean
from vireid.core.types import FloatArray, ImageIndex, IntArray
from vireid.data import DATASETS
from vireid.data.layout import Layout
from vireid.data.synthetic.card import read_card
from vireid.evaluation.compare import trials_of_table
from vireid.evaluation.config import CmcConvention, KReciprocal
from vireid.evaluation.evaluate import evaluate
from vireid.evaluation.feature_files import FeatureFile
from vireid.evaluation.features import FeatureResult, evaluate_set, read_feature_set
from vireid.evaluation.protocols import DIRECTION_WORDS, PROTOCOLS, ProtocolConfig, Split
from vireid.evaluation.trials import Trial, plan_trials
from vireid.experiment.reload import protocol_mapping


@dataclass(frozen=True, slots=True)
class FileEvaluation:
    """What is asked of features files, so that two of them are asked the same."""

    title: str
    synthetic: bool  # whether the images are rendered
    evaluate: Callable[[Path], list[FeatureResult]]  # plain, then re-ranked where asked for


def by_rule(
    rule: str,
    reranking: KReciprocal | None = None,
    *,
    cmc: CmcConvention | None = None,
    normalise: bool = True,
    query_cam: str = "query_cam",
) -> FileEvaluation:
    """Query and gallery arrays under a rule; see ``vireid.evaluation.features``."""

    def run(path: Path) -> list[FeatureResult]:
        features = read_feature_set(path, rule, query_cam=query_cam)
        kinds = [None] if reranking is None else [None, reranking]
        return [evaluate_set(features, cmc, normalise, kind) for kind in kinds]

    return FileEvaluation(f"rule {rule}", False, run)


def reranking_config(variant: str, k1: int, k2: int, weight: float, search: str = "exact") -> KReciprocal:
    """Validate the parameters of a re-ranking."""
    settings = {"name": variant, "k1": k1, "k2": k2, "lambda_value": weight, "search": search}
    return parse(KReciprocal, settings, "--rerank")


def by_protocol(
    protocol: str,
    choices: Mapping[str, Any],
    root: Path | None,
    reranking: KReciprocal | None = None,
    *,
    split: Split = "test",
    number: int | None = None,
) -> FileEvaluation:
    """Per-image features under a whole protocol.

    Args:
        protocol: a name, or a YAML mapping with its choices.
        choices: mode, direction, shots, trials, normalise; those that are not None win over the mapping's.
        root: where the dataset lies.
        reranking: re-rank as well.
        split: test identities, or held-out training identities.
        number: which of RegDB's ten splits; 1 by default.

    Raises:
        UserError: an unknown protocol or choice, or a root that does not hold its dataset.
    """
    config = _protocol(protocol, choices)
    if root is None:
        raise UserError(f"--protocol {config.name} needs --root, the folder of the dataset")
    if reranking is not None and config.reranking.name != "none":
        raise UserError(f"--protocol {protocol} names its re-ranking itself; leave --rerank out")
    if config.name == "regdb/split1" and number not in (None, 1):
        raise UserError(f"--regdb-split {number}: regdb/split1 is the first split; evaluate under regdb/10split")
    layout = official_layout(config.name.partition("/")[0], root, number)
    index = layout.evaluation(split)
    listed = layout.test_list() if config.spec.listed and split == "test" else None
    permutations = layout.permutations()
    configs = [config] if reranking is None else [config, config.model_copy(update={"reranking": reranking})]

    def run(path: Path) -> list[FeatureResult]:
        features = _features_of(path, index, plan_trials(config, index, permutations, listed), config.name)
        results = [evaluate(features, index, c, permutations, listed=listed, split=split, top_k=0) for c in configs]
        return [FeatureResult(r.metrics, tuple(trials_of_table(r.per_query)), r.card) for r in results]

    title = [config.name, config.mode, DIRECTION_WORDS[config.direction]]
    title += [f"{config.shots}-shot"] if config.shots else []
    return FileEvaluation(" · ".join([*title, split]), read_card(root) is not None, run)


def _protocol(text: str, choices: Mapping[str, Any]) -> ProtocolConfig:
    given = protocol_mapping(text)
    if not isinstance(given, Mapping) or given.get("name") not in PROTOCOLS:
        name = str(given.get("name") if isinstance(given, Mapping) else text)
        raise UserError(f"--protocol {text}: unknown protocol '{name}'{did_you_mean(name, PROTOCOLS)}")
    chosen = {key: value for key, value in choices.items() if value is not None}
    return parse(ProtocolConfig, {**given, **chosen}, "--protocol")


def official_layout(dataset: str, root: Path, regdb_split: int | None = None) -> Layout:
    """The layout of a dataset by its name; ``regdb_split`` is one of RegDB's ten.

    Raises:
        UserError: a split of a dataset that has one alone, or a root that does not hold the dataset.
    """
    if regdb_split is not None and dataset != "regdb":
        raise UserError(f"--regdb-split {regdb_split}: {dataset} has one official split; leave the option out")
    layout_class = DATASETS.load(dataset)
    settings = {"name": dataset} | ({} if regdb_split is None else {"split": regdb_split})
    layout: Layout = layout_class(parse(layout_class.Config, settings, "--regdb-split"), root)
    return layout


def _features_of(path: Path, index: ImageIndex, trials: Sequence[Trial], protocol: str) -> FloatArray:
    """Per-image features in the order of the index; images that the protocol does not look at stay zero.

    The file holds ``features`` (N×D, raw) and ``paths`` (N texts, relative to the root), in any order; it may hold more
    images than the protocol needs.
    """
    file = FeatureFile(path)
    features = file.require("features", "the features, one row per image")
    paths = file.require("paths", f"the image of every row, relative to the dataset's root: '{index.paths[0]}' …")
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: array 'features' is {features.dtype} of shape {features.shape}; write a matrix of real numbers, "
            "one row per image"
        )
    if paths.shape != (len(features),) or paths.dtype.kind not in "US":
        raise UserError(
            f"{path}: array 'paths' is {paths.dtype} of shape {paths.shape}, but 'features' has {len(features)} rows; "
            "write one text per row: np.array(list_of_paths)"
        )
    rows = _rows_by_path(paths, index, path)
    needed = np.unique(np.concatenate([part for trial in trials for part in (trial.query, trial.gallery)]))
    missing = [index.paths[row] for row in needed[rows[needed] < 0]]
    if missing:
        examples = ", ".join(f"'{name}'" for name in missing[:3])
        named = f" (the file names, for example, '{_clean(paths[0], index.root)}')" if len(paths) else ""
        raise UserError(
            f"{path}: {len(missing)} of the {len(needed)} images that {protocol} needs have no features, such as "
            f"{examples}{named}; write features of every image, with paths relative to {index.root}"
        )
    dtype = features.dtype if features.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    aligned = np.zeros((len(rows), features.shape[1]), dtype=dtype)
    aligned[needed] = features[rows[needed]]
    return aligned


def _rows_by_path(paths: np.ndarray[Any, Any], index: ImageIndex, file: Path) -> IntArray:
    """Row of each image of the index in the file, −1 where it has none."""
    names = [_clean(name, index.root) for name in paths]
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        repeated = next(name for row, name in enumerate(names) if row_of[name] != row)
        raise UserError(f"{file}: array 'paths' names '{repeated}' more than once; write one row per image")
    return np.array([row_of.get(name, -1) for name in index.paths], dtype=np.int64)


def _clean(name: Any, root: Path) -> str:
    """A path as the layout writes it: forward slashes, relative to the root."""
    text = (name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)).replace("\\", "/")
    return text.removeprefix(f"{root.as_posix().rstrip('/')}/").removeprefix("./")
