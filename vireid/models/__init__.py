"""Models: the trunk and its parts, then one file per system. Each is built as ``Class(config, num_classes)``."""

from vireid.core.registry import Registry

MODELS = Registry(
    "model",
    {
        "idkl": "vireid.models.idkl:IDKL",
        "iv_reid": "vireid.models.iv_reid:IVREID",
        "agw": "vireid.models.agw:AGW",
        "tskd": "vireid.models.tskd:TSKD",
        "tvi_lfm": "vireid.models.tvi_lfm:TVILFM",
        "compact": "vireid.models.compact:Compact",
        "caj": "vireid.models.caj:CAJ",
        "deen": "vireid.models.deen:DEEN",
        "vit": "vireid.models.vit:ViT",
    },
    {
        "idkl": "vireid.models.idkl_config:IDKLConfig",
        "iv_reid": "vireid.models.iv_reid_config:IVREIDConfig",
        "agw": "vireid.models.agw_config:AGWConfig",
        "tskd": "vireid.models.tskd_config:TSKDConfig",
        "tvi_lfm": "vireid.models.tvi_lfm_config:TVILFMConfig",
        "compact": "vireid.models.compact_config:CompactConfig",
        "caj": "vireid.models.caj_config:CAJConfig",
        "deen": "vireid.models.deen_config:DEENConfig",
        "vit": "vireid.models.vit_config:ViTConfig",
    },
    {"shared_parameters": ("idkl", "iv_reid", "agw", "tskd", "tvi_lfm", "compact", "caj", "deen", "vit")},
)
