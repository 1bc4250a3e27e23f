"""Captions by a captioner, in other words by a language model, and without colours.

Infrared images show no colours, so that sentences on them name none (TVI-LFM, Hu et al., NeurIPS 2024).
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vireid.core.errors import UserError, optional_module
from vireid.core.seeding import generator, seed_everything
from vireid.data.images import read_image


class Captioner:
    """Describes images, the same words for the same image: beam search draws nothing.

    Args:
        model: folder or hub name of a BLIP captioning model with its processor.
        prompt: words that every caption continues, such as ``a photo of``; they are part of it.
        tokens: most tokens of a caption.
        beams: of the search.
        device: where to compute.

    Raises:
        UserError: transformers is not installed, or the model cannot be loaded.
    """

    def __init__(self, model: str, *, prompt: str = "", tokens: int = 60, beams: int = 3, device: str = "cpu") -> None:
        library = optional_module("transformers", None)
        try:
            self.processor: Any = library.BlipProcessor.from_pretrained(model)
            self.model: Any = library.BlipForConditionalGeneration.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UserError(f"captioner {model}: no BLIP captioning model that can be loaded: {error}") from error
        self.model.to(device).eval()
        self.prompt, self.tokens, self.beams, self.device = prompt, tokens, beams, device

    def describe(self, root: Path, paths: Sequence[str]) -> list[str]:
        """One caption per image."""
        prompt = {"text": [self.prompt] * len(paths)} if self.prompt else {}
        inputs = self.processor(images=[read_image(root, path) for path in paths], **prompt, return_tensors="pt")
        with torch.inference_mode():
            tokens = self.model.generate(
                **inputs.to(self.device), max_new_tokens=self.tokens, num_beams=self.beams, do_sample=False
            )
        return [" ".join(text.split()) for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]

    def finetune(
        self,
        root: Path,
        captions: dict[str, str],
        *,
        epochs: int,
        lr: float = 1e-5,
        batch: int = 16,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[float]:
        """Train on captions of one's own; return the mean loss of every epoch.

        Args:
            root: folder of the images.
            captions: path → caption.
            epochs: passes over them.
            lr: of AdamW.
            batch: images per step.
            seed: of the order and of dropout.
            progress: called with steps done and their number in all.
        """
        paths, steps = sorted(captions), -(-len(captions) // batch)
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.05)
        losses = []
        self.model.train()
        for epoch in range(epochs):
            seed_everything(seed, "caption finetuning", epoch)
            order = generator(seed, "caption order", epoch).permutation(len(paths)).tolist()
            total = 0.0
            for step in range(steps):
                chosen = [paths[i] for i in order[step * batch : (step + 1) * batch]]
                loss = self._loss(root, chosen, [captions[path] for path in chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(chosen)
                if progress is not None:
                    progress(epoch * steps + step + 1, epochs * steps)
            losses.append(total / len(paths))
        self.model.eval()
        return losses

    def save(self, folder: Path) -> None:
        """Write model and processor, to be given as ``model`` again."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def _loss(self, root: Path, paths: Sequence[str], captions: Sequence[str]) -> Any:
        inputs = self.processor(
            images=[read_image(root, path) for path in paths],
            text=[f"{self.prompt} {caption}".strip() for caption in captions],
            padding=True,
            truncation=True,
            max_length=self.tokens + 8,
            return_tensors="pt",
        ).to(self.device)
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
        tokens = inputs["input_ids"].clone()
        tokens[:, 0] = self.model.config.text_config.bos_token_id  # what generation begins with
        return self.model(
            pixel_values=inputs["pixel_values"],
            input_ids=tokens,
            attention_mask=inputs["attention_mask"],
            labels=labels,
        ).loss


