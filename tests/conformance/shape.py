"""Checks answers against the description of the Engine API: names and types of fields.

A small reading of Swagger 2.0 schemas; null passes wherever Go would write it for an empty value.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_API = json.loads((Path(__file__).parent / "engine-api-1.47.json").read_text())
_DEFINITIONS: dict[str, Any] = _API["definitions"]
_PYTHON = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}

# Fields Docker sends although this version's description does not know them (yet, or any more).
TOLERATED = frozenset({"BuilderSize", "GwPriority", "Container", "ContainerConfig"})


def response_schema(method: str, path: str, status: int = 200) -> Any:
    return _API["responses"][path][method.lower()][str(status)]


def described() -> set[tuple[str, str]]:
    """(method, path) of every answer that is JSON."""
    return {
        (method, path)
        for path, methods in _API["responses"].items()
        for method, answers in methods.items()
        if any(_resolve(schema).get("type") != "string" for schema in answers.values())
    }


def definition(name: str) -> Any:
    return {"$ref": f"#/definitions/{name}"}


def problems(value: Any, schema: Any, at: str = "", *, unknown: bool = True) -> list[str]:
    """What is wrong with ``value``; ``unknown`` reports fields the description does not have."""
    schema = _resolve(schema)
    if value is None:
        return []
    kind = schema.get("type")
    if kind is None and "properties" in schema:
        kind = "object"
    if kind is None:
        return []
    wanted = _PYTHON[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{at or 'body'}: expected {kind}, got {json.dumps(value)[:60]}"]
    if "enum" in schema and kind == "string" and value not in schema["enum"] and value != "":
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    found: list[str] = []
    if kind == "array" and "items" in schema:
        for number, item in enumerate(value):
            found += problems(item, schema["items"], f"{at}[{number}]", unknown=unknown)
    elif kind == "object":
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        for name in schema.get("required", ()):
            if name not in value:
                found.append(f"{at}.{name}: is missing")
        for name, item in value.items():
            if name in properties:
                found += problems(item, properties[name], f"{at}.{name}", unknown=unknown)
            elif isinstance(rest, dict):
                found += problems(item, rest, f"{at}[{name}]", unknown=unknown)
            elif properties and unknown and rest is None and name not in TOLERATED:
                found.append(f"{at}.{name}: is not in the description")
    return found


def _resolve(schema: Any) -> Any:
    while "$ref" in schema:
        schema = _DEFINITIONS[schema["$ref"].rpartition("/")[2]]
    if "allOf" in schema:
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for part in map(_resolve, schema["allOf"]):
            if part.get("type", "object") != "object":
                return part
            merged["properties"] |= part.get("properties", {})
            merged["required"] += part.get("required", [])
        return merged
    return schema


def fields(value: Any, at: str = "") -> set[str]:
    """Every field of a body as a path; entries of lists and open maps count as one."""
    found: set[str] = set()
    if isinstance(value, dict):
        for name, item in value.items():
            path = f"{at}.{name}" if at else name
            found.add(path)
            found |= fields(item, path)
    elif isinstance(value, list):
        for item in value:
            found |= fields(item, f"{at}[]")
    return found
