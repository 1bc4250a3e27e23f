"""Arrays of other programs in ``.npz`` files: features under a rule or a whole protocol, images, loss terms.

Files are read piece by piece and checked, every fault named. For a protocol the file has a feature per image, matched
to the dataset by file name.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from vireid.core.config import parse
from vireid.core.errors import UserError, did_you_mean
from vireid.core.records import now
from vireid.core.types import Array, FloatArray, ImageIndex, IntArray
from vireid.data import DATASETS
from vireid.data.layout import Layout
from vireid.data.synthetic.config import read_card
from vireid.evaluation.compare import trials_of_table
from vireid.evaluation.evaluate import EvaluationResult, evaluate
from vireid.evaluation.feature_files import FeatureFile
from vireid.evaluation.features import FeatureResult, evaluate_set, read_feature_set
from vireid.evaluation.protocols import DIRECTION_WORDS, PROTOCOLS, CmcConvention, KReciprocal, ProtocolConfig, Split
from vireid.evaluation.trials import Trial, plan_trials
from vireid.experiment.reload import protocol_mapping
from vireid.experiment.scored import ScoredFeatures
from vireid.losses.terms import ARRAYS, evaluate_terms
from vireid.models.importers import IMPORTERS

_PER_ROW = ("labels", "infrared")  # one entry per image; all others are matrices
_ALIKE = (
    ("shared", "specific"),
    ("logits_shared", "logits_specific"),
    ("raw_logits", "purified_logits"),
    ("normed", "normed_purified"),
)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an .npz file written with numpy.savez")
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:  # encrypted, too
        raise UserError(
            f"{path}: not a readable .npz file ({error}); write it with numpy.savez(path, name=array)"
        ) from error


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an ``.npz`` file, which must fit in memory.

    Raises:
        UserError: no such file, or not an ``.npz`` file of plain arrays.
    """
    with _reading(path):
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise UserError(f"{path}: holds one bare array; name it: numpy.savez(path, name=array)")
        with content as file:
            return {name: file[name] for name in file.files}


class ImageArray:
    """Array ``images`` (N×3×H×W, floating, normalised) of an ``.npz`` file; one batch is in memory at a time."""

    def __init__(self, path: Path, name: str = "images") -> None:
        """Read the array's header.

        Raises:
            UserError: no such file or array, or an array of another shape or kind.
        """
        self.path, self.name = path, name
        with _reading(path), zipfile.ZipFile(path) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
            if name not in names:
                raise UserError(f"{path}: has no array '{name}'{did_you_mean(name, names)}")
            with archive.open(f"{name}.npy") as member:
                self.shape, self._fortran, self.dtype = _header(member)
        if len(self.shape) != 4 or self.shape[1] != 3 or 0 in self.shape:
            raise UserError(
                f"{path}: array '{name}' has shape {self.shape}; expected N×3×H×W, e.g. images.transpose(0, 3, 1, 2)"
            )
        if self.dtype.kind != "f":
            raise UserError(
                f"{path}: array '{name}' holds {self.dtype}; expected normalised float32 images: "
                "(pixels / 255 − mean) / deviation"
            )

    def batches(self, size: int) -> Iterator[FloatArray]:
        """Consecutive batches of at most ``size`` images, float32.

        Raises:
            UserError: the file ends early or is corrupt, or an image holds NaN or infinity.
        """
        first = 0
        for batch in self._pieces(size):
            finite = np.isfinite(batch).all(axis=(1, 2, 3))
            if not finite.all():
                image = first + int(np.argmin(finite))
                raise UserError(f"{self.path}: image {image} (from 0) of '{self.name}' holds NaN or infinity")
            first += len(batch)
            yield batch.astype(np.float32, copy=False)

    def _pieces(self, size: int) -> Iterator[Array]:
        with _reading(self.path):
            if self._fortran:  # images of a batch lie scattered over the file
                whole = np.load(self.path, allow_pickle=False)[self.name]
                yield from (whole[start : start + size] for start in range(0, len(whole), size))
                return
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as member:
                _header(member)
                pixels = int(np.prod(self.shape[1:]))
                for start in range(0, self.shape[0], size):
                    count = min(size, self.shape[0] - start)
                    data = member.read(count * pixels * self.dtype.itemsize)
                    yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an ``.npy`` stream, which is left at its data."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f".npy version {version}")
    return read(member)


_MODEL_OF_TERMS = "idkl"


