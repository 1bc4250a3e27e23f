"""Images per second of the synthetic renderer on one core, JPEG encoding included.

The target is 100 images/s on one core at 288×144 (10 ms per image), what an earlier sketch with about 25 primitives
and no places reached in plain NumPy. Run with ``OMP_NUM_THREADS=1``; the time is the process's own.
"""

from __future__ import annotations

import io
import time
from itertools import count

import pytest
from PIL import Image

from vireid.data.synthetic.render import cameras_for, draw_person, render


@pytest.mark.benchmark(timer=time.process_time, min_rounds=20, warmup=True, warmup_iterations=10)
@pytest.mark.parametrize("layout", ["sysu", "regdb", "llcm"])
def test_render_and_encode(benchmark: pytest.FixtureRequest, layout: str) -> None:
    cameras = list(cameras_for(layout, 0).values())  # type: ignore[arg-type]
    numbers = count()

    def render_one_per_camera() -> None:
        shot = next(numbers)
        for camera in cameras:
            person = draw_person(0, shot // 4)
            rendering = render(person, camera, seed=0, shot=shot, height=288, width=144)
            Image.fromarray(rendering.image).save(io.BytesIO(), "JPEG", quality=camera.jpeg_quality)

    benchmark(render_one_per_camera)  # type: ignore[operator]
    seconds = benchmark.stats.stats.median / len(cameras)  # type: ignore[attr-defined]
    benchmark.extra_info["images_per_second"] = round(1 / seconds, 1)  # type: ignore[attr-defined]
