"""Datasets, decoded-image cache, augmentation and the identity-balanced cross-modal sampler."""

from __future__ import annotations

from vireid.core.registry import Registry

DATASETS = Registry(
    "dataset",
    {
        "sysu": "vireid.data.sysu:SYSUMM01",
        "regdb": "vireid.data.regdb:RegDB",
        "llcm": "vireid.data.llcm:LLCM",
    },
)

AUGMENTATIONS = Registry(
    "augmentation",
    {
        "none": "vireid.data.augmentation:NoAugmentation",
        "base": "vireid.data.augmentation:BaseAugmentation",
        "full": "vireid.data.augmentation_full:FullAugmentation",
        "fork": "vireid.data.augmentation_fork:ForkAugmentation",
        "tvi_lfm": "vireid.data.augmentation_tvi_lfm:TVILFMAugmentation",
    },
)
