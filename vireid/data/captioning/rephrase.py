"""A language model that says a caption in other words, through transformers."""

from collections.abc import Sequence
from typing import Any

import torch

from vireid.core.errors import UserError
from vireid.core.extras import optional_module
from vireid.core.seeding import seed_everything

DEFAULT_MODEL = "lmsys/vicuna-7b-v1.5"  # TVI-LFM's
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
        library = optional_module("transformers", "text")
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
            found = self.model.generate(
                input_ids=inputs["input_ids"].to(self.device),
                attention_mask=inputs["attention_mask"].to(self.device),
                max_new_tokens=self.tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                **sampling,
            )
        answers = self.tokenizer.batch_decode(found[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
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
