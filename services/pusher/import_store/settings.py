"""`[pusher]`, `import_…`: where import files are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Flag, OptionalPath, Seconds
from services.shared.config.sections import Problem, Settings
from services.shared.domain.addresses import ADDRESS_PATTERN, HOST_PATTERN, is_safe_url

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/-]{1,512}?))?/?")

StoreUrl = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:{_URL.pattern})?\Z",
        description="s3://BUCKET/PREFIX, the prefix of A-Z a-z 0-9 . _ / -; or empty",
    ),
]
Endpoint = Annotated[
    str,
    Meta(
        pattern=rf"\A(?:https?://(?:{ADDRESS_PATTERN}|{HOST_PATTERN})/?)?\Z",
        description="https://HOST or https://HOST:PORT; or empty",
    ),
]
Region = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{0,40}\Z", description="a region, such as eu-central-1; or empty")]


class ImportStoreSettings(Settings, frozen=True, kw_only=True):
    """The place that all pushers see, if there is one, and how patient its users are."""

    #: Where import files are kept: "folder", in `import_folder`; or "s3", in the bucket that `import_url` names.
    import_store: Annotated[str, Meta(pattern=r"\A(?:folder|s3)\Z", description="folder or s3")] = "folder"
    #: A folder that every pusher of the cluster sees, such as a mount of NFS. It has to be there: one inside of a mount
    #: is not, while the mount is away. Empty: `state_folder`, which is on one machine.
    import_folder: OptionalPath = ""
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
    import_credentials_file: OptionalPath = ""
    #: File of the authorities that vouch for the endpoint, as PEM; empty: those of the system.
    import_ca_file: OptionalPath = ""
    #: Size of the objects that a file is kept in, in mebibytes. So much times `import_parallel` is the memory that an
    #: upload takes.
    import_part_mib: Annotated[int, Meta(ge=1, le=256)] = 16
    #: How many of them are put at a time.
    import_parallel: Annotated[int, Meta(ge=1, le=32)] = 4
    #: How long an attempt to connect may take, in seconds.
    import_connect_timeout_s: Seconds = 3.0
    #: How long one of them may take to be put or read, in seconds.
    import_request_timeout_s: Seconds = 30.0
    #: How often a request to an S3-compatible store that failed is sent again before that is told.
    import_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    #: How often the store is looked at: whether it is there, and has the file of each import that is needed; in
    #: seconds.
    import_look_s: Seconds = 10.0

    def problems(self) -> Iterator[Problem]:
        """A store that has no place, or two."""
        if self.import_store == "s3":
            if not self.import_url:
                yield Problem("import_url", 'must name the bucket where import_store is "s3"')
            if self.import_folder:
                yield Problem("import_folder", 'must be empty where import_store is "s3"')
        elif self.import_url:
            yield Problem("import_store", 'must be "s3" where import_url is set')
        if self.import_endpoint and not self.import_plain_http and not is_safe_url(self.import_endpoint):
            mend = "must begin with https://, be http:// at an address of loopback, or have import_plain_http beside it"
            yield Problem("import_endpoint", mend)


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """What the address of a bucket names, with no / at the ends."""
    found = _URL.fullmatch(url)
    assert found is not None  # the settings' form
    return found[1], (found[2] or "").strip("/")
