"""
State files in YAML, JSON and XML: from a tree of mappings, lists and plain values to bytes, and back.

Reading keeps every YAML and XML value as the text that stands there; what it means, the field decides. So `007` stays
an id, `null` a name, and no loader guesses. Writing quotes every text. What a format cannot hold is known beforehand.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape, quoteattr

import xmltodict
import yaml

Tree = Mapping[str, Any]
"""Values are mappings, lists, text, numbers, truth values, or None."""

_NEVER = re.compile("(?!)")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_PLAIN_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

# The C parser is ten times as fast; PyYAML comes without it where there was no compiler.
_YamlLoader: type[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class DamagedError(Exception):
    """A document cannot be read."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


class Format(NamedTuple):
    """How a kind of file is written and read."""

    name: str
    dump: Callable[[Tree], str]
    parse: Callable[[str], object]
    cannot_hold: re.Pattern[str]
    """The characters that a text in such a file cannot have, not even escaped."""

    def encode(self, tree: Tree) -> bytes:
        """Return the file's bytes."""
        return self.dump(tree).encode()

    def decode(self, data: bytes) -> object:
        """Return what a file says; `DamagedError` with the line where that cannot be told."""
        try:
            return self.parse(data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DamagedError(data[: error.start].count(b"\n") + 1, f"is not UTF-8: {error.reason}") from error
        except RecursionError as error:
            raise DamagedError(1, "is nested too deeply") from error
        except ValueError as error:  # a number with more digits than Python reads
            raise DamagedError(1, str(error)) from error

    def bad_character(self, text: str) -> str | None:
        """Return the first character that cannot be held, if any."""
        found = self.cannot_hold.search(text)
        return found[0] if found else None

    def escaped(self, text: str) -> str:
        """Return the text with what cannot be held written as a backslash escape."""
        return self.cannot_hold.sub(lambda found: ascii(found[0])[1:-1], text)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dump_json(tree: Tree) -> str:
    lines = (f"  {json.dumps(key)}: {_json_value(value)}" for key, value in tree.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json_value(value: object) -> str:
    """Write a list one item a line: a change of one job is a change of one line."""
    if not isinstance(value, list) or not value:
        return _json_text(value)
    return "[\n    " + ",\n    ".join(map(_json_text, value)) + "\n  ]"


def _json_text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedError(error.lineno, error.msg) from error


# ── YAML ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dump_yaml(tree: Tree) -> str:
    return "".join(_yaml_mapping(tree, ""))


def _yaml_mapping(tree: Tree, indent: str) -> Iterator[str]:
    for key, value in tree.items():
        name = key if key.isidentifier() else _yaml_scalar(key)
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:\n"
            yield from _yaml_mapping(value, indent + "  ")
        elif isinstance(value, list) and value:
            yield f"{indent}{name}:\n"
            yield from _yaml_list(value, indent)
        else:
            yield f"{indent}{name}: {_yaml_scalar(value)}\n"


def _yaml_list(items: list[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping) and item:
            # The dash takes the place of the first line's indentation.
            block = "".join(_yaml_mapping(item, indent + "  "))
            yield f"{indent}- {block[len(indent) + 2 :]}"
        else:
            yield f"{indent}- {_yaml_scalar(item)}\n"


def _yaml_scalar(value: object) -> str:
    """Write a value as JSON, which YAML is a superset of but for a few characters that it wants escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_PLAIN_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _parse_yaml(text: str) -> object:
    try:
        return yaml.load(text, _YamlLoader)  # noqa: S506 - it makes nothing but texts, lists and mappings
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DamagedError(line, error.problem or "is not YAML") from error
    except yaml.YAMLError as error:
        raise DamagedError(1, str(error)) from error


# ── XML ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

_ITEM = {"jobs": "job", "locks": "lock", "runs": "run", "instances": "instance", "flights": "flight"}


def _dump_xml(tree: Tree) -> str:
    body = "".join(_xml_children(tree, "  "))
    return f'<?xml version="1.0" encoding="utf-8"?>\n<chrono>\n{body}</chrono>\n'


def _xml_children(tree: Tree, indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if key[0] not in "@#":
            yield from _xml_element(key, value, indent)


def _xml_element(name: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, list):
        items = "".join("".join(_xml_element(_ITEM.get(name, "item"), item, indent + "  ")) for item in value)
        yield f"{indent}<{name}>\n{items}{indent}</{name}>\n"
    elif isinstance(value, Mapping):
        attributes = "".join(f" {key[1:]}={quoteattr(str(text))}" for key, text in value.items() if key[0] == "@")
        yield f"{indent}<{name}{attributes}>\n{''.join(_xml_children(value, indent + '  '))}{indent}</{name}>\n"
    else:
        yield f"{indent}<{name}>{_xml_text(value)}</{name}>\n"


def _xml_text(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return escape(text, {"\r": "&#13;"})  # a bare one would be read as a newline


def _parse_xml(text: str) -> object:
    try:
        document = xmltodict.parse(text, strip_whitespace=False, disable_entities=True)
    except ExpatError as error:
        raise DamagedError(error.lineno, str(error)) from error
    except ValueError as error:  # entities
        raise DamagedError(1, str(error)) from error
    return _listed(next(iter(document.values())) or {})


def _listed(root: Any) -> object:
    """Turn `<jobs><job/><job/></jobs>` into a list of jobs."""
    if not isinstance(root, dict):
        raise DamagedError(1, "holds text where elements belong")
    for name, item in _ITEM.items():
        if name in root:
            root[name] = _items(root[name], item)
    return {key: value for key, value in root.items() if not key.startswith("#")}


def _items(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return value if isinstance(value, list) else []
    elements = {key: item for key, item in value.items() if key[0] not in "@#"}
    if name not in elements and len(elements) == 1 and "id" not in elements:
        (name,) = elements  # what the Go original calls an item is not known
    items = elements.get(name, [value] if "id" in elements else [])
    listed = items if isinstance(items, list) else [items]
    for item in listed:
        if isinstance(item, dict) and isinstance(item.get("flights"), dict):
            item["flights"] = _items(item["flights"], "flight")
    return listed


YAML = Format("YAML", _dump_yaml, _parse_yaml, _SURROGATES)
JSON = Format("JSON", _dump_json, _parse_json, _NEVER)
XML = Format("XML", _dump_xml, _parse_xml, _NOT_IN_XML)

FORMATS = {".yaml": YAML, ".yml": YAML, ".json": JSON, ".xml": XML}
