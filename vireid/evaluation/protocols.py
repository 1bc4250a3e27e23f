"""Evaluation protocols as data: what a name stands for, the configuration that picks one, and its card. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from vireid.core.config import Strict
from vireid.core.types import Modality

CameraRule = Literal[
    "none",
    "sysu",
    "same_id_same_cam",
    "sysu_two_way",
    "sysu_mixed",
    "sysu_mixed_other",
    "same_id_same_cam_other",
]
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
    "sysu/two-way",
    "sysu/mixed",
    "regdb/mixed",
    "llcm/mixed",
]
Mode = Literal["all", "indoor"]
Direction = Literal["i2v", "v2i", "v2t", "t2v", "i2m", "v2m", "t2m"]
Matches = Literal["any", "other"]
Sampling = Literal["permutation", "seeded", "everything"]
Split = Literal["test", "dev"]
Text = Literal["none", "query", "oracle"]

DIRECTION_WORDS: Mapping[str, str] = {
    "i2v": "infrared→visible",
    "v2i": "visible→infrared",
    "v2t": "visible→thermal",
    "t2v": "thermal→visible",
    "i2m": "infrared→both modalities",
    "v2m": "visible→both modalities",
    "t2m": "thermal→both modalities",
}
SWAPPED_WORDS = " as released (sampled images are the queries, all others the gallery)"
_SIDES: Mapping[str, tuple[Modality, ...]] = {
    "i": (Modality.INFRARED,),
    "t": (Modality.INFRARED,),
    "v": (Modality.VISIBLE,),
    "m": (Modality.VISIBLE, Modality.INFRARED),
}
_EACH = "both"  # of a choice in a list of protocols: one protocol for each value


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """What a protocol's name stands for; the first of several choices is the default.

    ``cameras`` gives the cameras of a visible gallery by mode, ``infrared_cameras`` those of an infrared one (None:
    every camera). ``sampling`` tells how the gallery images of an (identity, camera, modality) are drawn: from the data
    set's permutation file, by one seeded generator per trial and modality, or not at all. ``shots`` counts images per
    (identity, camera); None is every image. ``swapped`` names directions in which the sampled images are ranked *for*
    instead of ranked: query and gallery change places after sampling. ``listed`` keeps only the images that the data
    set's test lists name. ``of_the_field`` tells whether public code evaluates so.
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
    infrared_cameras: tuple[int, ...] | None = None
    of_the_field: bool = True

    @property
    def mixed(self) -> bool:
        """Whether the gallery holds images of both modalities."""
        return len(_SIDES[self.directions[0][2]]) > 1


_SYSU_INFRARED = (3, 6)
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
    # The other protocols are this suite's: no public code that is known evaluates so. i2v is sysu/official to the
    # digit; v2i ranks the permutations' images of cameras 3 and 6 for every visible test image. As cameras 2 and 3
    # stand at one place, images of the one do not exist for queries of the other, whichever is asked.
    "sysu/two-way": ProtocolSpec(
        "sysu_two_way",
        ("i2v", "v2i"),
        "permutation",
        cameras={"all": _SYSU["all"]},
        shots=(1, 10),
        infrared_cameras=_SYSU_INFRARED,
        of_the_field=False,
    ),
    # One gallery with the images of both modalities, visible ones first. Each half is drawn as the gallery of that
    # modality alone (sysu/two-way, llcm/sampled, regdb/10split). Images of the query's identity and camera do not exist
    # for it, and so never the query's own image; on SYSU-MM01 neither do those of the other camera at the same place.
    "sysu/mixed": ProtocolSpec(
        "sysu_mixed",
        ("i2m", "v2m"),
        "permutation",
        cameras={"all": _SYSU["all"]},
        shots=(1, 10),
        infrared_cameras=_SYSU_INFRARED,
        of_the_field=False,
    ),
    # Each sensor of RegDB counts as a camera: whoever is looked for is there in the other modality alone, among people
    # of both.
    "regdb/mixed": ProtocolSpec(
        "same_id_same_cam",
        ("t2m", "v2m"),
        "everything",
        cmc=("plain",),
        shots=(None,),
        trials=1,
        of_the_field=False,
    ),
    # Cameras of LLCM are of both modalities: as in llcm/sampled, a query's own camera does not show its person.
    "llcm/mixed": ProtocolSpec("same_id_same_cam", ("i2m", "v2m"), "seeded", of_the_field=False),
}


