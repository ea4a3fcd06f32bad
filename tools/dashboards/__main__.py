"""Writes deploy/dashboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.dashboards.panels import DASHBOARDS, Panel

FOLDER = Path(__file__).parents[2] / "deploy/dashboards"
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3
#: Whichever Prometheus is chosen on the page.
_SOURCE = {"type": "prometheus", "uid": "${source}"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "expr": expression,
                "legendFormat": lines,
                # Points that lead to a trace.
                "exemplar": "bucket" in expression,
            }
            for place, (expression, lines) in enumerate(panel.series.items())
        ],
    }


def made_dashboards() -> dict[Path, str]:
    """Each file with its text."""
    found: dict[Path, str] = {}
    for name, (title, panels) in DASHBOARDS.items():
        dashboard = {
            "uid": f"fasttree-{name}",
            "title": title,
            "tags": ["fasttree"],
            "schemaVersion": 39,
            "version": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {
                "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
            },
            "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
        }
        found[FOLDER / f"fasttree-{name}.json"] = json.dumps(dashboard, indent=1) + "\n"
    return found


def main() -> None:
    """All of them."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in made_dashboards().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
