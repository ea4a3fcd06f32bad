"""`[treenode]`, `snapshot_…`: where snapshots outlive their node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Flag, OptionalFile, OptionalOwnFolder, Seconds
from services.shared.config.sections import Problem, Settings
from services.shared.objects.places import (
    Endpoint,
    Parallel,
    PartMebibytes,
    Place,
    Region,
    Retries,
    StoreKind,
    StoreUrl,
)


class SnapshotStoreSettings(Settings, frozen=True, kw_only=True):
    """The place that all nodes see, if there is one, and how patient its users are."""

    #: Where snapshots are stored for a node that finds no other to start from: "folder", in `snapshot_folder`; or "s3",
    #: in the bucket that `snapshot_url` names.
    snapshot_store: StoreKind = "folder"
    #: A folder that every node of the cluster sees, such as a mount of NFS. It has to be there: one inside of a mount
    #: is not, while the mount is away. Empty: snapshots are on the nodes' own disks alone.
    snapshot_folder: OptionalOwnFolder = ""
    #: The bucket, which has to be there, and what the names of objects begin with: s3://BUCKET/PREFIX. It may be the
    #: one of import files.
    snapshot_url: StoreUrl = ""
    #: Where an S3-compatible store that is not Amazon's is reached: https://HOST:PORT. Empty: Amazon's, or
    #: AWS_ENDPOINT_URL.
    snapshot_endpoint: Endpoint = ""
    #: Whether the endpoint may be http:// on another machine: snapshots, which have every member's data, go over that
    #: network as they are.
    snapshot_plain_http: Flag = False
    #: The bucket's region; empty: AWS_REGION, or Amazon's first.
    snapshot_region: Region = ""
    #: File with the keys, as Amazon's tools have it: `aws_access_key_id` and `aws_secret_access_key` under `[default]`.
    #: It is read again every five minutes. Empty: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what the machine has.
    snapshot_credentials_file: OptionalFile = ""
    #: File of the authorities that vouch for the endpoint, as PEM; empty: those of the system.
    snapshot_ca_file: OptionalFile = ""
    #: Size of the objects that a snapshot is stored in, in mebibytes. So much times `snapshot_parallel` is the memory
    #: that storing one takes; reading takes one of them.
    snapshot_part_mib: PartMebibytes = 16
    #: How many of them are put at a time.
    snapshot_parallel: Parallel = 2
    #: How long an attempt to connect may take, in seconds.
    snapshot_connect_timeout_s: Seconds = 3.0
    #: How long one of them may take to be put or read, in seconds.
    snapshot_request_timeout_s: Seconds = 30.0
    #: How often a request to an S3-compatible store that failed is sent again before that is told.
    snapshot_retries: Retries = 3
    #: The newest snapshot on the disk of one node, a passive one where there is one, is stored so often, in seconds.
    #: Well below the time that the log keeps its records (the pusher's retention_age_s): what is older can't be
    #: followed by the log.
    snapshot_store_interval_s: Seconds = 900.0
    #: How long storing one may take, in seconds.
    snapshot_store_s_max: Seconds = 3_600.0
    #: Snapshots that are stored, the newest included; 2 or more, so that a damaged one has one before it.
    snapshots_stored: Annotated[int, Meta(ge=2, le=100)] = 3
    #: How often the place is looked at: whether it is there, and which snapshot is the newest; in seconds.
    snapshot_look_s: Seconds = 60.0

    @property
    def place(self) -> Place:
        """What they say, in the words of all such places."""
        return Place(
            keeps="snapshots",
            settings="treenode.snapshot_",
            store=self.snapshot_store,
            folder=self.snapshot_folder,
            url=self.snapshot_url,
            endpoint=self.snapshot_endpoint,
            plain_http=self.snapshot_plain_http,
            region=self.snapshot_region,
            credentials_file=self.snapshot_credentials_file,
            ca_file=self.snapshot_ca_file,
            connect_timeout_s=self.snapshot_connect_timeout_s,
            request_timeout_s=self.snapshot_request_timeout_s,
            retries=self.snapshot_retries,
        )

    def problems(self) -> Iterator[Problem]:
        """A store that has no place, or two."""
        return self.place.problems()
