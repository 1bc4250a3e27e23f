"""How named loss terms become one number, and how that changes in the course of training."""

from vireid.core.registry import Registry

WEIGHTINGS = Registry(
    "weighting",
    {
        "fixed": "vireid.weighting.fixed:FixedWeighting",
        "uncertainty": "vireid.weighting.uncertainty:UncertaintyWeighting",
        "dwa": "vireid.weighting.dwa:DynamicWeightAverage",
        "gradnorm": "vireid.weighting.gradnorm:GradNormWeighting",
    },
    {
        "fixed": "vireid.weighting.config:FixedConfig",
        "uncertainty": "vireid.weighting.config:UncertaintyConfig",
        "dwa": "vireid.weighting.config:DWAConfig",
        "gradnorm": "vireid.weighting.config:GradNormConfig",
    },
)

CURRICULA = Registry(
    "curriculum",
    {
        "off": "vireid.weighting.curriculum:NoCurriculum",
        "ramp": "vireid.weighting.curriculum:RampCurriculum",
    },
    {
        "off": "vireid.weighting.config:OffConfig",
        "ramp": "vireid.weighting.config:RampConfig",
    },
)
