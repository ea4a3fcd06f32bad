"""What an S3-compatible store that does not do what it is asked says, in words for people, with the mend."""

from __future__ import annotations

import re

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

_STATUS = re.compile(r"status code: ([0-9]{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
#: In what obstore says where the file of keys has none, and where it would ask Amazon's machines for some.
_NO_KEYS = ("credential provider", "169.254.169.254")
#: … and where what came is none of what such a store answers.
_NO_ANSWER_OF_ONE = re.compile(r"Got invalid [a-z ]*response")
#: … and where it sends requests on without a place, as Amazon's does those that came to another region.
_BARE_REDIRECT = "Received redirect without LOCATION"
_DENIED = (
    "access is denied{} where objects are to be {}: look after its keys and what they may do (read, write, list and "
    "delete)"
)
_ELSEWHERE = "the bucket is in another region, or at another address: set {}region and {}endpoint"
_FULL = "it is full: make room there"
_CLOCKS = "its clock and this machine's are far apart: set them right"
#: What a store says, and what is to be done.
_MENDS = {
    "NoSuchBucket": "there is no such bucket: make it",
    "NotImplemented": "it knows no conditional writes (If-None-Match), which are needed: use another store",
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "RequestTimeTooSkewed": _CLOCKS,
    "RequestExpired": _CLOCKS,
    "InsufficientStorage": _FULL,
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
}
#: The same by the status, where a store says no more.
_MENDS_OF_STATUS = dict.fromkeys(("301", "302", "307", "308"), _ELSEWHERE) | {"507": _FULL}


def words_of(error: Exception, settings: str, done: str) -> str:
    """One line, without what of a request stands in the error.

    Args:
        error: What obstore raised.
        settings: What the names of settings of this place begin with.
        done: What objects were to be: read, written, listed or deleted.
    """
    code = _code(error)
    status = found[1].strip() if (found := _STATUS.search(str(error))) else ""
    if any(sign in str(error) for sign in _NO_KEYS):
        return f"there are no keys for it: set {settings}credentials_file, or AWS_ACCESS_KEY_ID and its secret"
    if _BARE_REDIRECT in str(error):
        return _ELSEWHERE.format(settings, settings)
    if mend := mend_of(error, settings):
        return mend
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status[:3] in ("401", "403"):
        return _DENIED.format(f" ({code})" if code else "", done)
    if mend := _MENDS_OF_STATUS.get(status[:3], ""):
        return mend.format(settings, settings)
    if status:
        return f"it answers {status}{f' ({code})' if code else ''}: look after it"
    if _NO_ANSWER_OF_ONE.search(str(error)):
        return f"what it answers is no S3-compatible store's: look after its address ({settings}endpoint)"
    return "it does not answer: look after it, its address and its certificate"


def mend_of(error: Exception, settings: str) -> str:
    """Where the store says by a code what is wrong; else empty."""
    return _MENDS.get(_code(error), "").format(settings, settings)


def _code(error: Exception) -> str:
    return found[1] if (found := _CODE.search(str(error))) else ""
