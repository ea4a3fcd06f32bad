"""What the dashboards show: each panel's question, and the expressions that answer it."""

from __future__ import annotations

from typing import NamedTuple


class Panel(NamedTuple):
    """One graph. `series`: each expression with what its lines are called; `unit`: as Grafana names it."""

    title: str
    unit: str
    series: dict[str, str]


_CALLS = "rpc_server_call_duration_seconds_bucket"
_FAILED = 'code=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE|RESOURCE_EXHAUSTED"'
_SERVICES = ("pusher", "node", "coordinator")


def _of_each(figure: str, lines: str = "{{instance}}") -> dict[str, str]:
    """The same figure of every service."""
    return {f"fasttree_{service}_{figure}": f"{service} {lines}" for service in _SERVICES}


def _rate(counter: str, by: str) -> str:
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


def _quantile(share: str, bucket: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({bucket}[$__rate_interval])))"


def _gc_share() -> dict[str, str]:
    paused = "rate(fasttree_{}_gc_pause_seconds_total[$__rate_interval])"
    return {paused.format(service): f"{service} {{{{instance}}}}" for service in _SERVICES}


DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "cluster": (
        "FastTree: the cluster",
        (
            Panel("Is there a primary?", "bool_yes_no", {"max(fasttree_coordinator_has_primary)": "primary"}),
            Panel(
                "Nodes that are alive", "short", {"sum by (instance) (fasttree_coordinator_node_alive)": "{{instance}}"}
            ),
            Panel("Who is primary", "short", {"fasttree_node_primary": "{{node}}"}),
            Panel("Ready nodes", "short", {"fasttree_node_ready": "{{node}}"}),
            Panel(
                "Updates a second, by result",
                "ops",
                {_rate("fasttree_pusher_updates_total", "result"): "{{result}}"},
            ),
            Panel("Lag of each node", "short", {"fasttree_pusher_node_lag_updates": "{{node}}"}),
            Panel("Lag of each node, in seconds", "s", {"fasttree_node_lag_seconds": "{{node}}"}),
            Panel("Age of the data", "s", {"fasttree_node_data_age_seconds": "{{node}}"}),
            Panel(
                "Positions",
                "short",
                {"fasttree_pusher_log_position": "log", "fasttree_node_position": "{{node}}"},
            ),
            Panel("Nodes that differ", "short", {"fasttree_pusher_node_differs": "{{node}}"}),
            Panel("Elections", "short", {"increase(fasttree_coordinator_elections_total[1h])": "in an hour"}),
            Panel("Lease left when prolonged", "s", {"fasttree_node_lease_left_seconds": "{{node}}"}),
            Panel(
                "Held and rejected",
                "short",
                {"fasttree_node_held_updates": "held {{node}}", "fasttree_node_rejected_updates": "rejected {{node}}"},
            ),
            Panel(
                "Import in force",
                "short",
                {"fasttree_pusher_import_id": "pusher", "fasttree_node_import_id": "{{node}}"},
            ),
            Panel("The last import, by phase", "s", {"fasttree_node_import_seconds": "{{node}} {{phase}}"}),
        ),
    ),
    "calls": (
        "FastTree: calls",
        (
            Panel(
                "Calls a second",
                "reqps",
                {_rate("rpc_server_call_duration_seconds_count", "rpc_method"): "{{rpc_method}}"},
            ),
            Panel(
                "Calls that fail, of all of a node's",
                "percentunit",
                {
                    f"sum by (instance) (rate(fasttree_node_call_seconds_count{{{_FAILED}}}[$__rate_interval])) "
                    "/ sum by (instance) (rate(fasttree_node_call_seconds_count[$__rate_interval]))": "{{instance}}"
                },
            ),
            Panel(
                "By status",
                "reqps",
                {
                    _rate(
                        "rpc_server_call_duration_seconds_count", "rpc_response_status_code"
                    ): "{{rpc_response_status_code}}"
                },
            ),
            Panel("Half of the calls take less than", "s", {_quantile("0.5", _CALLS, "rpc_method"): "{{rpc_method}}"}),
            Panel("One in a hundred takes more than", "s", {_quantile("0.99", _CALLS, "rpc_method"): "{{rpc_method}}"}),
            Panel(
                "Calls under way",
                "short",
                {
                    f"sum by (call) ({name})": "{{call}}"
                    for name in ("fasttree_node_calls_open", "fasttree_pusher_calls_open")
                },
            ),
            Panel(
                "Connections",
                "short",
                {
                    "fasttree_node_connections_open": "{{node}} {{port}}",
                    "fasttree_pusher_connections_open": "pusher {{port}}",
                },
            ),
            Panel(
                "Connections that were ended",
                "short",
                {_rate("fasttree_node_connections_ended_total", "instance, reason"): "{{instance}} {{reason}}"},
            ),
            Panel("Large reports that wait", "short", {"fasttree_node_report_copies_waiting": "{{node}}"}),
            Panel("Calls that wait for a position", "short", {"fasttree_node_position_waits": "{{node}}"}),
        ),
    ),
    "inside": (
        "FastTree: inside the services",
        (
            Panel("Commits of the log", "ops", {"rate(fasttree_pusher_commits_total[$__rate_interval])": "a second"}),
            Panel(
                "Updates in a commit",
                "short",
                {
                    _quantile("0.5", "fasttree_pusher_commit_updates_bucket", "instance"): "half",
                    _quantile("0.99", "fasttree_pusher_commit_updates_bucket", "instance"): "one in a hundred",
                },
            ),
            Panel(
                "A commit takes",
                "s",
                {
                    _quantile("0.5", "fasttree_pusher_commit_seconds_bucket", "instance"): "half",
                    _quantile("0.99", "fasttree_pusher_commit_seconds_bucket", "instance"): "one in a hundred",
                },
            ),
            Panel(
                "Queues of the pusher",
                "short",
                {
                    "fasttree_pusher_log_queue_writes": "writes",
                    "fasttree_pusher_updates_under_way": "updates",
                    "fasttree_pusher_node_in_flight_updates": "to {{node}}",
                },
            ),
            Panel(
                "A batch is in the tree after",
                "s",
                {_quantile("0.99", "fasttree_node_apply_batch_seconds_bucket", "node"): "{{node}}"},
            ),
            Panel(
                "The engine's share of the time",
                "percentunit",
                {"rate(fasttree_node_apply_busy_seconds_total[$__rate_interval])": "{{node}}"},
            ),
            Panel(
                "Event loops",
                "s",
                {**_of_each("event_loop_delay_seconds"), "fasttree_node_loop_delay_seconds": "heartbeats of {{node}}"},
            ),
            Panel("Garbage collection, the longest", "s", _of_each("gc_pause_longest_seconds")),
            Panel("Garbage collection, share of the time", "percentunit", _gc_share()),
            Panel("Memory", "bytes", _of_each("memory_bytes")),
            Panel(
                "Memory by part",
                "bytes",
                {
                    "fasttree_node_memory_part_bytes": "{{node}} {{part}}",
                    "fasttree_pusher_tail_bytes": "the log's newest",
                },
            ),
            Panel("Room on disks", "bytes", _of_each("disk_free_bytes")),
            Panel("Size of the log", "bytes", {"fasttree_pusher_log_bytes": "log"}),
            Panel(
                "Snapshots",
                "s",
                {
                    "fasttree_node_snapshot_write_seconds": "written in, {{node}}",
                    "fasttree_node_snapshot_fork_seconds": "updates held up, {{node}}",
                },
            ),
            Panel("Certificates are good for", "s", _of_each("certificate_expires_in_seconds")),
            Panel(
                "Spans",
                "ops",
                {
                    _rate(f"fasttree_{service}_spans_total", "result"): f"{service} {{{{result}}}}"
                    for service in _SERVICES
                },
            ),
        ),
    ),
}
