"""The page about events says what the schemas say."""

import pytest

from cardwright.outbox.rules import EVENT_TYPES
from functions import event_reference


def test_the_page_is_the_one_the_schemas_make() -> None:
    page = event_reference.PAGE.read_text("utf-8")
    assert page == event_reference.rendered(page), "run `python -m functions.event_reference`"


def test_every_type_and_its_fields_are_on_the_page() -> None:
    tables = event_reference.tables()
    assert [name for name in sorted(EVENT_TYPES) if f"| `{name}` |" not in tables] == []
    assert "| `replaced_by` | uuid | The card that takes its place. Only of `card.replaced`. |" in tables
    assert "| `session_id` | uuid | The session that was ended. May be left out. |" in tables


def test_a_page_without_marks_is_refused_and_one_with_old_tables_renewed() -> None:
    with pytest.raises(ValueError, match="begin"):
        event_reference.rendered("# Events\n")
    old = f"# Events\n{event_reference.BEGIN}\n\nold\n\n{event_reference.END}\nend\n"
    made = event_reference.rendered(old)
    assert made.startswith(f"# Events\n{event_reference.BEGIN}\n\n## Types\n")
    assert made.endswith(f"\n\n{event_reference.END}\nend\n")
    assert event_reference.rendered(made) == made
