"""Datasets, decoded-image cache, augmentation and the identity-balanced cross-modal sampler."""

from vireid.core.registry import Registry

DATASETS = Registry(
    "dataset",
    {
        "sysu": "vireid.data.sysu:SYSUMM01",
        "regdb": "vireid.data.regdb:RegDB",
        "llcm": "vireid.data.llcm:LLCM",
    },
    {
        "sysu": "vireid.data.config:SYSUConfig",
        "regdb": "vireid.data.config:RegDBConfig",
        "llcm": "vireid.data.config:LLCMConfig",
    },
)

AUGMENTATIONS = Registry(
    "augmentation",
    {
        "none": "vireid.data.augmentation:NoAugmentation",
        "base": "vireid.data.augmentation:BaseAugmentation",
        "full": "vireid.data.augmentation:FullAugmentation",
        "fork": "vireid.data.augmentation:ForkAugmentation",
        "tvi_lfm": "vireid.data.augmentation:TVILFMAugmentation",
        "deen": "vireid.data.deen_augmentation:DEENAugmentation",
    },
    {
        "none": "vireid.data.config:NoConfig",
        "base": "vireid.data.config:BaseConfig",
        "full": "vireid.data.config:FullConfig",
        "fork": "vireid.data.config:ForkConfig",
        "tvi_lfm": "vireid.data.config:TVILFMAugmentationConfig",
        "deen": "vireid.data.deen_config:DEENAugmentationConfig",
    },
)