_OTHER_ALONE: Mapping[CameraRule, CameraRule] = {
    "sysu_mixed": "sysu_mixed_other",
    "same_id_same_cam": "same_id_same_cam_other",
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
    matches: Matches = "any"
    """Of a gallery of both modalities. any: every image of the identity is a match; other: those of the modality that
    the query has not, and its identity's other images do not exist for it."""

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
        if self.matches != "any" and not spec.mixed:
            raise ValueError(f"matches {self.matches}: the gallery of {self.name} is of one modality; leave it out")
        if spec.mixed and self.text != "none":
            raise ValueError(f"text {self.text} would describe gallery images of {self.name} too; use text none")
        if spec.mixed and not isinstance(self.reranking, NoReranking):
            raise ValueError(
                f"{self.name} cannot be re-ranked: query images are in its gallery and would be their own neighbours; "
                "set reranking to none"
            )
        if self.text != "none" and (self.swapped or self.query_modality is not Modality.INFRARED):
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
    def query_modality(self) -> Modality:
        """Modality of the queries as the direction names it."""
        return _SIDES[self.direction[0]][0]

    @property
    def gallery_modalities(self) -> tuple[Modality, ...]:
        """Modalities of the gallery as the direction names them, in the order of its images."""
        return _SIDES[self.direction[2]]

    @property
    def rule(self) -> CameraRule:
        """Which gallery images do not exist for a query."""
        return _OTHER_ALONE[self.spec.rule] if self.matches == "other" else self.spec.rule

    @property
    def captions(self) -> str | None:
        """Folder of the captions that queries have; None without text."""
        if self.text == "none":
            return None
        return self.captioner or ("Blip_RGB" if self.text == "oracle" else "Blip_IR")

    def gallery_cameras(self, modality: Modality) -> tuple[int, ...] | None:
        """Cameras of the gallery's images of a modality; None is every camera."""
        return self.spec.cameras[self.mode] if modality is Modality.VISIBLE else self.spec.infrared_cameras


def each_of_both(protocols: Any) -> Any:
    """A list of protocols as written, with two in place of one whose direction or matches is ``both``.

    Args:
        protocols: mappings or configurations, not yet validated; what is none of these is left as it is.
    """
    if not isinstance(protocols, list | tuple):
        return protocols
    expanded = list(protocols)
    for key in ("direction", "matches"):
        expanded = [one for protocol in expanded for one in _each(protocol, key)]
    return expanded


def _each(protocol: Any, key: Literal["direction", "matches"]) -> list[Any]:
    if not isinstance(protocol, Mapping) or protocol.get(key) != _EACH or protocol.get("name") not in PROTOCOLS:
        return [protocol]
    spec = PROTOCOLS[protocol["name"]]
    values = spec.directions if key == "direction" else get_args(Matches)
    if len(values) == 1 or (key == "matches" and not spec.mixed):
        return [protocol]  # its validation says what there is
    return [{**protocol, key: value} for value in values]


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
        "camera_rule": config.rule,
        "reranking": {"name": "none"} if isinstance(reranking, NoReranking) else reranking.card_entry,
        "test_time_augmentation": test_time_augmentation,
        "feature_normalisation": "L2" if config.normalise else "none",
        "score": config.score,
        "text": config.text if config.text != "none" else text,
        **({} if config.captions is None else {"captions": config.captions}),
        **({"matches": config.matches} if config.spec.mixed else {}),
        "selection": selection,
    }
