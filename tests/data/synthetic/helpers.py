from vireid.data.synthetic.config import SyntheticConfig

TINY = {"train_ids": 3, "val_ids": 2, "test_ids": 2, "height": 64, "width": 32, "seed": 5}


def tiny(layout: str, **changes: object) -> SyntheticConfig:
    """Seven identities; RegDB keeps its ten images each."""
    few = {} if layout == "regdb" else {"visible_per_camera": 2, "infrared_per_camera": 2}
    return SyntheticConfig.model_validate({**TINY, **few, "layout": layout, **changes})
