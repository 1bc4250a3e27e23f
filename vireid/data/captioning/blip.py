"""A captioner: BLIP (Li et al., ICML 2022) through transformers, as it comes or fine-tuned on captions of one's own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vireid.core.errors import UserError, optional_module
from vireid.core.seeding import generator, seed_everything
from vireid.data.images import read_image

DEFAULT_MODEL = "Salesforce/blip-image-captioning-base"


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
        library = optional_module("transformers", "text")
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
