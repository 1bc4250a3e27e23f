"""Strict configuration: unknown keys rejected with the nearest valid one, canonical JSON, readable errors."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetPydanticSchema,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vireid.core.errors import UserError, did_you_mean
from vireid.core.registry import Registry

T = TypeVar("T", bound=BaseModel)


class Strict(BaseModel):
    """Base of every configuration and record: frozen, no extra keys, errors that name the nearest valid key."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_keys(cls, data: Any) -> Any:
        fields = cls.__pydantic_fields__  # model_fields, without what that asks for each time: stores hold thousands
        if isinstance(data, Mapping) and not fields.keys() >= data.keys():
            key = str(next(key for key in data if key not in fields))
            raise PydanticCustomError(
                "unknown_key", "unknown key '{key}'{hint}", {"key": key, "hint": did_you_mean(key, fields)}
            )
        return data


class Component(Strict):
    """Configuration of a registered component; ``name`` selects the class, the other fields are its own."""

    version: ClassVar[str] = "1"  # of the component: raised when a change alters its results, and part of identity

    name: str


def component(registry: Registry) -> Any:
    """Annotated type of a config field that holds a component of ``registry``, validated by its own ``Config``."""

    def validate(data: Any) -> Any:
        if isinstance(data, Component):
            return data
        if not isinstance(data, Mapping) or "name" not in data:
            raise PydanticCustomError(
                "component",
                "a {kind} needs a 'name'; valid: {names}",
                {"kind": registry.kind, "names": ", ".join(registry.names())},
            )
        try:
            config_class = registry.config(str(data["name"]))
        except UserError as error:
            raise PydanticCustomError("component", "{message}", {"message": str(error)}) from error
        return config_class.model_validate(data)

    def schema(_: Any, handler: Any) -> dict[str, Any]:
        schemas = {name: handler(registry.config(name).__pydantic_core_schema__) for name in registry.names()}
        choices = [{"allOf": [known, {"properties": {"name": {"const": name}}}]} for name, known in schemas.items()]
        plug_in = {"properties": {"name": {"pattern": ":"}}, "description": "module:Class of your own"}
        return {"anyOf": [*choices, {"type": "object", "required": ["name"], **plug_in}]}

    return Annotated[SerializeAsAny[Component], BeforeValidator(validate), GetPydanticSchema(None, schema)]


def resolved(config: BaseModel) -> dict[str, Any]:
    """Every key with its value, defaults included: what a record shows."""
    return config.model_dump(mode="json")


def deciding(config: BaseModel) -> dict[str, Any]:
    """The keys that differ from their defaults, with every ``name`` and required key: what an identity hashes.

    So an identity outlives new keys: a run made before a key existed is the run with that key at its default. The
    price is that a default must never change its meaning under the same component version; a test holds every default.
    """
    full = config.model_dump(mode="json")
    kept: dict[str, Any] = {}
    for key, field in type(config).model_fields.items():
        value = getattr(config, key)
        default = field.get_default(call_default_factory=True)
        if key == "name" or field.is_required() or value != default:
            kept[key] = _deciding_value(value, full[key])
    return kept


def _deciding_value(value: Any, plain: Any) -> Any:
    if isinstance(value, BaseModel):
        return deciding(value)
    if isinstance(value, list | tuple):
        return [_deciding_value(*pair) for pair in zip(value, plain, strict=True)]
    return plain


def parse(schema: type[T], data: Any, where: str) -> T:
    """Validate ``data`` against ``schema``; ``where`` (a file or command) opens the message.

    Raises:
        UserError: one line per fault: ``place: key = value: what is wrong``.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False):
            key = ".".join(str(part) for part in fault["loc"])
            if fault["type"] == "unknown_key":
                key = ".".join(filter(None, [key, str(fault["ctx"]["key"])]))
                lines.append(f"{where}: {key}: {fault['msg']}")
                continue
            given = "" if isinstance(fault["input"], Mapping | list) else f" = {fault['input']!r}"
            message = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "literal_error":
                expected = [part.strip("' ") for part in fault["ctx"]["expected"].replace(" or ", ",").split(",")]
                message += did_you_mean(str(fault["input"]), expected)
            lines.append(f"{where}: {key}{given}: {message}" if key else f"{where}: {message}")
        raise UserError("\n".join(lines)) from error


def canonical_json(data: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text, which identity hashes."""
    if isinstance(data, BaseModel):
        data = data.model_dump(mode="json")
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
