"""Objects in a bucket of an S3-compatible store, by obstore."""

from __future__ import annotations

import asyncio
import configparser
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PreconditionError,
)
from obstore.store import S3Store

from services.shared.config.text_file import read_text_file
from services.shared.domain.sentences import system_words
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, StoreAwayError
from services.shared.objects.places import Place, bucket_and_prefix
from services.shared.objects.s3_words import mend_of, words_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

#: Of a credentials file, and of one of authorities.
_FILE_BYTES_MAX = 1 << 20
#: A credentials file is read again after this, so that keys can be changed without a restart.
_CREDENTIALS_S = 300
_NAMES_A_PAGE = 1_000
_BACKOFF_S = (0.1, 2.0)


class S3Objects:
    """See `Objects`. What is asked again, and how often, is obstore's: an answer that was lost is asked for again.

    Args:
        place: Where the bucket is.
        cluster: The objects stand below this name.

    Raises:
        OSError: The file of authorities can't be read.
    """

    def __init__(self, place: Place, cluster: str) -> None:
        bucket, prefix = bucket_and_prefix(place.url)
        self.place = place.url + (f" at {place.endpoint}" if place.endpoint else "")
        self._store_words, self._settings = place.words_of(self.place), place.settings
        self._above = "/".join(filter(None, ("s3:/", bucket, prefix, cluster)))
        self._timeout_s = place.request_timeout_s * (place.retries + 1)
        self._store = S3Store(
            bucket,
            prefix="/".join(filter(None, (prefix, cluster))),
            config=_config(place),
            client_options=_client(place),
            retry_config={
                "max_retries": place.retries,
                "retry_timeout": timedelta(seconds=self._timeout_s),
                "backoff": {
                    "init_backoff": timedelta(seconds=_BACKOFF_S[0]),
                    "max_backoff": timedelta(seconds=_BACKOFF_S[1]),
                    "base": 2,
                },
            },
            credential_provider=_credentials(Path(place.credentials_file)) if place.credentials_file else None,
        )

    def full_name(self, name: str) -> str:
        return f"{self._above}/{name}"

    async def put_new(self, name: str, data: bytes) -> bool:
        try:
            async with self._asked("written"):
                await obstore.put_async(self._store, name, data, mode="create", use_multipart=False)
        except ObjectMissingError as error:  # the bucket's own
            raise StoreAwayError(self._store_words, "it has no place for objects: look after the bucket") from error
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    async def get(self, name: str, bytes_max: int) -> bytes:
        async with self._asked("read"):
            found = await obstore.get_async(self._store, name)
            if found.meta["size"] > bytes_max:
                raise ObjectDamagedError(
                    f"{self.full_name(name)} has {found.meta['size']} bytes, it should have {bytes_max} at most"
                )
            return bytes(await found.bytes_async())

    async def sizes(self, prefix: str) -> dict[str, int]:
        found: dict[str, int] = {}
        pages = obstore.list(self._store, prefix or None, chunk_size=_NAMES_A_PAGE)
        while True:
            async with self._asked("listed"):
                page = await anext(pages, None)
            if page is None:
                return found
            before = len(found)
            found |= {each["path"]: each["size"] for each in page}
            if len(found) == before:  # it would go on so without end
                raise StoreAwayError(self._store_words, "it lists the same objects again and again: look after it")

    async def remove(self, names: Sequence[str]) -> None:
        for begin in range(0, len(names), _NAMES_A_PAGE):
            try:
                async with self._asked("deleted"):
                    await obstore.delete_async(self._store, list(names[begin : begin + _NAMES_A_PAGE]))
            except ObjectMissingError:
                continue

    @asynccontextmanager
    async def _asked(self, done: str) -> AsyncIterator[None]:
        """What comes of a call, as `Objects` has it. `done`: what objects are to be."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as error:
            text = f"no answer in {self._timeout_s:g} s; look after it, or raise {self._settings}request_timeout_s"
            raise StoreAwayError(self._store_words, text) from error
        except FileNotFoundError as error:
            if mend := mend_of(error, self._settings):
                raise StoreAwayError(self._store_words, mend) from None
            raise ObjectMissingError(system_words(error)[:200]) from None
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, ValueError, OSError) as error:
            # Without the cause: what a store answers may tell more of a request than a log should hold.
            raise StoreAwayError(self._store_words, words_of(error, self._settings, done)) from None


def _config(place: Place) -> S3Config:
    config: S3Config = {"checksum_algorithm": "SHA256"}
    if place.region:
        config["region"] = place.region
    if place.endpoint:
        config["endpoint"] = place.endpoint
        config["virtual_hosted_style_request"] = False
    return config


def _client(place: Place) -> ClientConfig:
    options: ClientConfig = {
        "timeout": timedelta(seconds=place.request_timeout_s),
        "connect_timeout": timedelta(seconds=place.connect_timeout_s),
        # What may be plain is said by the settings.
        "allow_http": place.endpoint.startswith("http://"),
    }
    if place.ca_file:
        options["root_certificate"] = read_text_file(Path(place.ca_file), _FILE_BYTES_MAX, or_latin_1=True).encode()
    return options


class CredentialsError(Exception):
    """A credentials file can't be used."""


def _credentials(path: Path) -> Callable[[], S3Credential]:
    def read() -> S3Credential:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(read_text_file(path, _FILE_BYTES_MAX))
            section = parser["default"]
            return {
                "access_key_id": section["aws_access_key_id"],
                "secret_access_key": section["aws_secret_access_key"],
                "token": section.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + timedelta(seconds=_CREDENTIALS_S),
            }
        except (OSError, ValueError, KeyError, configparser.Error):
            # Without what is in it.
            raise CredentialsError(f"{path} has no credentials") from None

    return read
