"""What the suite's components say of themselves before they are imported is what they are."""

from __future__ import annotations

import pytest

from vireid.core.registry import Registry
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.models import MODELS
from vireid.profiling import RUNTIMES
from vireid.weighting import CURRICULA, WEIGHTINGS

REGISTRIES = [MODELS, DATASETS, AUGMENTATIONS, WEIGHTINGS, CURRICULA, RUNTIMES]


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        pytest.param(registry, name, id=f"{registry.kind}-{name}")
        for registry in REGISTRIES
        for name in registry.names()
    ],
)
def test_a_component_is_what_its_configuration_declares(registry: Registry, name: str) -> None:
    component, config = registry.load(name), registry.config(name)
    assert component.Config is config
    assert component.version == config.version == registry.version(name)
    for attribute, default in (("visible_views", 1), ("model_methods", ())):
        declared = registry.declared(name, attribute, default)
        if not isinstance(declared, property) and attribute in vars(component):
            assert declared == getattr(component, attribute)


def test_a_plug_in_declares_in_its_class() -> None:
    name = "tests.core.test_declarations:Plugin"
    registry = Registry("model", {})
    assert registry.version(name) == "7"
    assert registry.config(name) is Plugin.Config
    assert registry.declared(name, "visible_views", 1) == 2


class Plugin:
    """A user's component."""

    class Config:
        """Its configuration."""

    version = "7"
    visible_views = 2
