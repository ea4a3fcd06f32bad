"""Where the coordinators' record is, and what it is asked with, where it is kept in etcd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from services.shared.config.bounds import Address, EtcdKey, OptionalFile
from services.shared.config.sections import Problem, Settings


class EtcdSettings(Settings, frozen=True, kw_only=True):
    """Of the store `etcd`."""

    #: host:port of each member of the etcd cluster, for clients; where store is etcd.
    etcd_endpoints: Annotated[list[Address], Meta(max_length=16)] = field(default_factory=list)
    #: The key that holds the record and who is active; empty: `/fasttree/`, the cluster's name, `/coordinator`.
    etcd_key: EtcdKey = ""
    #: Certificates (PEM) of who signed the members' own: calls are encrypted; empty: they are not.
    etcd_ca_file: OptionalFile = ""
    #: This client's own certificate (PEM), where etcd asks for one.
    etcd_cert_file: OptionalFile = ""
    #: Its key (PEM).
    etcd_key_file: OptionalFile = ""
    #: File with one line `user:password`, where etcd's authentication is on; empty: it is not. It is read again
    #: whenever a connection is made.
    etcd_user_file: OptionalFile = ""

    def problems(self) -> Iterator[Problem]:
        """A certificate without its key, and both without anything to check the other side by."""
        if bool(self.etcd_cert_file) != bool(self.etcd_key_file):
            yield Problem("etcd_cert_file", "must be set together with etcd_key_file")
        if self.etcd_cert_file and not self.etcd_ca_file:
            yield Problem("etcd_ca_file", "must be set where etcd_cert_file is")
