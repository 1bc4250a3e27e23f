"""How named loss terms become one number, and how that changes in the course of training."""

from __future__ import annotations

from vireid.core.registry import Registry

WEIGHTINGS = Registry(
    "weighting",
    {
        "fixed": "vireid.weighting.fixed:FixedWeighting",
        "uncertainty": "vireid.weighting.uncertainty:UncertaintyWeighting",
        "dwa": "vireid.weighting.dwa:DynamicWeightAverage",
        "gradnorm": "vireid.weighting.gradnorm:GradNormWeighting",
    },
)

CURRICULA = Registry(
    "curriculum",
    {
        "off": "vireid.weighting.curriculum:NoCurriculum",
        "ramp": "vireid.weighting.curriculum:RampCurriculum",
    },
)
