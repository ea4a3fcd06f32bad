"""What goes into a bundle, by its name there."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fasttree.client import Client, FastTreeClientError
from fasttree.client.calls.pages import PageError, Pages
from fasttree.command.bundle.scrubbing import Scrubber, without_secrets
from fasttree.command.bundle.vocabulary import vocabulary
from fasttree.command.doctor.cluster import http_ports
from fasttree.command.doctor.commands import examine
from fasttree.command.doctor.machine import installed_versions
from fasttree.command.session import CommandError, Session
from fasttree.command.status.looking import Seen, look, status_client

#: Name in the bundle to its content.
Contents = dict[str, bytes]


async def gather(session: Session, logs: dict[str, Path], settings_file: Path | None, log_bytes: int) -> Contents:
    """All that can be had; what can't is said in its place, as `problem`."""
    words = asyncio.ensure_future(asyncio.to_thread(vocabulary))
    findings = await examine(session)
    found: Contents = {}
    names: set[str] = set()
    try:
        async with status_client(session) as client:
            seen = await look(session, client)
            names = _names_of(seen, client)
            scrubber = Scrubber(await words, names)
            found["status.json"] = _json(scrubber.value(seen.json))
            found["endpoints.json"] = _json(client.endpoints.content())
            for part, page in (await _figures(client, seen)).items():
                found[f"metrics/{part}.txt"] = page.encode()
    except (FastTreeClientError, CommandError) as error:
        scrubber = Scrubber(await words, names)
        found["status.json"] = _json({"problem": without_secrets(str(error))})
    found["doctor.json"] = _json([scrubber.value(finding.json) for finding in findings])
    found["versions.json"] = _json(
        {**installed_versions(), "system": platform.platform(), "processors": len(os.sched_getaffinity(0))}
    )
    found["settings.json"] = _json(_settings(settings_file, scrubber))
    for name, path in logs.items():
        found[f"logs/{name}.log"] = await asyncio.to_thread(_tail, path, log_bytes, scrubber)
    return found


def _names_of(seen: Seen, client: Client) -> set[str]:
    """What the cluster's parts are called."""
    found = {node["node"] for node in seen.content["nodes"]} | {each["pusher"] for each in seen.content["pushers"]}
    found |= {seen.content["cluster"], seen.content["coordinator"], *client.endpoints.http}
    content = client.endpoints.content()
    places = [content[part] for part in ("vip", "pusher", "coordinator", "messages", "console")]
    places += [node[kind] for node in content["nodes"] for kind in ("report", "instant", "http")]
    for address in ",".join(places).split(","):
        found |= {address, address.rpartition(":")[0]}
    return found - {""}


async def _figures(client: Client, seen: Seen) -> dict[str, str]:
    pages, ports = Pages(client.tls, client.token), http_ports(client, seen)

    async def page(address: str) -> str:
        try:
            return without_secrets(await pages.get(address, "/metrics"))
        except PageError as error:
            return f"# problem: {error}\n"

    return dict(zip(ports, await asyncio.gather(*map(page, ports.values())), strict=True))


def _settings(file: Path | None, scrubber: Scrubber) -> Any:
    """Those in force, by the services' own reader; never the file as it is, which may say anything."""
    from fasttree.command.settings.reading import faults_of, settings_in_force

    if faults := faults_of(file, ()):
        return {"faults": [scrubber.sentence(fault) for fault in faults]}
    found: dict[str, dict[str, Any]] = {}
    for section, field, value, place in settings_in_force(file, ()):
        shown = without_secrets(value) if isinstance(value, str) else scrubber.value(value)
        found.setdefault(section, {})[field] = {"value": shown, **({"given_by": place} if place else {})}
    return found


def _tail(path: Path, most: int, scrubber: Scrubber) -> bytes:
    """Its last lines; a key that goes over several is taken out before they are looked at one by one."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - most))
            text = file.read(most).decode("utf-8", "replace")
    except OSError as error:
        return f"problem: {error.strerror}\n".encode()
    if size > most:
        text = text.partition("\n")[2]
    return "".join(_lines(without_secrets(text), scrubber)).encode()


def _lines(text: str, scrubber: Scrubber) -> Iterator[str]:
    for line in text.splitlines():
        try:
            record = json.loads(line) if line.startswith("{") else None
        except ValueError:
            record = None
        if isinstance(record, dict):  # --log-format json
            yield json.dumps(scrubber.value(record), ensure_ascii=False) + "\n"
        else:
            yield scrubber.sentence(line) + "\n"


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
