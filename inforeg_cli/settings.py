"""The base of everything that is configured: frozen, and an unknown key is an error, never ignored."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level: ``{"method": {"beta": 0.9}}`` as ``{"method.beta": 0.9}``. Lists are values."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nested(key: str, value: Any) -> Any:
    """`value` at a dotted key: ``nested("method.beta", 0.9)`` is ``{"method": {"beta": 0.9}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merge(base: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """`update` over `base`, table by table; a table whose `name` changes is another thing, so its old keys go.

    A plain word under a table is the table's name: ``method = "ogm"`` is ``method = { name = "ogm" }``.
    """
    renamed = "name" in update and base.get("name", update["name"]) != update["name"]
    merged = {} if renamed else dict(base)
    for key, value in update.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, str):
            old = {"name": old}
        elif isinstance(value, str) and isinstance(old, Mapping):
            value = {"name": value}
        merged[key] = merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged
