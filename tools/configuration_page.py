"""Makes docs/configuration.md: every setting of every service in one place.

A service reads its settings by `load_settings(Class, "section", …)`; each such call in services/ is found, and each
field of the class, its parts' among them, is listed with its default, its bounds and the `#:` comment above it. So a
setting that exists is listed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from services.shared.config.bounds import allowed
from services.shared.config.sections import Settings, fields_of

ROOT = Path(__file__).parents[1]

_HEAD = """\
# Configuration

Every setting with its default and its bounds. This page is made from the code by `tools/configuration`; a test keeps it
fresh.

A service takes its settings, the last one winning, from

1. the file given by `--config FILE` (TOML, one table a section; one file can serve a whole cluster),
2. the environment: `FASTTREE_<SECTION>_<FIELD>`, such as `FASTTREE_TREENODE_REPORT_PORT=50100`,
3. the command line: `--set section.field=value`, as often as needed.

In the environment and on the command line, a list is written with commas (`--set cluster.periods=2026-11,2026-10`), and
a number in digits, with a point or none (`1000`, not `1e3`). The file is UTF-8, with a byte order mark or without. An
unknown section or field, a name that a setting had before, a value of the wrong type or one that is not within its
bounds is an error at the start: one line that names the place, the value and the mend. A variable `FASTTREE_...` that
nothing reads is named in a warning.

`GRPC_EXPERIMENTS` is gRPC's own: the services set it, where it is not set, to leave gRPC's event engine out.

`fasttree up` gives each process its ports, folders and addresses itself and leaves the rest to `DIR/cluster.toml`.
How many threads its VIP has, `--vip-threads` says (1 to 64, by default 1); elsewhere, Envoy's own `--concurrency`.
"""


def found_sections() -> dict[str, list[type[Settings]]]:
    """Section name to the classes that are read from it, in the order of their modules."""
    sections: dict[str, list[type[Settings]]] = {}
    for path in sorted((ROOT / "services").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load_settings"):
                continue
            name, section = node.args[0], node.args[1]
            if not (isinstance(name, ast.Name) and isinstance(section, ast.Constant)):
                raise SystemExit(f'{path}:{node.lineno}: write load_settings(Class, "section", …), both literally')
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            known = sections.setdefault(str(section.value), [])
            if getattr(module, name.id) not in known:
                known.append(getattr(module, name.id))
    return sections


def field_comments(settings: type[Settings]) -> dict[str, str]:
    """Field name to the text of the `#:` lines above it."""
    comments: dict[str, str] = {}
    gathered: list[str] = []
    for line in inspect.getsource(settings).splitlines():
        if match := re.match(r"\s*#: ?(.*)", line):
            gathered.append(match[1])
        elif match := re.match(r"    (\w+): ", line):
            comments[match[1]] = " ".join(gathered)
            gathered = []
    return comments


def page() -> str:
    """The page's text."""
    sections = found_sections()
    parts = [_HEAD]
    order = ["cluster", "coordinator", "pusher", "treenode"]
    for section in [*order, *sorted(sections.keys() - set(order))]:
        parts += [_table(section, settings) for settings in sections.get(section, [])]
    return "\n".join(parts)


def _table(section: str, settings: type[Settings]) -> str:
    about = (inspect.getdoc(settings) or "").splitlines()[0]
    lines = [f"## [{section}]", "", about, "", "| field | default | may be | what it is |", "|---|---|---|---|"]
    for name, field in fields_of(settings).items():
        text = field_comments(field.owner)[name].replace("|", "\\|")
        lines.append(f"| `{name}` | `{_toml(field.default)}` | {allowed(field.kind)} | {text} |")
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(page())