def loss_terms_of_file(path: Path, arch: str) -> dict[str, float]:
    """Loss terms on the arrays of an ``.npz`` file, named as ``vireid.losses.terms.evaluate_terms`` lists them.

    The margin of the triplet terms is the architecture's.

    Raises:
        UserError: an architecture has other terms than IDKL; an array is missing, of another shape or kind or not
            finite; or the rows do not pair up.
    """
    config = IMPORTERS.load(arch)().config()
    if config.name != _MODEL_OF_TERMS:
        raise UserError(
            f"--arch {arch}: has other loss terms than IDKL, whose are evaluated here: --arch idkl or idkl_fork"
        )
    margin: float = config.margin
    arrays = read_arrays(path)
    for name in ARRAYS:
        if name not in arrays:
            raise UserError(f"{path}: has no array '{name}'{did_you_mean(name, arrays)}")
        _check(path, name, arrays)
    for first, second in _ALIKE:
        if arrays[first].shape != arrays[second].shape:
            raise UserError(
                f"{path}: arrays '{first}' {arrays[first].shape} and '{second}' {arrays[second].shape} differ in shape"
            )
    return evaluate_terms({**arrays, "infrared": arrays["infrared"].astype(bool)}, margin)


def _check(path: Path, name: str, arrays: Mapping[str, Array]) -> None:
    array, rows = arrays[name], arrays["labels"].shape[:1]
    if array.ndim != (1 if name in _PER_ROW else 2) or array.shape[:1] != rows or 0 in array.shape:
        expected = "B" if name in _PER_ROW else "B×C" if "logits" in name else "B×D"
        raise UserError(f"{path}: array '{name}' has shape {array.shape}; expected {expected}, B rows as in 'labels'")
    if name == "labels":
        valid, needs = array.dtype.kind in "iu", "identity numbers"
    elif name == "infrared":
        valid, needs = array.dtype.kind in "iub" and bool(np.isin(array, (0, 1)).all()), "True for infrared rows"
    else:
        valid, needs = array.dtype.kind == "f" and bool(np.isfinite(array).all()), "finite floats"
    if not valid:
        held = "NaN or infinity" if array.dtype.kind == "f" and needs == "finite floats" else str(array.dtype)
        raise UserError(f"{path}: array '{name}' must hold {needs}, not {held}")


@dataclass(frozen=True, slots=True)
class FileEvaluation:
    """What is asked of features files, so that two of them are asked the same."""

    title: str
    synthetic: bool  # whether the images are rendered
    evaluate: Callable[[Path], list[FeatureResult]]  # plain, then re-ranked where asked for
    score: Callable[[Path], ScoredFeatures] | None = None  # the same with all that a record keeps; None under a rule


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
    configs = [config]
    if reranking is not None:
        configs.append(parse(ProtocolConfig, {**config.model_dump(), "reranking": reranking}, "--rerank"))

    def results(path: Path) -> list[EvaluationResult]:
        features = _features_of(path, index, plan_trials(config, index, permutations, listed), config.name)
        return [evaluate(features, index, c, permutations, listed=listed, split=split, top_k=0) for c in configs]

    def run(path: Path) -> list[FeatureResult]:
        return [feature_result(result) for result in results(path)]

    def score(path: Path) -> ScoredFeatures:
        started = now()
        pairs = tuple(zip(configs, results(path), strict=True))
        return ScoredFeatures(path, _content(path, index), layout, index, split, pairs, started)

    title = [config.name, config.mode, DIRECTION_WORDS[config.direction]]
    title += [f"{config.shots}-shot"] if config.shots else []
    return FileEvaluation(" · ".join([*title, split]), read_card(root) is not None, run, score)


def feature_result(result: EvaluationResult) -> FeatureResult:
    """The result of a protocol as that of features alone."""
    return FeatureResult(result.metrics, tuple(trials_of_table(result.per_query)), result.card)


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


def _content(path: Path, index: ImageIndex) -> str:
    """SHA-256 of the features of the index's images by path, type and values; order, other images and wrapping aside.

    The file is one that ``_features_of`` has read.
    """
    file = FeatureFile(path)
    features = file.require("features", "the features, one row per image")
    rows = _rows_by_path(file.require("paths", "the image of every row"), index, path)
    digest = hashlib.sha256(f"{features.dtype.name} {features.shape[1]}".encode())
    for image in sorted(np.flatnonzero(rows >= 0).tolist(), key=lambda image: index.paths[image]):
        digest.update(f"\n{index.paths[image]}\n".encode())
        digest.update(np.ascontiguousarray(features[rows[image]]).tobytes())
    return digest.hexdigest()


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
