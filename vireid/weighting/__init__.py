"""How named loss terms become one number."""

from __future__ import annotations

from vireid.core.registry import Registry

WEIGHTINGS = Registry(
    "weighting",
    {
        "fixed": "vireid.weighting.fixed:FixedWeighting",
        "uncertainty": "vireid.weighting.uncertainty:UncertaintyWeighting",
        "dwa": "vireid.weighting.dwa:DynamicWeightAverage",
    },
)
