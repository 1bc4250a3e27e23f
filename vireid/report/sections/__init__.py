"""Sections of a report: ``render_<name>`` takes the report, and writes its copies under ``report.copies``.

A notebook asks for a section by its name, ``report.section("summary")``, and ``MODULES`` says in which module it is;
those of a report on a dataset are in ``DATASET_MODULES``.
"""

_NAMES = {
    "scores": ("overview", "ablation", "scores", "accuracy_against_cost"),
    "effects": ("summary", "effects"),
    "differences": ("differences",),
    "systems": ("systems",),
    "ranks": ("ranks",),
    "scatter": ("scatter",),
    "text": ("text",),
    "corruptions": ("corruptions",),
    "costs": ("costs", "roofline"),
    "training": ("budget", "training"),
    "latency": ("latency", "latency_by_machine", "query_pipeline"),
    "deployment": ("front", "toggles"),
    "quantisation": ("quantisation",),
    "galleries": ("galleries",),
    "controls": ("controls", "sampling"),
    "machines": ("machines", "devices", "environment"),
    "protocols": ("protocols", "published"),
    "retrieval": ("retrieval",),
    "records": ("records",),
    "runs": ("runs",),
    "embeddings": ("embedding_map", "similarity_shift"),
    "queries": ("extreme_queries", "changed_queries"),
    "heat": ("heat_maps",),
}
MODULES = {name: module for module, names in _NAMES.items() for name in names}

_OF_DATASETS = {"dataset": ("dataset", "splits", "literature", "contact_sheet", "distribution")}
DATASET_MODULES = {name: module for module, names in _OF_DATASETS.items() for name in names}
