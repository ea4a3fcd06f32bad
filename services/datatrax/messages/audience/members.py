"""Who gets a message: a downline, as of one position, each of its members with a text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from fasttree.client import CallError, Client
from fasttree.v1 import message_pb2, report_pb2, types_pb2
from services.datatrax.messages.audience.template import TEXT_LENGTH_MAX, Template, column_problem, value_of
from services.datatrax.messages.events import Fate
from services.datatrax.messages.journal import LetterRow
from services.shared.serving.errors import (
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)

_ID: Final = "member_id"
#: What a node says of an audience that a caller can mend; anything else is a matter of now.
_MENDED: Final[tuple[type[FastTreeError], ...]] = (NotFoundError, InvalidArgumentError, FailedPreconditionError)


class Audience:
    """The members of a message, by the reports that `client` asks for."""

    def __init__(self, client: Client, message: message_pb2.Message) -> None:
        """Raises TemplateError; `check` raises what else may be wrong."""
        self._client, self._message = client, message
        self._template = Template(message.template)
        self._columns = list(dict.fromkeys([_ID, *self._template.columns, *message.columns]))
        #: What it is as of, from the first letters on.
        self.as_of: types_pb2.AsOf | None = None

    async def check(self) -> None:
        """Whether there are such columns, such a member, and such a filter.

        Raises:
            FastTreeError: There are not, with the field and the value; or nobody could be asked.
        """
        audience = self._message.audience
        try:
            tree = await self._client.reports.describe_tree(
                min_position=audience.options.min_position, as_of_period=audience.options.as_of_period
            )
            further = [column.name for column in tree.columns]
            for field, columns in (("template", self._template.columns), ("columns", self._message.columns)):
                for column in columns:
                    if problem := column_problem(column, further):
                        raise InvalidArgumentError(problem, field=field, value=column)
            await self._client.reports.list_downline(
                report_pb2.ListDownlineRequest(
                    member_id=audience.member_id, options=self._options(), filter=audience.filter, page_size=1
                )
            )
        except CallError as error:
            raise named(error) from error

    async def letters(self) -> AsyncIterator[list[LetterRow]]:
        """All of them, numbered from 1, some at a time. Raises FastTreeError."""
        audience, number = self._message.audience, 0
        request = report_pb2.StreamDownlineRequest(
            member_id=audience.member_id,
            options=self._options(),
            filter=audience.filter,
            format=report_pb2.ROW_FORMAT_MEMBERS,
        )
        try:
            async for answer in self._client.reports.stream_downline(request):
                if self.as_of is None:
                    self.as_of = answer.as_of
                yield self._written(answer.members, number)
                number += len(answer.members)
        except CallError as error:
            raise named(error) from error

    def _options(self) -> report_pb2.ReportOptions:
        options = report_pb2.ReportOptions()
        options.CopyFrom(self._message.audience.options)
        options.columns[:] = self._columns
        return options

    def _written(self, members: Sequence[types_pb2.Member], before: int) -> list[LetterRow]:
        letters = []
        for number, member in enumerate(members, before + 1):
            text = self._template.text_of(member)
            columns = {column: value_of(member, column) for column in self._message.columns}
            letter = LetterRow(number, member.member_id, text, columns)
            if len(text) > TEXT_LENGTH_MAX:
                reason = f"the text has {len(text):,} characters, more than {TEXT_LENGTH_MAX:,}"
                letter = letter._replace(text="", fate=Fate.DEAD, reason=reason)
            letters.append(letter)
        return letters


def is_mended_by_the_caller(error: FastTreeError) -> bool:
    """Whether another try of the same request would fare no better."""
    return isinstance(error, _MENDED)


def named(error: CallError) -> FastTreeError:
    """A report's error as this service's own: what is wrong with an audience is told as the node told it."""
    kinds: tuple[type[FastTreeError], ...] = (*_MENDED, ResourceExhaustedError)
    for kind in kinds:
        if kind.code is error.code:
            return kind(error.message, reason=error.reason, field=error.field, value=error.value)
    return UnavailableError(f"the audience can't be asked for: {error.message}", reason="REPORTS_UNAVAILABLE")
