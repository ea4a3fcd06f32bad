"""`[pusher]`, `import_…`: where import files are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import OptionalPath, Seconds
from services.shared.config.sections import Problem, Settings


class ImportStoreSettings(Settings, frozen=True, kw_only=True):
    """The place that all pushers see, if there is one, and how patient its users are."""

    #: Where import files are kept: "folder", in `import_folder`.
    import_store: Annotated[str, Meta(pattern=r"\Afolder\Z", description="folder")] = "folder"
    #: A folder that every pusher of the cluster sees, such as a mount of NFS. It has to be there: one inside of a mount
    #: is not, while the mount is away. Empty: `state_folder`, which is on one machine.
    import_folder: OptionalPath = ""
    #: Size of the objects that a file is kept in, in mebibytes. So much times `import_parallel` is the memory that an
    #: upload takes.
    import_part_mib: Annotated[int, Meta(ge=1, le=256)] = 16
    #: How many of them are put at a time.
    import_parallel: Annotated[int, Meta(ge=1, le=32)] = 4
    #: How long one of them may take to be put or read, in seconds.
    import_request_timeout_s: Seconds = 30.0
    #: How often the store is looked at: whether it is there, and has the file of each import that is needed; in
    #: seconds.
    import_look_s: Seconds = 10.0

    def problems(self) -> Iterator[Problem]:
        """None yet."""
        return iter(())
