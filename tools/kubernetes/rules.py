"""The alert rules, as the Prometheus operator takes them."""

from __future__ import annotations

import textwrap
from pathlib import Path

_HEAD = """\
# Made by `python -m tools.kubernetes` from deploy/alerts/fasttree.rules.yml, which is the one to edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fasttree
  namespace: fasttree  # helm: {{ .Release.Namespace }}
  labels: {app.kubernetes.io/name: fasttree}  # helm: monitoring.labels
spec:
"""


def rules_file(root: Path) -> str:
    """The text of deploy/k8s/components/monitoring/rules.yaml."""
    text = (root / "deploy/alerts/fasttree.rules.yml").read_text(encoding="utf-8")
    return _HEAD + textwrap.indent(text[text.index("groups:") :], "  ")
