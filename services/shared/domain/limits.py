"""How long, how many, how large: the numbers of every rule, plain so that kernels can take them as constants."""

from __future__ import annotations

from typing import Final

#: Printable ASCII characters, at least one, none of them a space at either end.
UPDATE_ID_LENGTH_MAX: Final = 64
MEMBER_ID_LENGTH_MAX: Final = 32
#: Printable ASCII characters; none at all is a status too.
STATUS_LENGTH_MAX: Final = 16

#: Letters, digits and underscores, a letter first.
VOLUME_TYPE_LENGTH_MAX: Final = 16
VOLUME_TYPES_MAX: Final = 64
#: Periods that take orders at once, and that were ever opened.
PERIODS_MAX: Final = 120
PERIODS_EVER_MAX: Final = 1_200
#: Volume types times the periods that take orders: each pair has columns of its own.
SLOTS_MAX: Final = 1_024

#: Ranks from 0, legs from 1 (0: none, or the first free one).
RANK_MAX: Final = 32_767
LEG_MAX: Final = 2**31 - 1
#: Hundredths, either way: every amount that has an opposite in 64 bits.
AMOUNT_MAX: Final = 2**63 - 1

#: Printable characters of a further column's name.
COLUMN_NAME_LENGTH_MAX: Final = 64
#: Further columns that are declared by records of the log.
COLUMNS_DECLARED_MAX: Final = 200
#: Status codes in the rule about customers.
CUSTOMER_STATUSES_MAX: Final = 64
#: Bytes of a further column's text, in UTF-8.
COLUMN_TEXT_BYTES_MAX: Final = 1024
#: Characters of a number in a further column.
NUMBER_LENGTH_MAX: Final = 40
#: Decimal places of a further column of decimals, which counts in millionths.
DECIMAL_SCALE: Final = 6

#: Bytes of the reason that somebody gives for a decision, in UTF-8.
REASON_BYTES_MAX: Final = 256

#: Bytes of an encoded update.
UPDATE_BYTES_MAX: Final = 16 * 1024

#: Updates that operators may have decided to skip in one log; nodes hear all of them with each hello.
SKIPS_MAX: Final = 1_000

#: What stands in a column of days for one that is not known, and in a further column of numbers.
NO_DAY: Final = -(2**31)
NO_NUMBER: Final = -(2**63)
