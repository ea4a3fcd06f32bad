"""The chart's templates, made line by line from the manifests that kustomize builds.

In a manifest, two kinds of comments are meant for the chart:

- `KEY: VALUE  # helm: PATH`: the chart has the value of that path there, and VALUE is its default. `PATH | toString`
  where the manifest needs a text and the value is a number; a whole template in braces stands for itself.
- `#helm TEXT`: a line of the chart alone.

All other comments stay out of the chart: its readers have values.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_VALUE = re.compile(r"^(?P<head>\s*(?:- )?(?:[\w./-]+: )?)(?P<value>\S.*?)  # helm: (?P<source>.+)$")
_OWN_LINE = re.compile(r"^(?P<indent>\s*)#helm (?P<text>.+)$")
_FILTER = " | toString"


class ManifestError(Exception):
    """A line of a manifest that the chart can't be made from."""


def template(text: str) -> str:
    """The chart's template of that manifest."""
    lines = []
    for line in text.splitlines():
        if own := _OWN_LINE.match(line):
            lines.append(f"{own['indent']}{own['text']}")
        elif found := _VALUE.match(line):
            lines.append(found["head"] + _rendered(found["source"]))
        elif not line.lstrip().startswith("#"):
            if "{{" in line:
                raise ManifestError(f"{line.strip()!r} would be a template: give it as `#helm` or `# helm:`")
            lines.append(line)
    return "\n".join(lines) + "\n"


def defaults(text: str) -> Iterator[tuple[str, str]]:
    """Every path that the manifest names, with its default as YAML."""
    for line in text.splitlines():
        found = _VALUE.match(line)
        if found and not found["source"].startswith("{{"):
            path = found["source"].removesuffix(_FILTER)
            yield path, found["value"] if path == found["source"] else found["value"].strip('"')


def _rendered(source: str) -> str:
    if source.startswith("{{"):
        return source
    if source.endswith(_FILTER):
        return f"{{{{ toJson (.Values.{source.removesuffix(_FILTER)} | toString) }}}}"
    return f"{{{{ toJson .Values.{source} }}}}"
