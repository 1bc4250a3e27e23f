"""Configuration → the layers of its deployed graph on this machine. Kept nowhere: it is looked at, not compared."""

from vireid.experiment.context import RunContext
from vireid.experiment.cost.profile import deployed_graph
from vireid.experiment.records import device_of
from vireid.profiling.layers import LayerProfile, layer_profiles


def layers_step(run: RunContext) -> list[LayerProfile]:
    """Profile the layers of what is deployed for infrared images, the queries, in every combination of the profile."""
    config = run.config
    profile, size = config.profile, config.data
    combinations = len(profile.runtimes) * len(profile.batches) * len(profile.threads or [1])
    profiles: list[LayerProfile] = []
    run.progress("time layers", 0, combinations)
    for one in layer_profiles(
        deployed_graph(config)[1],
        size.height,
        size.width,
        profile,
        device=device_of(config),
        emulate=config.runtime.emulate,
    ):
        profiles.append(one)
        run.progress("time layers", len(profiles), combinations)
    return profiles
