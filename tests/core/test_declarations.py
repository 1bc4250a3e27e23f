"""What the suite's components say of themselves before they are imported is what they are."""

from __future__ import annotations

import pytest

from vireid.core.registry import Registry
from vireid.data import AUGMENTATIONS, DATASETS
from vireid.models import MODELS
from vireid.models.base import has_method
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


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_has_the_methods_that_its_table_says(name: str) -> None:
    for weighting in WEIGHTINGS.names():
        for method in WEIGHTINGS.declared(weighting, "model_methods", ()):
            assert MODELS.has_method(name, method) == has_method(MODELS.load(name), method)


def test_a_plug_in_declares_in_its_class() -> None:
    name = "tests.core.test_declarations:Plugin"
    registry = Registry("model", {})
    assert registry.version(name) == "7"
    assert registry.config(name) is Plugin.Config
    assert registry.declared(name, "visible_views", 1) == 2
    assert registry.has_method(name, "shared_parameters")
    assert not registry.has_method(name, "end_epoch")


class Plugin:
    """A user's component."""

    class Config:
        """Its configuration."""

    version = "7"
    visible_views = 2

    def shared_parameters(self) -> list[object]:
        """Of a method that some weightings need."""
        return []
