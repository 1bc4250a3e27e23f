"""Evaluation protocols as data: what a name stands for, the configuration that picks one, and its card. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vireid.core.config import Strict
from vireid.core.types import Modality

CameraRule = Literal["none", "sysu", "same_id_same_cam"]
CmcConvention = Literal["dedup", "plain"]
Variant = Literal["zhong", "query-only"]
Search = Literal["exact", "faiss-exact", "faiss-ivf", "faiss-ivfpq"]


class NoReranking(Strict):
    """Rank by the scores as they are."""

    name: Literal["none"] = "none"


class KReciprocal(Strict):
    """Re-ranking parameters, the paper's by default."""

    name: Variant
    k1: int = 20
    """Neighbours that may be reciprocal."""
    k2: int = 6
    """Neighbours whose encodings are averaged; 1 leaves them as they are."""
    lambda_value: float = 0.3
    """Weight of the original distance against the Jaccard distance."""
    search: Search = "exact"
    """Who finds the neighbours; faiss needs the extra, and only its exact kind finds them all."""

    @property
    def card_entry(self) -> dict[str, Any]:
        """Variant and parameters as protocol cards name them."""
        named = {"name": self.name, "k1": self.k1, "k2": self.k2, "lambda": self.lambda_value}
        return named if self.search == "exact" else {**named, "search": self.search}


ProtocolName = Literal[
    "sysu/official",
    "sysu/seeded",
    "regdb/10split",
    "regdb/split1",
    "llcm/sampled",
    "llcm/deen-released",
    "llcm/full",
]
Mode = Literal["all", "indoor"]
Direction = Literal["i2v", "v2i", "v2t", "t2v"]
Sampling = Literal["permutation", "seeded", "everything"]
Split = Literal["test", "dev"]
Text = Literal["none", "query", "oracle"]

DIRECTION_WORDS: Mapping[str, str] = {
    "i2v": "infrared→visible",
    "v2i": "visible→infrared",
    "v2t": "visible→thermal",
    "t2v": "thermal→visible",
}
SWAPPED_WORDS = " as released (sampled images are the queries, all others the gallery)"
_SIDES = {"i": Modality.INFRARED, "t": Modality.INFRARED, "v": Modality.VISIBLE}


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """What a protocol's name stands for; the first of several choices is the default.

    ``cameras`` gives the gallery cameras of each mode (None: every camera). ``sampling`` tells how the gallery images
    of an (identity, camera) are drawn: from the data set's permutation file, by one seeded generator per trial, or not
    at all. ``shots`` counts images per (identity, camera); None is every image. ``swapped`` names directions in which
    the sampled images are ranked *for* instead of ranked: query and gallery change places after sampling. ``listed``
    keeps only the images that the data set's test lists name.
    """

    rule: CameraRule
    directions: tuple[Direction, ...]
    sampling: Sampling
    cmc: tuple[CmcConvention, ...] = ("dedup",)
    cameras: Mapping[Mode, tuple[int, ...] | None] = field(default_factory=lambda: {"all": None})
    shots: tuple[int | None, ...] = (1,)
    trials: int = 10
    normalise: bool = True
    swapped: tuple[Direction, ...] = ()
    listed: bool = False


_SYSU: Mapping[Mode, tuple[int, ...] | None] = {"all": (1, 2, 4, 5), "indoor": (1, 2)}

PROTOCOLS: Mapping[ProtocolName, ProtocolSpec] = {
    # Wu et al., ICCV 2017: rand_perm_cam.mat decides the gallery.
    "sysu/official": ProtocolSpec("sysu", ("i2v",), "permutation", cameras=_SYSU, shots=(1, 10)),
    # AGW, CAJ and DEEN draw the gallery themselves: other images, so other numbers.
    "sysu/seeded": ProtocolSpec("sysu", ("i2v",), "seeded", cameras=_SYSU),
    # One trial: each of the ten splits is its own training, and the mean over splits is taken over fits.
    "regdb/10split": ProtocolSpec("none", ("v2t", "t2v"), "everything", cmc=("plain",), shots=(None,), trials=1),
    # What the released code of MPANet (CVPR 2021) and IDKL (CVPR 2024) evaluates: they count CMC ``dedup``.
    "regdb/split1": ProtocolSpec("none", ("v2t", "t2v"), "everything", cmc=("plain", "dedup"), shots=(None,), trials=1),
    "llcm/sampled": ProtocolSpec("same_id_same_cam", ("i2v", "v2i"), "seeded"),
    # The released test of DEEN (CVPR 2023) and of its AGW: what it prints as visible→infrared ranks all visible images
    # for the sampled infrared ones.
    "llcm/deen-released": ProtocolSpec("same_id_same_cam", ("i2v", "v2i"), "seeded", swapped=("v2i",)),
    # The released code of IDKL: whole test lists, nothing removed, raw features.
    "llcm/full": ProtocolSpec(
        "none", ("i2v", "v2i"), "everything", shots=(None,), trials=1, normalise=False, listed=True
    ),
}


