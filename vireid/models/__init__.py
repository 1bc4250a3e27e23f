"""Models: the trunk and its parts, then one file per system. Each is built as ``Class(config, num_classes)``."""

from vireid.core.registry import Registry

MODELS = Registry("model", {"idkl": "vireid.models.idkl:IDKL"})
