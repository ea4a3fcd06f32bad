"""The least CBLDATATRAX that has a cluster."""

from __future__ import annotations

LEAST = {
    "MDIR-live": "dot",
    "server-live": "vip.example.com",
    "dir-live": "/fasttree/live",
    "enabled-primary-live": "Y",
    "cluster-transfer-live": "Y",
}


def file_of(*more: str, **changed: str) -> str:
    """That file with other values, and lines below it. In a keyword, `_` stands for a hyphen; an empty value leaves
    the key out."""
    values = LEAST | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"FastTree-{name}={value}" for name, value in values.items() if value]
    return "\n".join(["[FastTree]", *lines, *more])
