"""LLCM's layout: nine cameras, visible by day and near infrared by night (camera 3 has no near infrared).

Zhang and Wang, "Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for Visible-Infrared Person
Re-identification", CVPR 2023. ``vis/`` and ``nir/`` hold every image, named
``0351_c06_s200656_f4830_nir.jpg`` (identity, camera, time of day, frame); ``test_vis/cam<k>/`` and
``test_nir/cam<k>/`` hold those of the test identities a second time, by camera.
"""

import numpy as np

from vireid.core.seeding import generator
from vireid.data.synthetic.cameras import Spectrum
from vireid.data.synthetic.config import SyntheticConfig
from vireid.data.synthetic.shots import Plan, Shot, Split, image_count, labelled_lines, share_out

NIR_CAMERAS = (1, 2, 4, 5, 6, 7, 8, 9)
_SPECTRA: tuple[tuple[Spectrum, str], ...] = (("visible", "vis"), ("nir", "nir"))


def plan_llcm(config: SyntheticConfig) -> Plan:
    """List the images and index files (``idx/{train,test}_{vis,nir}.txt``, ``idx/test_id.txt``) of an LLCM-like set."""
    identities = list(range(1, config.num_ids + 1))
    sizes: dict[Split, int] = {"train": config.train_ids, "val": config.val_ids, "test": config.test_ids}
    splits = share_out(identities, sizes, generator(config.seed, "synthetic/llcm/identities"))
    shots: list[Shot] = []
    for identity in identities:
        seen = _sightings(config, identity)
        for spectrum, short in _SPECTRA:
            for camera in seen[spectrum]:
                rng = generator(config.seed, "synthetic/llcm/count", identity, camera, spectrum)
                count = image_count(config.images_per_camera(spectrum), rng)
                names = _file_names(identity, camera, short, count, rng)
                for number, name in enumerate(names, start=1):
                    place = f"{identity:04d}/{name}"
                    again = (f"test_{short}/cam{camera}/{place}",) if splits[identity] == "test" else ()
                    shots.append(Shot(identity, spectrum, camera, number, f"{short}/{place}", splits[identity], again))
    lists = {"idx/test_id.txt": ",".join(str(i) for i in identities if splits[i] == "test") + "\n"}
    for spectrum, short in _SPECTRA:
        listed = [shot for shot in shots if shot.spectrum == spectrum]
        lists[f"idx/train_{short}.txt"] = labelled_lines([s for s in listed if s.split != "test"])
        lists[f"idx/test_{short}.txt"] = labelled_lines([s for s in listed if s.split == "test"])
    return Plan(tuple(shots), lists, {})


def _sightings(config: SyntheticConfig, identity: int) -> dict[str, list[int]]:
    """Cameras by spectrum: three to five that see the person at night or by day, at least two of them both.

    LLCM's protocol removes gallery images of the query's own identity and camera, so one shared camera would leave a
    query without a match.
    """
    rng = generator(config.seed, "synthetic/llcm/sightings", identity)
    cameras = rng.permutation(np.asarray(NIR_CAMERAS))[: rng.integers(3, 6)].tolist()
    by_day, by_night = list(cameras), list(cameras)
    for camera in cameras[2:]:
        fate = rng.random()
        if fate < 0.2:
            by_day.remove(camera)
        elif fate < 0.4:
            by_night.remove(camera)
    if rng.random() < 0.3:
        by_day.append(3)
    return {"visible": sorted(by_day), "nir": sorted(by_night)}


def _file_names(identity: int, camera: int, short: str, count: int, rng: np.random.Generator) -> list[str]:
    """File names of one identity in one camera, in order; day images before 18:00, night images after."""
    hour = int(rng.integers(8, 18)) if short == "vis" else int(rng.integers(18, 23))
    time = f"{hour:02d}{int(rng.integers(60)):02d}{int(rng.integers(60)):02d}"
    frames = sorted(rng.choice(9999, size=count, replace=False).tolist())
    return [f"{identity:04d}_c{camera:02d}_s{time}_f{frame:04d}_{short}.jpg" for frame in frames]
