"""Names in PostgreSQL, as settings hold them."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

#: A name that PostgreSQL needs no quotes for.
SCHEMA_PATTERN = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SchemaName = Annotated[
    str,
    Meta(pattern=rf"\A{SCHEMA_PATTERN.pattern}\Z", description="a name of 1 to 63 of a-z 0-9 _, as PostgreSQL has it"),
]

#: Without a password: settings are shown and logged.
PostgresqlUrl = Annotated[
    str,
    Meta(
        pattern=r"\A(?:postgres(?:ql)?://[!-~]{0,1980})?\Z",
        description="postgresql://ROLE@HOST/DATABASE, in printable ASCII without blanks; or empty",
    ),
]