_NAMES = """
    amber apricot aqua aquamarine auburn azure beige black blonde blond blue bluish bronze brown brownish brunette
    burgundy camel caramel charcoal chocolate cobalt colourful colorful copper coral cream crimson cyan emerald fuchsia
    ginger gold golden gray grayish green greenish grey greyish indigo ivory jade khaki lavender lilac lime magenta
    mahogany maroon mauve multicolored multicoloured multicolor mustard navy neon ochre olive orange orangish pastel
    peach pink pinkish plum purple purplish red reddish rose ruby rust saffron salmon scarlet silver tan taupe teal
    terracotta turquoise vermilion violet white whitish yellow yellowish
"""
COLOURS = frozenset(_NAMES.split())
_SHADES = "bright|dark|deep|half|light|pale|royal|sky|sea|baby|forest|mint"  # go with the colour that they shade
_COLOUR = (
    rf"(?:(?:{_SHADES})[\s-]+)*(?:{'|'.join(sorted(COLOURS, key=len, reverse=True))})"
    r"(?:[\s-]+colou?r(?:ed|s)?)?"
)
_LINK = r"(?:\s*,\s*(?:and\s+)?|\s*/\s*|[\s-]+(?:and|or)[\s-]+|[\s-]+)"
_FOUND = re.compile(
    rf"(?P<article>\b(?:a|an)\s+)?\b{_COLOUR}(?:{_LINK}{_COLOUR})*\b(?(article)\s*,?)[\s-]*(?P<next>\w*)", re.IGNORECASE
)
_LEFT_ALONE = re.compile(
    r"\s+(?:in|of|with|and|or|(?:that|which)\s+(?:is|are))(?:\s+colou?rs?)?(?=\s*(?:[.,;:!?]|$))", re.IGNORECASE
)
_IN_COLOUR = re.compile(r"\s+in\s+colou?rs?\b", re.IGNORECASE)
_CONSONANT_SOUND = ("uni", "use", "eu", "one")  # begin with a vowel that is not heard as one


def without_colours(text: str) -> str:
    """Delete colour words with their shades and conjunctions; repair articles, spaces and the first letter.

    What stays empty is returned as an empty string.
    """
    result = _IN_COLOUR.sub("", _FOUND.sub(_replaced, text))
    result = _LEFT_ALONE.sub("", result)
    result = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s{2,}", " ", result))
    result = re.sub(r"([,;:])(?=[.,;:!?])", "", result).strip(" ,;:-")
    if not re.search(r"\w", result):
        return ""
    return result[0].upper() + result[1:] if text[:1].isupper() else result


def _replaced(match: re.Match[str]) -> str:
    following = match["next"]
    if not match["article"]:
        return following
    if not following:
        return ""
    word = following.lower()
    vowel = word[0] in "aeiou" and not word.startswith(_CONSONANT_SOUND)
    article = "an " if vowel else "a "
    return (article.capitalize() if match["article"][0].isupper() else article) + following


INSTRUCTION = (
    "Rephrase this description of a person in one sentence. Keep every fact and add none{colours}. Answer with the "
    "sentence alone."
)
NO_COLOURS = "; name no colours"


class Rephraser:
    """Says captions in other words, sampled; a function of the captions, the seed and the key of the batch.

    Args:
        model: folder or hub name of a causal language model with its tokenizer.
        colours: whether colours may be named.
        tokens: most new tokens.
        temperature: of the sampling; 0 takes the likeliest word.
        seed: first part of every batch's key.
        device: where to compute.

    Raises:
        UserError: transformers is not installed, or the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        colours: bool,
        tokens: int = 96,
        temperature: float = 0.7,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        library = optional_module("transformers", None)
        try:
            self.tokenizer: Any = library.AutoTokenizer.from_pretrained(model, padding_side="left")
            self.model: Any = library.AutoModelForCausalLM.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise UserError(f"language model {model}: cannot be loaded: {error}") from error
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.to(device).eval()
        self.instruction = INSTRUCTION.format(colours="" if colours else NO_COLOURS)
        self.tokens, self.temperature, self.seed, self.device = tokens, temperature, seed, device

    def rephrase(self, captions: Sequence[str], batch: int) -> list[str]:
        """One sentence per caption; the caption itself where the model says nothing."""
        inputs = self.tokenizer([self._prompt(caption) for caption in captions], padding=True, return_tensors="pt")
        sampling = (
            {"do_sample": True, "temperature": self.temperature} if self.temperature > 0 else {"do_sample": False}
        )
        seed_everything(self.seed, "rephrase", batch)
        with torch.inference_mode():
            tokens = self.model.generate(
                input_ids=inputs["input_ids"].to(self.device),
                attention_mask=inputs["attention_mask"].to(self.device),
                max_new_tokens=self.tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                **sampling,
            )
        answers = self.tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [_sentence(answer) or caption for answer, caption in zip(answers, captions, strict=True)]

    def _prompt(self, caption: str) -> str:
        text = f"{self.instruction}\n{caption}"
        if getattr(self.tokenizer, "chat_template", None):
            messages = [{"role": "user", "content": text}]
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        return f"{text}\nRephrased: "


def _sentence(answer: str) -> str:
    """The first line of an answer that says something, without quotation marks."""
    lines = (" ".join(line.split()).strip("\"'“”") for line in answer.splitlines())
    return next((line for line in lines if any(letter.isalpha() for letter in line)), "")
