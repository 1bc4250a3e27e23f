"""Where planned runs execute: one file per engine."""

from vireid.core.registry import Registry

ENGINES = Registry(
    "engine",
    {
        "local": "vireid.ablation.engines.local:LocalEngine",
        "ray": "vireid.ablation.engines.ray:RayEngine",
        "slurm": "vireid.ablation.engines.slurm:SlurmEngine",
    },
)
