"""Generators of captions for real images: a BLIP captioner and a language model that rephrases."""
