"""The protocol card, typed: what a score was measured under, as records hold it and reports print it."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from vireid.core.config import canonical_json

PLAIN = "no re-ranking"
UNSETTLED = ("disputed", "not stated")  # names of a re-ranking of which it is not known whether there was any
RECALL = "recall"  # measured share of neighbours that an approximate search for re-ranking found
COUNTS = ("queries", "valid_queries", "gallery")  # what the data gave; renderings of other seeds may differ in them
Entry = str | int | bool | None


class ProtocolCard(BaseModel):
    """Everything that must agree before two scores may be compared.

    Records of every age are readable: an entry may be missing, and entries of other versions are kept as they are.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "unnamed protocol"
    split: str = "test"
    mode: str | None = None
    direction: str | None = None
    shots: int | str | None = None  # gallery images per identity and camera
    trials: int | None = None
    cmc: str | None = None
    camera_rule: str = "none"
    reranking: dict[str, Any] | str | None = None
    test_time_augmentation: Entry = None
    feature_normalisation: Entry = None
    score: str | None = None
    text: Entry = None
    captions: str | None = None
    matches: str | None = None  # of a gallery of both modalities: "any", or the "other" modality's alone
    corruption: dict[str, Any] | None = None  # which images are corrupted, and how; as they are where there is none
    selection: str | None = None
    transfer: str | None = None  # what other data the weights were trained on, where the suite knows that they were
    queries: int | str | None = None
    valid_queries: int | str | None = None
    gallery: int | str | None = None

    def __hash__(self) -> int:
        """Of entries that have one: others, such as ``corruption``, may be mappings; equality tells those apart."""
        return hash((self.name, self.split, self.mode, self.direction, self.shots, self.text, self.captions))

    @property
    def entries(self) -> dict[str, Any]:
        """The entries that were given."""
        return self.model_dump(exclude_unset=True)

    def without(self, *names: str) -> Self:
        """The card without some of its entries."""
        return self.model_validate({key: value for key, value in self.entries.items() if key not in names})

    @property
    def comparable(self) -> Self:
        """The card without re-ranking and counts: scores whose cards agree in it may stand in one table."""
        return self.without("reranking", *COUNTS)

    @property
    def key(self) -> str:
        """Canonical JSON of what is comparable."""
        return canonical_json(self.comparable.entries)

    @property
    def reranking_settings(self) -> Mapping[str, Any]:
        """Name and parameters of the re-ranking."""
        return self.reranking if isinstance(self.reranking, dict) else {"name": self.reranking}

    @property
    def reranking_label(self) -> str:
        """``"no re-ranking"``, the variant with its parameters, or that nobody knows."""
        settings = dict(self.reranking_settings)
        name = settings.pop("name", None)
        if name in (None, "none"):
            return PLAIN
        if name in UNSETTLED:
            return f"re-ranking {name}"
        settings.pop(RECALL, None)
        shown = "".join(f", {'λ' if k in ('lambda', 'lambda_') else k} {v}" for k, v in settings.items())
        return f"re-ranked ({name}{shown})"

    @property
    def is_plain(self) -> bool:
        """Whether it is known that nothing is re-ranked."""
        return self.reranking_label == PLAIN

    @property
    def reads_text(self) -> bool:
        """Whether queries come with text."""
        return self.text not in (None, False, "none")

    @property
    def augments(self) -> bool:
        """Whether features are averaged over several views of an image."""
        return self.test_time_augmentation not in (None, False, "none")

    @property
    def reads_one_image(self) -> bool:
        """Whether a feature is made of one image as it is: no text, no further views, no corruption."""
        return not (self.reads_text or self.augments or self.corruption)

    @property
    def corruption_label(self) -> str:
        """``corrupted gallery, seed 0``, with kind and severity where they are not drawn; empty for images as they are.

        The rule by which they are made follows where it is not the first.
        """
        if self.corruption is None:
            return ""
        entries = self.corruption
        chosen = {key: entries.get(key) for key in ("kind", "severity") if entries.get(key) not in (None, "drawn")}
        version = entries.get("version", "1")
        phrases = [
            "corrupted query and gallery" if entries["where"] == "both" else f"corrupted {entries['where']}",
            *(f"{key} {value}" for key, value in chosen.items()),
            f"seed {entries.get('seed', 0)}",
            "" if version == "1" else f"version {version}",
        ]
        return ", ".join(filter(None, phrases))

    @property
    def text_label(self) -> str:
        """Source of the text, with its captions."""
        return f"{self.text}" + (f" ({self.captions})" if self.captions else "")

    @property
    def title(self) -> str:
        """One line that tells protocols of one study apart, such as ``sysu/official · all · single-shot``."""
        phrases = [self.name, self.mode, self.direction]
        if isinstance(self.shots, int):
            phrases.append("single-shot" if self.shots == 1 else f"{self.shots}-shot")
        if self.matches == "other":
            phrases.append("matches of the other modality")
        if self.split != "test":
            phrases.append(f"{self.split} split")
        if self.transfer:
            phrases.append(f"trained on {self.transfer}")
        if self.augments:
            phrases.append(f"test-time augmentation {self.test_time_augmentation}")
        if self.reads_text:
            phrases.append(f"text {self.text_label}")
        return " · ".join(filter(None, [*phrases, self.corruption_label]))

    @property
    def full_title(self) -> str:
        """The same with the re-ranking."""
        return f"{self.title}, {self.reranking_label}"
