"""The line of a request."""

import io
import json
from datetime import UTC, datetime

from monitoring.logs import RequestLog
from monitoring.tracing import Request


def test_lines_are_json_of_the_shape_of_other_logs() -> None:
    """One a request, in order, with the moment, and without what a request does not have."""
    stream = io.StringIO()
    log = RequestLog("web", stream)
    first, second = Request(None, "POST", None, None), Request(None, "GET", None, None)
    first.experiment = "home"
    before = datetime.now(UTC)
    log.add(first, "/v1/recommendations", "200", 0.0123456)
    log.add(second, "", "404", 0.001)
    assert stream.getvalue() == ""
    log.write()
    log.write()
    of_first, of_second = map(json.loads, stream.getvalue().splitlines())
    assert of_first["duration_ms"] == 12.346
    assert (of_first["experiment"], of_first["trace_id"]) == ("home", first.trace_id)
    assert of_second["status"] == 404
    assert not {"span_id", "experiment"} & of_second.keys()
    said = datetime.fromisoformat(of_first["at"])
    assert abs((said - before).total_seconds()) < 5
