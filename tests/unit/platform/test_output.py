"""What leaves the process: log lines and metrics without card numbers, secrets or tokens."""

import json
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardwright.platform import metrics
from cardwright.platform.redaction import redact
from cardwright.platform.telemetry import logger
from tests.pans import pan

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
PAN = pan()
SPACED = " ".join(PAN[start : start + 4] for start in range(0, 16, 4))


@pytest.mark.parametrize(
    "number", [PAN, SPACED, SPACED.replace(" ", "-"), pan("51", 16), pan("34", 15), pan("60", 19), pan("4", 13)]
)
def test_a_card_number_is_taken_out_wherever_it_stands(number: str) -> None:
    for text in (number, f"card {number}.", f'{{"pan":"{number}"}}', f"({number})", f"a={number}&b", f"x{chr(10)}{number}"):
        shown = redact(text)
        assert number not in shown
        assert "****" in shown


@given(st.text(max_size=30), st.sampled_from([PAN, SPACED]), st.text(max_size=30))
def test_no_text_around_it_lets_a_number_through(before: str, number: str, after: str) -> None:
    assert number not in redact(f"{before} {number} {after}")


@pytest.mark.parametrize(
    "text",
    [
        "0190163d-8694-739b-aea5-966c26f8ad91", "2026-11-21T12:00:00.123Z", "amount 1234.56", "build 20261121.7", "port 5432",
        "tok_4242abcd4242", "hash 3f2a9c", "4242",
    ],
)  # fmt: skip
def test_what_is_no_card_number_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", ["whs" + "ec_c2VjcmV0c2VjcmV0", "ey" + "JhbGciOiJub25lIn0.e30.", "Bearer abc.def-ghi_jkl"])
def test_secrets_and_tokens_are_taken_out(text: str) -> None:
    shown = redact(f"x {text} y")
    assert text not in shown
    assert shown.startswith("x ")
    assert shown.endswith(" y")


def test_a_metric_is_one_line_in_the_embedded_format(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.emit({"Latency": (1.5, "Milliseconds"), "Decisions": (1, "Count")}, {"Decision": "APPROVE"}, AT, request_id="req_1")
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    (described,) = told["_aws"]["CloudWatchMetrics"]
    assert told["_aws"]["Timestamp"] == int(AT.timestamp() * 1000)
    assert described["Dimensions"] == [["Decision"]]
    assert described["Metrics"] == [{"Name": "Latency", "Unit": "Milliseconds"}, {"Name": "Decisions", "Unit": "Count"}]
    assert (told["Latency"], told["Decisions"], told["Decision"], told["request_id"]) == (1.5, 1, "APPROVE", "req_1")


def test_an_error_line_tells_type_and_text_without_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.error_line("failed", ValueError(f"bad value {PAN}"), request_id="req_1")
    line = capsys.readouterr().out
    assert PAN not in line
    assert json.loads(line) == {
        "level": "ERROR",
        "message": "failed",
        "error": "ValueError",
        "detail": "bad value ****",
        "request_id": "req_1",
    }


def test_the_logger_redacts_messages_extras_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logger.registered_handler
    stream = handler.stream  # type: ignore[attr-defined]  # a StreamHandler, as Powertools makes it
    try:
        import sys

        handler.setStream(sys.stdout)  # type: ignore[attr-defined]  # likewise
        try:
            raise RuntimeError(f"no such card {SPACED}")
        except RuntimeError:
            logger.exception("failed for %s", PAN, extra={"given": PAN})
    finally:
        handler.setStream(stream)  # type: ignore[attr-defined]  # likewise
    line = capsys.readouterr().out
    assert PAN not in line
    assert SPACED not in line
    assert json.loads(line)["level"] == "ERROR"
    assert "RuntimeError" in line


@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    st.dictionaries(st.sampled_from(["Latency", "Decisions"]), st.tuples(st.integers() | st.floats(0, 1e6), st.just("Count"))),
    st.none() | st.booleans() | st.text() | st.uuids() | st.lists(st.integers(), max_size=2),
)
def test_a_metrics_line_is_json_whatever_it_is_told(
    dimensions: dict[str, str], told: dict[str, tuple[float, str]], value: object
) -> None:
    with redirect_stdout(StringIO()) as output:
        metrics.emit(told, dimensions, AT, request_id=value)
    line = json.loads(output.getvalue())
    (described,) = line.pop("_aws")["CloudWatchMetrics"]
    assert described["Dimensions"] == [list(dimensions)]
    assert [metric["Name"] for metric in described["Metrics"]] == list(told)
    shown = str(value) if isinstance(value, UUID) else value
    assert line == {**dimensions, **{name: number for name, (number, _) in told.items()}, "request_id": shown}