class ProtocolConfig(Strict):
    """A protocol and its choices; what is left out takes the protocol's default.

    A choice that the protocol does not offer is an error, never silently ignored.
    """

    name: ProtocolName
    mode: Mode = "all"
    direction: Direction = "i2v"
    shots: int | None = 1
    """Gallery images per identity and camera; null is every image."""
    trials: int = Field(default=10, ge=1)
    cmc: CmcConvention = "dedup"
    """``dedup``: one image per identity counts; plain: every image."""
    reranking: Annotated[NoReranking | KReciprocal, Field(discriminator="name")] = NoReranking()
    normalise: bool = True
    """``l2``: rank by cosine; otherwise by squared Euclidean distance of raw features."""
    text: Text = "none"
    """What is said of an infrared query. query: its own caption alone; oracle: a visible caption of the true
    identity."""
    captioner: str | None = None
    """Whose captions, such as Witness_IR; null: Blip_IR for query, Blip_RGB for oracle."""

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("name") not in PROTOCOLS:
            return data
        spec = PROTOCOLS[data["name"]]
        defaults = {
            "mode": next(iter(spec.cameras)),
            "direction": spec.directions[0],
            "shots": spec.shots[0],
            "trials": spec.trials,
            "cmc": spec.cmc[0],
            "normalise": spec.normalise,
        }
        return {**defaults, **data}

    @model_validator(mode="after")
    def _reject_what_is_not_offered(self) -> Self:
        spec = self.spec
        for key, offered in (
            ("mode", tuple(spec.cameras)),
            ("direction", spec.directions),
            ("shots", spec.shots),
            ("cmc", spec.cmc),
        ):
            given = getattr(self, key)
            if given not in offered:
                choices = ", ".join("null" if choice is None else str(choice) for choice in offered)
                raise ValueError(f"{self.name} has no {key} {'null' if given is None else given}; valid: {choices}")
        if self.trials > spec.trials:
            raise ValueError(f"{self.name} has at most {spec.trials} trials, not {self.trials}")
        if self.text == "none" and self.captioner is not None:
            raise ValueError(f"captioner {self.captioner} says nothing with text none; set text to query or oracle")
        if self.text != "none" and (self.swapped or self.stated_modalities[0] is not Modality.INFRARED):
            raise ValueError(f"text {self.text} describes infrared queries; {self.direction} has others, use text none")
        if self.text != "none" and not self.normalise:
            raise ValueError(f"text {self.text} is scored by cosines; set normalise to true")
        return self

    @property
    def spec(self) -> ProtocolSpec:
        """What the name stands for."""
        return PROTOCOLS[self.name]

    @property
    def score(self) -> str:
        """Name of the scorer that ranks."""
        return "cosine" if self.normalise else "negative squared Euclidean"

    @property
    def swapped(self) -> bool:
        """Whether the sampled images are the queries, against what the direction says."""
        return self.direction in self.spec.swapped

    @property
    def stated_modalities(self) -> tuple[Modality, Modality]:
        """Modalities of query and gallery as the direction names them."""
        return _SIDES[self.direction[0]], _SIDES[self.direction[2]]

    @property
    def captions(self) -> str | None:
        """Folder of the captions that queries have; None without text."""
        if self.text == "none":
            return None
        return self.captioner or ("Blip_RGB" if self.text == "oracle" else "Blip_IR")

    @property
    def gallery_cameras(self) -> tuple[int, ...] | None:
        """Cameras of the gallery; None is every camera."""
        return self.spec.cameras[self.mode]


def card(
    config: ProtocolConfig,
    *,
    split: Split = "test",
    selection: str = "last epoch",
    test_time_augmentation: str = "none",
    text: str = "none",
) -> dict[str, Any]:
    """Protocol card: everything that a reader must know before two numbers may be compared."""
    reranking = config.reranking
    return {
        "name": config.name,
        "split": split,
        "mode": config.mode,
        "direction": DIRECTION_WORDS[config.direction] + (SWAPPED_WORDS if config.swapped else ""),
        "shots": "all" if config.shots is None else config.shots,
        "trials": config.trials,
        "cmc": config.cmc,
        "camera_rule": config.spec.rule,
        "reranking": {"name": "none"} if isinstance(reranking, NoReranking) else reranking.card_entry,
        "test_time_augmentation": test_time_augmentation,
        "feature_normalisation": "L2" if config.normalise else "none",
        "score": config.score,
        "text": config.text if config.text != "none" else text,
        **({} if config.captions is None else {"captions": config.captions}),
        "selection": selection,
    }
