"""The generators with tiny randomly initialised models of the real classes, on a few rendered people."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data.captioning.generators import COLOURS, Captioner, Rephraser
from vireid.data.captioning.run import caption_images, finetuning_captions, images_of, rephrase_captions
from vireid.data.captions import caption_file, read_captions

transformers = pytest.importorskip(
    "transformers", reason="text needs open_clip and transformers, which belong to every installation"
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
WORDS = ["a", "person", "in", "red", "blue", "black", "coat", "with", "bag", "and", "shoes", "trousers"]
VOCABULARY = [*SPECIAL, *WORDS]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("blip")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    tokenizer = transformers.BertTokenizer.from_pretrained(folder, bos_token="[DEC]")
    images = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(images, tokenizer).save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 128, "encoder_hidden_size": 32}
    ends = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = transformers.BlipConfig(
        text_config={**small, **text, **ends},
        vision_config={**small, "image_size": 32, "patch_size": 16, "initializer_range": 0.5},
    )
    transformers.set_seed(0)
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("llama")
    names = ["<unk>", "<s>", "</s>", *WORDS]
    raw = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(names),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    transformers.set_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


class KilledError(Exception):
    """Stands for the end of the process."""


def test_every_image_is_described_across_a_kill(rendered_copy: Path, blip: str) -> None:
    captioner = Captioner(blip, tokens=8, beams=2)
    done: list[int] = []

    def describe(paths: Any) -> list[str]:
        if len(done) == 2:
            raise KilledError
        done.append(len(paths))
        return captioner.describe(rendered_copy, paths)

    settings = {"model": "tiny"}
    with pytest.raises(KilledError):
        caption_images(rendered_copy, Modality.INFRARED, "Tiny", describe, settings, batch=4)
    assert not caption_file(rendered_copy, "Tiny_IR").exists()
    done[:] = [0, 0, 0]
    file = caption_images(rendered_copy, Modality.INFRARED, "Tiny", describe, settings, batch=4)
    paths = images_of(rendered_copy, Modality.INFRARED)
    assert sum(done) == len(paths) - 8  # two batches were there already
    described = read_captions(rendered_copy, "Tiny_IR", paths)
    assert not set().union(*map(words, described.descriptions)) & COLOURS
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "caption_dict_Tiny_IR.json",
        "id_caption_map_Tiny_IR.json",
    ]
    by_person = json.loads((file.parent / "id_caption_map_Tiny_IR.json").read_text())
    assert sum(map(len, by_person.values())) == len(paths)
    before = file.read_bytes()
    caption_images(rendered_copy, Modality.INFRARED, "Tiny", describe, settings, batch=4)  # nothing left to do
    assert file.read_bytes() == before


def test_a_captioner_learns_from_captions(rendered_copy: Path, blip: str, tmp_path: Path) -> None:
    paths = images_of(rendered_copy, Modality.VISIBLE)[:6]
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({f"somewhere/{path}": "a person in red coat" for path in paths}))
    captions = finetuning_captions(rendered_copy, Modality.VISIBLE, file)
    assert set(captions) == set(paths)
    captioner = Captioner(blip, tokens=8, beams=1)
    losses = captioner.finetune(rendered_copy, captions, epochs=25, lr=2e-2, batch=3)
    assert losses[-1] < 0.5 * losses[0]
    captioner.save(tmp_path / "kept")
    again = Captioner(str(tmp_path / "kept"), tokens=8, beams=1)
    assert again.describe(rendered_copy, paths[:2]) == ["a person in red coat"] * 2
    with pytest.raises(UserError, match="describes no infrared image"):
        finetuning_captions(rendered_copy, Modality.INFRARED, file)


def test_rephrasings_of_infrared_captions_name_no_colour(rendered_copy: Path, llama: str) -> None:
    author = Rephraser(llama, colours=False, tokens=12, seed=1)
    found = []
    for _ in range(2):
        file = rephrase_captions(
            rendered_copy,
            Modality.INFRARED,
            "Blip",
            lambda number, captions: author.rephrase(captions, number),
            {"model": "tiny"},
            batch=8,
        )
        found.append(file.read_bytes())
    assert found[0] == found[1]  # sampled by key
    described = read_captions(rendered_copy, "Blip_IR", images_of(rendered_copy, Modality.INFRARED))
    assert all(described.rephrasings)
    assert not set().union(*(words(text or "") for text in described.rephrasings)) & COLOURS
    assert len(set(described.rephrasings)) > 3


def test_models_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"captioner .*nothing"):
        Captioner(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"language model .*nothing"):
        Rephraser(str(tmp_path / "nothing"), colours=True)
