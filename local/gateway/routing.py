"""From method and path to a catalogue row, as API Gateway resources match: whole segments, literal before parameter."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from cardwright.kernel.rows import Http, Row, Url


@dataclass(frozen=True, slots=True)
class Match:
    """A path that exists: its resource template, its path parameters (decoded) and the row for each method."""

    resource: str
    parameters: dict[str, str]
    methods: dict[str, Row]


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    parameter_name: str = ""
    resource: str = ""
    methods: dict[str, Row] = field(default_factory=dict)


_URL_METHOD: Final = "POST"


class Router:
    """Matches request paths against the catalogue's Http rows and the Url rows that REST routes too."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Build the tree. Raises ValueError when two rows claim one method and path or name a parameter differently."""
        self._root = _Node()
        for row in rows:
            match row:
                case Http():
                    self._add(row.method, row.full_path, row)
                case Url():
                    self._add(_URL_METHOD, row.full_path, row)
                case _:
                    continue

    def _add(self, method: str, path: str, row: Row) -> None:
        node = self._root
        for segment in path.split("/")[1:]:
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            name = segment[1:-1]
            if node.parameter is None:
                node.parameter, node.parameter_name = _Node(), name
            elif node.parameter_name != name:
                raise ValueError(f"{path}: API Gateway allows one name per segment, here {node.parameter_name}")
            node = node.parameter
        if method in node.methods:
            raise ValueError(f"{method} {path} is claimed by {node.methods[method].name} and {row.name}")
        node.resource = path
        node.methods[method] = row

    def match(self, raw_path: str) -> Match | None:
        """Find the resource of a percent-encoded path; None when there is none."""
        segments = raw_path.split("/")[1:]
        found = self._walk(self._root, segments, 0, {})
        return None if found is None else Match(found[0].resource, found[1], found[0].methods)

    def _walk(
        self, node: _Node, segments: list[str], depth: int, parameters: dict[str, str]
    ) -> tuple[_Node, dict[str, str]] | None:
        if depth == len(segments):
            return (node, parameters) if node.methods else None
        segment = segments[depth]
        literal = node.literals.get(segment)
        if literal is not None and (found := self._walk(literal, segments, depth + 1, parameters)):
            return found
        if node.parameter is None or not segment:
            return None
        return self._walk(node.parameter, segments, depth + 1, {**parameters, node.parameter_name: unquote(segment)})
