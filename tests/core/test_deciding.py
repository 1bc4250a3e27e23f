"""What an identity hashes: the keys that differ from their defaults, and every name."""

from typing import Annotated, Literal

from pydantic import Field

from vireid.core.config import Strict, deciding, resolved


class _Adam(Strict):
    name: Literal["adam"] = "adam"
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)


class _SGD(Strict):
    name: Literal["sgd"] = "sgd"
    lr: float


class _Recipe(Strict):
    optimiser: Annotated[_Adam | _SGD, Field(discriminator="name")]
    also: list[_SGD] = []
    epochs: int = 3


class _LaterRecipe(_Recipe):
    added_later: bool = False


ADAM = {"name": "adam", "lr": 0.1}


def test_defaults_are_left_out_and_names_stay_so_that_two_optimisers_of_the_same_keys_differ():
    assert deciding(_Recipe(optimiser=ADAM)) == {"optimiser": ADAM}
    assert deciding(_Recipe(optimiser={"name": "sgd", "lr": 0.1})) != deciding(_Recipe(optimiser=ADAM))


def test_a_key_that_is_given_its_default_decides_nothing_and_any_other_value_does():
    assert deciding(_Recipe(optimiser=ADAM, epochs=3)) == deciding(_Recipe(optimiser=ADAM))
    assert deciding(_Recipe(optimiser=ADAM, epochs=4))["epochs"] == 4
    assert deciding(_Recipe(optimiser={**ADAM, "betas": (0.8, 0.999)}))["optimiser"]["betas"] == [0.8, 0.999]
    assert deciding(_Recipe(optimiser=ADAM, also=[{"lr": 1.0}]))["also"] == [{"name": "sgd", "lr": 1.0}]


def test_an_identity_outlives_a_key_that_is_added_later():
    assert deciding(_LaterRecipe(optimiser=ADAM)) == deciding(_Recipe(optimiser=ADAM))
    assert deciding(_LaterRecipe(optimiser=ADAM, added_later=True)) != deciding(_Recipe(optimiser=ADAM))
    assert resolved(_LaterRecipe(optimiser=ADAM))["added_later"] is False
