"""`[pusher]`, `import_…`: where import files are kept."""

from __future__ import annotations

from collections.abc import Iterator

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


class ImportStoreSettings(Settings, frozen=True, kw_only=True):
    """The place that all pushers see, if there is one, and how patient its users are."""

    #: Where import files are kept: "folder", in `import_folder`; or "s3", in the bucket that `import_url` names.
    import_store: StoreKind = "folder"
    #: A folder that every pusher of the cluster sees, such as a mount of NFS. It has to be there: one inside of a mount
    #: is not, while the mount is away. Empty: `state_folder`, which is on one machine.
    import_folder: OptionalOwnFolder = ""
    #: The bucket, which has to be there, and what the names of objects begin with: s3://BUCKET/PREFIX.
    import_url: StoreUrl = ""
    #: Where an S3-compatible store that is not Amazon's is reached: https://HOST:PORT. Empty: Amazon's, or
    #: AWS_ENDPOINT_URL.
    import_endpoint: Endpoint = ""
    #: Whether the endpoint may be http:// on another machine: files and names go over that network as they are.
    import_plain_http: Flag = False
    #: The bucket's region; empty: AWS_REGION, or Amazon's first.
    import_region: Region = ""
    #: File with the keys, as Amazon's tools have it: `aws_access_key_id` and `aws_secret_access_key` under `[default]`.
    #: It is read again every five minutes. Empty: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what the machine has.
    import_credentials_file: OptionalFile = ""
    #: File of the authorities that vouch for the endpoint, as PEM; empty: those of the system.
    import_ca_file: OptionalFile = ""
    #: Size of the objects that a file is kept in, in mebibytes. So much times `import_parallel` is the memory that an
    #: upload takes.
    import_part_mib: PartMebibytes = 16
    #: How many of them are put at a time.
    import_parallel: Parallel = 4
    #: How long an attempt to connect may take, in seconds.
    import_connect_timeout_s: Seconds = 3.0
    #: How long one of them may take to be put or read, in seconds.
    import_request_timeout_s: Seconds = 30.0
    #: How often a request to an S3-compatible store that failed is sent again before that is told.
    import_retries: Retries = 3
    #: How often the store is looked at: whether it is there, and has the file of each import that is needed; in
    #: seconds.
    import_look_s: Seconds = 10.0

    @property
    def place(self) -> Place:
        """What they say, in the words of all such places."""
        return Place(
            keeps="import files",
            settings="pusher.import_",
            store=self.import_store,
            folder=self.import_folder,
            url=self.import_url,
            endpoint=self.import_endpoint,
            plain_http=self.import_plain_http,
            region=self.import_region,
            credentials_file=self.import_credentials_file,
            ca_file=self.import_ca_file,
            connect_timeout_s=self.import_connect_timeout_s,
            request_timeout_s=self.import_request_timeout_s,
            retries=self.import_retries,
        )

    def problems(self) -> Iterator[Problem]:
        """A store that has no place, or two."""
        return self.place.problems()
