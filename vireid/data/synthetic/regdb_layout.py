"""RegDB's layout: one visible and one thermal camera, ten images each, ten random halvings of the identities.

Nguyen et al., "Person Recognition System Based on a Combination of Body Images from Visible Light and Thermal
Cameras", Sensors 17(3), 2017. The real files are ``.bmp``, named ``male_front_v_00007_1.bmp`` (``v`` or ``t``, frame,
identity). These are JPEG, and name neither sex nor view, which a file name should not give away; readers follow the
index files and so need no particular ending.
"""

from vireid.core.seeding import generator
from vireid.data.synthetic.cameras import Spectrum
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.shots import Plan, Shot, Split, labelled_lines, share_out

NUM_SPLITS = 10
_FOLDERS: tuple[tuple[Spectrum, str, str], ...] = (("visible", "Visible", "v"), ("thermal", "Thermal", "t"))


def plan_regdb(config: SyntheticConfig) -> Plan:
    """List the images and index files (``idx/{train,test}_{visible,thermal}_<1…10>.txt``) of a RegDB-like dataset."""
    identities = list(range(1, config.num_ids + 1))
    sizes: dict[Split, int] = {"train": config.train_ids, "val": config.val_ids, "test": config.test_ids}
    splits = share_out(identities, sizes, generator(config.seed, "synthetic/regdb/identities"))
    shots: list[Shot] = []
    for identity in identities:
        for spectrum, folder, letter in _FOLDERS:
            count = config.images_per_camera(spectrum)
            rng = generator(config.seed, "synthetic/regdb/frames", identity, spectrum)
            frames = sorted(rng.choice(99_999, size=count, replace=False).tolist())
            shots += [
                Shot(
                    identity,
                    spectrum,
                    1,
                    number,
                    f"{folder}/{identity}/person_{letter}_{frame:05d}_{identity}.jpg",
                    splits[identity],
                )
                for number, frame in enumerate(frames, start=1)
            ]
    lists: dict[str, str] = {}
    for split in range(1, NUM_SPLITS + 1):
        halves: dict[Split, int] = {"train": len(identities) // 2, "test": len(identities) - len(identities) // 2}
        half = share_out(identities, halves, generator(config.seed, "synthetic/regdb/split", split))
        for part in halves:
            for spectrum, _, _ in _FOLDERS:
                chosen = [s for s in shots if s.spectrum == spectrum and half[s.identity] == part]
                lists[f"idx/{part}_{spectrum}_{split}.txt"] = labelled_lines(chosen)
    return Plan(tuple(shots), lists, {})
