"""The gRPC server beside h2spec, the conformance tests of HTTP/2 and HPACK: `make h2spec`.

Every case has to pass but those in `EXCEPTIONS`, each with the reason why the server does otherwise. One of these that
passes is told as well: it is an exception no more. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from bench.cluster.cluster import free_port

_INSTALL = "go install github.com/summerwind/h2spec/cmd/h2spec@latest, and put it into the PATH"
_START_S = 60.0
#: Until h2spec takes no answer for an answer.
_PATIENCE_S = 2

_LATE = (
    "libnghttp2 passes over what comes on a stream that it knows no more: a peer that had not heard of its end may "
    "well have sent it; no handler sees it, its headers are decoded and its windows given back"
)
_PRIORITY = (
    "RFC 9113 has done away with priorities; libnghttp2 reads them no more, and too many of them end a connection"
)


class Excepted(NamedTuple):
    """Why a case need not pass."""

    reason: str
    #: It fails whenever it runs; else it depends on what is sent first, the test's second frame or the answer.
    always: bool = True


#: Section and title of a case.
EXCEPTIONS: dict[tuple[str, str], Excepted] = {
    ("http2/5.1", "closed: Sends a DATA frame after sending RST_STREAM frame"): Excepted(_LATE),
    ("http2/5.1", "closed: Sends a HEADERS frame after sending RST_STREAM frame"): Excepted(_LATE),
    ("http2/5.1", "closed: Sends a DATA frame"): Excepted(_LATE),
    ("http2/5.1", "closed: Sends a HEADERS frame"): Excepted(_LATE),
    ("http2/5.1", "half closed (remote): Sends a HEADERS frame"): Excepted(
        "where the answer is whole before the second frame comes, the stream is closed: " + _LATE, always=False
    ),
    ("http2/5.1", "half closed (remote): Sends a DATA frame"): Excepted(
        "where the answer is whole before the second frame comes, the stream is closed: " + _LATE, always=False
    ),
    ("http2/5.1.1", "Sends stream identifier that is numerically smaller than previous"): Excepted(
        "to libnghttp2 it is a stream that is closed: " + _LATE
    ),
    (
        "http2/5.1.2",
        "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
    ): Excepted(
        "each request is answered in the read that brings it, so there need not be more at a time than may be; that "
        "one more is refused is held by `tests/shared/http2/test_conformance.py`",
        always=False,
    ),
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): Excepted(_PRIORITY),
    ("http2/6.3", "Sends a PRIORITY frame with 0x0 stream identifier"): Excepted(_PRIORITY),
    (
        "http2/6.9.1",
        "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    ): Excepted("a stream's error may be taken for the connection's (RFC 9113, 5.4); the test knows only the stream's"),
}


@contextmanager
def served() -> Iterator[int]:
    """A server like the services' own, with one call that does nothing; its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.reports.empty_server", f"127.0.0.1:{port}"])
    try:
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline_s or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


class Case(NamedTuple):
    """A case that ran."""

    section: str
    title: str
    #: What the server did, and the test did not want; empty where it passed.
    found: str


def cases(program: str, port: int, folder: Path) -> list[Case]:
    """All of h2spec, run."""
    report = folder / "report.xml"
    command = [program, "--port", str(port), "--path", "/fasttree.v1.ReportService/GetMember"]
    command += ["--timeout", str(_PATIENCE_S), "--junit-report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not report.exists():
        sys.exit(f"error: h2spec has written no report: {done.stdout[-500:]} {done.stderr[-500:]}")
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped") is not None
        text = "skipped" if skipped else "" if problem is None else " ".join("".join(problem.itertext()).split())
        found.append(Case(case.get("package", ""), case.get("classname", ""), text))
    return found


def main() -> None:
    """Runs it once; ends with 1 where something is not as it is said here."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    program = shutil.which("h2spec") or shutil.which("h2spec", path=str(Path.home() / "go" / "bin"))
    if program is None:
        sys.exit(f"error: h2spec is missing: {_INSTALL}")
    with tempfile.TemporaryDirectory(prefix="fasttree-h2spec-") as folder, served() as port:
        found = cases(program, port, Path(folder))
    failed = [case for case in found if case.found and (case.section, case.title) not in EXCEPTIONS]
    for case in found:
        excepted = EXCEPTIONS.get((case.section, case.title))
        if case in failed:
            print(f"{case.section}: {case.title}: {case.found}")
        elif excepted is not None and case.found:
            print(f"{case.section}: {case.title}: an exception: {excepted.reason}")
        elif excepted is not None and excepted.always:
            print(f"{case.section}: {case.title}: passes: take it off the exceptions in {__file__}")
    passed = sum(not case.found for case in found)
    excepted_count = len(found) - passed - len(failed)
    print(json.dumps({"cases": len(found), "passed": passed, "exceptions": excepted_count, "failed": len(failed)}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
