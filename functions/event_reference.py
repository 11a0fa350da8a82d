"""The tables of docs/reference/events.md, made from the schemas of events: `python -m functions.event_reference` writes them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cardwright.webhooks.rules import schemas

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "events.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
_TITLES = {
    "card": "A card",
    "decision": "A decision of ours",
    "movement": "A transaction after an event of the network's",
    "limits": "`limits` of a card",
    "merchant": "`merchant` of a transaction",
    "kyc": "A verified or rejected identity",
}
_GROUPS = {"approval": "decision", "decline": "decision", "movement": "movement"}
Json = dict[str, Any]


def tables() -> str:
    """The table of types, and a table of fields for each shape of `data`."""
    lines = ["## Types", "", "| type | when | `data` |", "|---|---|---|"]
    shapes: dict[str, list[tuple[str, Json, Json]]] = {}
    for kind in schemas.kinds():
        whole = schemas.schema(kind.type)
        found = [(_group(kind.type, name), shape) for name, shape in _shapes(whole)]
        for group, shape in found:
            shapes.setdefault(group, []).append((kind.type, shape, whole["$defs"]))
        titles = " or ".join(dict.fromkeys(_title(group).lower() for group, _ in found))
        lines.append(f"| `{kind.type}` | {kind.description}{' **Not sent yet.**' if kind.planned else ''} | {titles} |")
    card = schemas.schema("card.limits_updated")["$defs"]
    shapes["limits"] = [("card.limits_updated", card["limits"], card)]
    cleared = schemas.schema("transaction.cleared")["$defs"]
    shapes["merchant"] = [("transaction.cleared", cleared["merchant"], cleared)]
    for group, members in shapes.items():
        lines += ["", f"## {_title(group)}", "", "| field | form | |", "|---|---|---|", *_rows(members)]
    return "\n".join(lines)


def _shapes(whole: Json) -> Iterator[tuple[str, Json]]:
    """The shapes the data of a message may have, each with the name of its definition if it has one."""
    data = whole["properties"]["data"]
    for option in data.get("oneOf", [data]):
        name = option.get("$ref", "").rpartition("/")[2]
        yield name, whole["$defs"][name] if name else option


def _group(event_type: str, name: str) -> str:
    prefix = event_type.partition(".")[0]
    return _GROUPS.get(name) or (prefix if prefix in _TITLES and event_type != "card.fraud_detected" else event_type)


def _title(group: str) -> str:
    return _TITLES.get(group, f"`{group}`")


def _rows(members: list[tuple[str, Json, Json]]) -> Iterator[str]:
    told: dict[str, Json] = {}
    words: dict[str, dict[str, None]] = {}
    where: dict[str, list[str]] = {}
    for event_type, shape, definitions in members:
        for name, field in shape["properties"].items():
            whole = {**definitions.get(field.get("$ref", "").rpartition("/")[2], {}), **field}
            told.setdefault(name, whole)
            values = [whole["const"]] if "const" in whole else whole.get("enum", [])
            words.setdefault(name, {}).update((f"`{value}`", None) for value in values if value is not None)
            if name in shape.get("required", []):
                where.setdefault(name, []).append(event_type)
    for name, field in told.items():
        sentences = [field.get("description", ""), _presence(where.get(name, []), [one for one, *_ in members])]
        sentences.append(", ".join(words[name]))
        yield f"| `{name}` | {_form(field)} | {' '.join(sentence for sentence in sentences if sentence)} |"


def _presence(present: list[str], members: list[str]) -> str:
    """Where a field is, unless it is everywhere."""
    if len(present) == len(members):
        return ""
    some = sorted(set(present) - {one for one in present if members.count(one) > present.count(one)})
    return f"Only of {', '.join(f'`{one}`' for one in some)}." if some else "May be left out."


def _form(field: Json) -> str:
    kinds = field.get("type", "string")
    words: list[str] = kinds if isinstance(kinds, list) else [kinds]
    form: str = field.get("format", words[0]) if words[0] == "string" else words[0]
    return form + (" or null" if "null" in words else "")


def rendered(page: str) -> str:
    """The page with its tables as they must be. Raises ValueError for a page without their marks."""
    head, begin, rest = page.partition(f"{BEGIN}\n\n")
    _, end, tail = rest.partition(f"\n\n{END}")
    if not begin or not end:
        raise ValueError(f"no {BEGIN} and {END}")
    return head + begin + tables() + end + tail


def main() -> int:
    """Write the tables into the page."""
    PAGE.write_text(rendered(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
