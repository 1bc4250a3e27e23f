"""Importers: state dicts of public implementations, read strictly by name and shape into models of the suite."""

from vireid.core.registry import Registry

IMPORTERS = Registry(
    "architecture",
    {
        "idkl": "vireid.models.importers.idkl:IDKLImporter",
        "idkl_fork": "vireid.models.importers.idkl:IDKLForkImporter",
        "agw": "vireid.models.importers.agw:AGWImporter",
        "iv_reid": "vireid.models.importers.iv_reid:IVREIDImporter",
        "caj": "vireid.models.importers.caj:CAJImporter",
        "deen": "vireid.models.importers.deen:DEENImporter",
        "deen_regdb": "vireid.models.importers.deen:DEENRegDBImporter",
        "tvi_lfm": "vireid.models.importers.tvi_lfm:TVILFMImporter",
        "tvi_lfm_base": "vireid.models.importers.tvi_lfm:TVILFMBaseImporter",
    },
)
