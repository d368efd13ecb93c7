"""The dashboards show every instrument once, with the names that `/metrics` has and Grafana's units."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from monitoring.dashboards import dashboards, main, unit_of
from monitoring.exposition import prometheus_name
from monitoring.instruments import DECISIONS, INSTRUMENTS, SPOOL_SIZE, Instrument

PANELS: list[dict[str, Any]] = [panel for dashboard in dashboards().values() for panel in dashboard["panels"]]
# Of those that Grafana knows. Beside them it takes `suffix: ...`.
UNITS = {"s", "bytes", "none"}


def expressions(panel: dict[str, Any]) -> str:
    """What a panel asks for."""
    return "\n".join(target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.name)
def test_each_instrument_has_one_panel(instrument: Instrument) -> None:
    """Its name is in the queries of its own panel and of no other."""
    word = re.compile(rf"\b{prometheus_name(instrument)}(_total|_bucket)?\b")
    (panel,) = [panel for panel in PANELS if word.search(expressions(panel))]
    assert (panel["title"], panel["description"]) == (instrument.name, instrument.help)
    asked = expressions(panel)
    assert ("rate(" in asked) == (instrument.kind != "gauge")
    assert asked.count("histogram_quantile(") == (3 if instrument.kind == "histogram" else 0)
    assert ("$experiment" in asked) == ("experiment" in instrument.labels)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit == unit_of(instrument)
    assert unit in UNITS or unit.startswith("suffix: ")


def test_units_are_translated() -> None:
    """UCUM's are Grafana's; what is counted is named, and of counters by second."""
    assert (unit_of(SPOOL_SIZE), unit_of(DECISIONS)) == ("bytes", "suffix: decisions/s")


def test_what_is_not_known_to_be_a_duration_or_a_size_is_counted() -> None:
    """A new unit of the table that nobody has thought of here is found by this test."""
    assert [
        i.name for i in INSTRUMENTS if i.unit not in {"s", "By", "1"} and not re.fullmatch(r"\{\w+\}", i.unit)
    ] == []


def test_panels_have_what_grafana_needs() -> None:
    """Ids are distinct, panels do not overlap, queries have distinct letters and the datasource that was chosen."""
    for dashboard in dashboards().values():
        panels = dashboard["panels"]
        assert {panel["id"] for panel in panels} == set(range(1, len(panels) + 1))
        places = Counter((panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels)
        assert set(places.values()) == {1}
        for panel in panels:
            assert {"type", "title", "description", "datasource", "fieldConfig", "targets", "gridPos"} <= panel.keys()
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        names = {variable["name"] for variable in dashboard["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panels)))
        assert names == used


def test_the_command_writes_them(tmp_path: Path) -> None:
    """As files, the same each time."""
    command = [sys.executable, "-m", "monitoring.dashboards", str(tmp_path / "new" / "folder")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    written = {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}
    main(tmp_path)
    assert written == {name: (tmp_path / name).read_bytes() for name in dashboards()}
    assert {json.loads(text)["uid"] for text in written.values()} == {"croupier-service", "croupier-experiments"}
