"""Where objects are kept, as settings say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from msgspec import Meta

from services.shared.config.sections import Problem
from services.shared.domain.addresses import ADDRESS_PATTERN, HOST_PATTERN, is_safe_url

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/-]{1,512}?))?/?")

StoreKind = Annotated[str, Meta(pattern=r"\A(?:folder|s3)\Z", description="folder or s3")]
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
PartMebibytes = Annotated[int, Meta(ge=1, le=256)]
Parallel = Annotated[int, Meta(ge=1, le=32)]
Retries = Annotated[int, Meta(ge=0, le=100)]


class Place(NamedTuple):
    """One place for objects, and how patient its users are. The settings' texts say what each of these means."""

    #: What is kept there, for people.
    keeps: str
    #: What the names of its settings begin with, for people, the section before it.
    settings: str
    store: str
    folder: str
    url: str
    endpoint: str
    plain_http: bool
    region: str
    credentials_file: str
    ca_file: str
    connect_timeout_s: float
    request_timeout_s: float
    retries: int

    def words_of(self, where: str) -> str:
        """The place in the words of a message."""
        return f"the store of {self.keeps}, {where}"

    def problems(self) -> Iterator[Problem]:
        """A store that has no place, or two."""
        begin = self.settings.rpartition(".")[2]
        if self.store == "s3":
            if not self.url:
                yield Problem(f"{begin}url", f'must name the bucket where {begin}store is "s3"')
            if self.folder:
                yield Problem(f"{begin}folder", f'must be empty where {begin}store is "s3"')
        elif self.url:
            yield Problem(f"{begin}store", f'must be "s3" where {begin}url is set')
        if self.endpoint and not self.plain_http and not is_safe_url(self.endpoint):
            mend = (
                f"must begin with https://, be http:// at an address of loopback, or have {begin}plain_http beside it"
            )
            yield Problem(f"{begin}endpoint", mend)


def bucket_and_prefix(url: str) -> tuple[str, str]:
    """What the address of a bucket names, with no / at the ends."""
    found = _URL.fullmatch(url)
    assert found is not None  # the settings' form
    return found[1], (found[2] or "").strip("/")
