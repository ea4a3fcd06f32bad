"""Finds code that nothing uses, by vulture: python -m tools.dead_code

What only tests use counts as dead, unless it is listed in `KEPT` with its reason. A line of `KEPT` that keeps nothing
is an error too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import vulture

ROOT = Path(__file__).parents[1]
FOLDERS = ("services", "client/fasttree", "bench", "tools")

_PUBLIC = "part of the Python client's API"
_TESTS_WAIT = "tests wait for it, or look at it, where nothing else tells"
_STORE = "a store for tests, held to the duties of the real ones by tests/conformance"
_TESTED_TOOL = "used by the test of the README's tour"
_DOOR = "the scenario driver and mypy hold every core to it"
_FRAMEWORK = "called by the framework, under the framework's name"
_CONTEXT = "what grpcio gives a handler; libraries may ask for it"
_SET = "set for a library that reads it"
_DOOR = "what every core is held to by tests/scenarios"
_FAULTS = "what tests do to servers"
_FIELD = "a field of figures that are told whole, each under its name"

#: What vulture finds and what stays: "path:name" to the reason.
KEPT = {
    "services/shared/security/audit/decisions.py:NOT_WRITTEN": "decisions with reasons; a test holds them",
    "services/shared/security/audit/records.py:policy_name": "a field of gRFC A59, read by whoever reads the file",
    "services/shared/serving/metrics.py:_receive_metrics": "what a reader of OpenTelemetry's SDK is handed figures by",
    "client/fasttree/command/local/vip.py:render_haproxy": "makes the shipped configuration; `fasttree up` runs Envoy",
    "services/coordinator/stores/store.py:MemoryStore": _STORE,
    "bench/servers/s3_server.py:s3_server": "what tests of the store of import files run against",
    "services/pusher/admission/admission.py:unconfirmed": _FIELD,
    "services/pusher/admission/progress.py:unconfirmed": _FIELD,
    "services/treenode/tree/reconcile.py:members_added": _FIELD,
    "services/treenode/tree/reconcile.py:members_after": _FIELD,
    "services/treenode/imports/checking/check.py:refused_rows": _FIELD,
    "services/treenode/imports/checking/check.py:written_rows": _FIELD,
    "services/coordinator/leadership/settings.py:replaced_within_s": "the bound that tests hold the defaults to",
    "services/shared/cores.py:TimelessCore": _DOOR,
    "services/shared/serving/callers/interceptor.py:intercept_service": _FRAMEWORK,
    "services/shared/serving/server.py:intercept_service": _FRAMEWORK,
    "services/shared/serving/standard/guarding.py:intercept_service": _FRAMEWORK,
    "services/shared/serving/http2/call.py:send_initial_metadata": _CONTEXT,
    "services/shared/serving/http2/call.py:set_trailing_metadata": _CONTEXT,
    "services/shared/serving/http2/call.py:set_code": _CONTEXT,
    "services/shared/serving/http2/call.py:set_details": _CONTEXT,
    "services/shared/serving/http2/call.py:set_compression": _CONTEXT,
    "services/shared/serving/http2/call.py:disable_next_message_compression": _CONTEXT,
    "services/shared/serving/http2/call.py:peer_identities": _CONTEXT,
    "services/shared/security/identity.py:num_tickets": _SET,
    "services/shared/security/tokens/verifying.py:max_header_length": _SET,
    "services/shared/security/tokens/verifying.py:max_payload_length": _SET,
    "client/fasttree/command/bundle/commands.py:mtime": _SET,
    "tools/image/archive.py:mtime": _SET,
    "tools/image/contents.py:mtime": _SET,
    "services/treenode/kernels/compiling.py:on_start": _FRAMEWORK,
    "services/treenode/kernels/compiling.py:on_end": _FRAMEWORK,
    "services/treenode/tree/kernels/kernel_cache.py:_data_name": _SET,
    "services/treenode/tree/kernels/kernel_cache.py:from_function": _FRAMEWORK,
    "services/treenode/tree/kernels/kernel_cache.py:get_source_stamp": _FRAMEWORK,
    "services/treenode/tree/kernels/kernel_cache.py:CACHE_LOCATOR_CLASSES": _SET,
    "services/treenode/tree/kernels/kernel_cache.py:_cache_path": _SET,
    "services/treenode/imports/reading/csv_reader.py:writeable": _SET,
    "services/treenode/imports/reading/parquet_reader.py:writeable": _SET,
    "services/treenode/reports/plan/filters.py:prec": _SET,
    "services/treenode/imports/table_reader.py:has_spare": _TESTS_WAIT,
    "tools/mutants/runs.py:pytest_runtestloop": _FRAMEWORK,
    "client/fasttree/command/main.py:format_commands": _FRAMEWORK,
    "client/fasttree/command/ranges.py:_describe_range": _FRAMEWORK,
    "tools/tour.py:comparable": _TESTED_TOOL,
    "tools/tour.py:python_program": _TESTED_TOOL,
}

#: What a decorator registers is used by whoever it is registered with.
_REGISTERED = ["@*.command", "@*.group", "@click.command", "@click.group"]
#: Names that Python gives its arguments and methods.
_GIVEN = ["__call__", "trace"]


def problems(root: Path, folders: Sequence[str], kept: dict[str, str]) -> Iterator[str]:
    """Each piece of dead code that is not kept, and each line of `kept` that keeps nothing, as `place: what: mend`."""
    finder = vulture.Vulture(ignore_names=_GIVEN, ignore_decorators=_REGISTERED)
    finder.scavenge([str(root / folder) for folder in folders])
    stale, printed = set(kept), _printed_names(root)
    for item in finder.get_unused_code(min_confidence=60, sort_by_size=False):
        path = Path(item.filename).relative_to(root).as_posix()
        if item.typ == "method" and item.name[0].isupper():
            continue  # gRPC calls it
        if item.typ == "variable" and item.name in printed and path.startswith("client/"):
            continue  # tests hold what is printed to it
        key = f"{path}:{item.name}"
        stale.discard(key)
        if key not in kept:
            mend = "remove it, or keep it with a reason in tools/dead_code.py"
            yield f"{path}:{item.first_lineno}: {item.message}: {mend}"
    for key in sorted(stale):
        yield f"tools/dead_code.py: {key!r} keeps nothing any more: remove the line"


def _printed_names(root: Path) -> set[str]:
    """The fields of all that commands print as JSON."""
    schemas = root / "docs" / "commands.json"
    shapes = json.loads(schemas.read_text(encoding="utf-8"))["$defs"] if schemas.exists() else {}
    return {name for shape in shapes.values() for name in shape["properties"]}


def main() -> None:
    """Prints the problems; fails where there is one."""
    found = list(problems(ROOT, FOLDERS, KEPT))
    print("\n".join(found) or "dead code: none")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
