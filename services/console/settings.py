"""`[console]`: the pages in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import (
    Address,
    ColumnName,
    Host,
    OptionalAddresses,
    OptionalFile,
    OptionalFolder,
    OptionalOwnFolder,
    Port,
    Seconds,
)
from services.shared.config.sections import Problem, Settings


class DoorSettings(Settings, frozen=True, kw_only=True):
    """Who is let in."""

    #: Address to listen on. The pages change a cluster: the machine alone, by default.
    listen_host: Host = "127.0.0.1"
    #: Port of the pages, of health and of figures (HTTP); 0 takes a free one.
    port: Port = 50500
    #: File with the key that an operator's browser shows, made where there is none. Empty: whoever reaches the port
    #: operates the cluster and reads the tree; it can't be empty where `tls.mode` is mutual, nor where others than this
    #: machine reach the port.
    key_file: OptionalFile = ""


class WatchSettings(Settings, frozen=True, kw_only=True):
    """What is asked of the cluster, once for all browsers."""

    #: How often the pusher is asked, in seconds, which is also the step of the lag's graph.
    poll_s: Seconds = 1.0
    #: How often each node is asked what it holds, in seconds.
    node_poll_s: Seconds = 5.0
    #: How far back the lag's graph goes, in seconds, while the console runs.
    history_s: Annotated[float, Meta(ge=10, le=86_400)] = 1_800.0
    #: Changes of the cluster that are listed, at most.
    changes_max: Annotated[int, Meta(ge=10, le=10_000)] = 500
    #: How long a part may take to answer before it is said to be away, in seconds.
    answer_s: Seconds = 3.0


class ViewerSettings(Settings, frozen=True, kw_only=True):
    """What a browser may cost."""

    #: Browsers that follow the cluster at a time; one more is told so.
    viewers_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    #: The cluster is told to a browser no more often than this, in seconds.
    tell_s: Seconds = 0.25
    #: New orders are told to a browser no more often than this, in seconds.
    orders_s: Seconds = 1.0
    #: A browser that takes nothing for so long is followed by no more news, in seconds: it comes back by itself.
    stall_s: Seconds = 20.0
    #: Reports under way at a time, of all browsers; one more is refused.
    reports_max: Annotated[int, Meta(ge=1, le=1_000)] = 32
    #: How long a report may take, in seconds.
    report_s: Seconds = 30.0
    #: Workbooks of Excel that are made at a time, each in a temporary file; one more is refused.
    workbooks_max: Annotated[int, Meta(ge=1, le=32)] = 2
    #: Rows of a workbook, at most; CSV and Arrow have no such bound.
    workbook_rows_max: Annotated[int, Meta(ge=1, le=1_048_575)] = 100_000
    #: How long a switchover may take, in seconds.
    action_s: Seconds = 60.0


class DrillSettings(Settings, frozen=True, kw_only=True):
    """What a drill from the page does."""

    #: endpoints.json of a cluster on this machine, as `fasttree up` writes it: by it a drill kills the primary's
    #: process, and finds the nodes' logs of updates. Empty: a drill is a switchover under load, and kills nothing.
    endpoints_file: OptionalFile = ""
    #: Folder of the console's own for what has to outlive it: what a drill that is under way has to undo, which the
    #: next start undoes where the console was killed. Empty: nobody does then, and the page says so before it begins.
    state_folder: OptionalOwnFolder = ""
    #: Reads a second through the VIP.
    drill_reads_per_s: Annotated[float, Meta(ge=1, le=2_000)] = 200.0
    #: Orders a second, for a member of the drill's own.
    drill_orders_per_s: Annotated[float, Meta(ge=1, le=2_000)] = 100.0
    #: A drill's read that is not answered within that has failed, in seconds.
    drill_read_timeout_s: Seconds = 2.0
    #: Patience of each step, in seconds.
    drill_wait_s: Seconds = 60.0


class MachineSettings(Settings, frozen=True, kw_only=True):
    """Logs and audit logs: of the machine that the console is on, and of parts elsewhere."""

    #: host:port of the coordinators' HTTP ports, with commas between: by them the pages show their logs and audit logs,
    #: on whichever machines they are. The nodes' are known to the coordinator.
    coordinator_http: OptionalAddresses = ""
    #: The same of the pushers.
    pusher_http: OptionalAddresses = ""

    #: Folder with the audit logs of services, at any depth, such as one that their state folders are in. Empty: the
    #: page says how to see them where they are.
    audit_folder: OptionalFolder = ""
    #: Folder with log files, NAME.log, as `fasttree up` has them. Empty: the page says how to see logs where they are.
    logs_folder: OptionalFolder = ""


class ConsoleSettings(Settings, frozen=True, kw_only=True):
    """The pages in a browser."""

    #: host:port of the VIP, for reports.
    vip: Address = "127.0.0.1:50100"
    #: host:port of the pusher, or of each of several, with commas between.
    pusher: OptionalAddresses = "127.0.0.1:50300"
    #: Column of texts with the members' names, by which they are found too; where the tree has none of that name, ids
    #: alone are looked for.
    name_column: ColumnName = "name"

    door: DoorSettings = DoorSettings()
    watch: WatchSettings = WatchSettings()
    viewer: ViewerSettings = ViewerSettings()
    drill: DrillSettings = DrillSettings()
    machine: MachineSettings = MachineSettings()

    def problems(self) -> Iterator[Problem]:
        """Nobody to ask."""
        if not self.pusher:
            yield Problem("pusher", "must name the pusher: half of a cluster's state is known to it alone")
