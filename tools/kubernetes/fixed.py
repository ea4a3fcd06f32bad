"""Settings of the services that the manifests go by: another value would render a cluster that can't work.

Ports and names are those of Services, probes, policies and roles; folders lie on the one volume that a pod may write
to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.shared.config.bounds import (
    Folder,
    OptionalFile,
    OptionalFolder,
    OptionalOwnFolder,
    OptionalPath,
    OwnFolder,
    Port,
)
from services.shared.config.sections import Field
from services.shared.domain.addresses import EVERY_ADDRESS
from tools.kubernetes.forms import Schema

#: Where a pod's volume is.
VOLUME: Final = "/var/lib/fasttree"
_BELOW = rf"{VOLUME}(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+"
#: The base's cluster.name, which is in the names of certificates.
CLUSTER: Final = "dot-live"
#: Nodes that may have a Secret of theirs in the component of certificates.
NODES_WITH_SECRETS: Final = 8
#: The sections of what runs in pods.
PODS: Final = ("coordinator", "pusher", "treenode", "console", "datatrax")

#: What has to be in the release as it is in the base's cluster.toml.
AS_IN_THE_BASE: Final = {
    "cluster": ("nodes_service",),
    "coordinator": ("store", "lease_name"),
    "console": ("pusher",),
    "datatrax": ("pusher",),
    "tls": ("mode",),
}
#: What may be left out, and has to be the default where it is given: each pod has its own name and address, nobody
#: mounts a host file, Services select by labels, and who the coordinators are follows from how many there are.
AS_BY_DEFAULT: Final = {
    "cluster": ("coordinator", "hosts_file", "service_account_folder"),
    "coordinator": ("name", "advertise", "role_labels"),
    "pusher": ("name", "advertise"),
    "treenode": ("name", "host"),
}
#: What has to be there, whatever it is: the default leads elsewhere.
NEEDED: Final = {
    **dict.fromkeys(("coordinator", "pusher", "treenode"), ("listen_host", "state_folder")),
    "console": ("listen_host", "vip", "key_file"),
    "datatrax": ("listen_host", "spool_folder"),
}
#: The Services that reports come by.
REPORTS: Final = ("fasttree-vip:50100", "fasttree-rw:50100", "fasttree-ro:50100")


def schema_of(section: str, name: str, field: Field, base: Mapping[str, Mapping[str, Any]]) -> Schema | None:
    """What a setting has to be in the chart; None where the manifests don't mind."""
    if name in AS_IN_THE_BASE.get(section, ()):
        return {"const": base[section][name]}
    if name in AS_BY_DEFAULT.get(section, ()) or (section in PODS and field.kind == Port):
        return {"const": field.default}
    if section in PODS and name == "listen_host":
        return {"enum": sorted(EVERY_ADDRESS)}
    if (section, name) == ("tokens", "keys"):
        return {"type": "string", "pattern": f"^(https?://.+|{_BELOW})?$"}
    if (section, name) in (("console", "vip"), ("datatrax", "vip")):
        return {"enum": list(REPORTS)}
    if field.kind in (Folder, OwnFolder) or (section, name) == ("console", "key_file"):
        return {"type": "string", "pattern": f"^{_BELOW}$"}
    if (section, name) == ("console", "state_folder"):
        # Its volume has nothing else.
        return {"type": "string", "pattern": f"^({VOLUME}|{_BELOW})?$"}
    if field.kind in (OptionalFile, OptionalFolder, OptionalOwnFolder, OptionalPath):
        return {"type": "string", "pattern": f"^({_BELOW})?$"}
    return None


def needed(section: str) -> list[str]:
    """The settings that a release can't do without."""
    return [*AS_IN_THE_BASE.get(section, ()), *NEEDED.get(section, ())]
