"""`fasttree datatrax transfer` and `run`: a commission run's files, and what vsched, cron or a timer starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import click

from fasttree.client import Client, FastTreeClientError
from fasttree.client.status.imports import ImportJson
from fasttree.command.cluster.verify import DigestJson
from fasttree.command.datatrax.check import CheckJson
from fasttree.command.datatrax.place_options import place_options
from fasttree.command.output import print_json
from fasttree.command.ranges import AT_END, NumberRange, SecondsRange, parse_position
from fasttree.command.session import CommandError, Session, common_options, json_option, run
from fasttree.command.shapes import prints
from fasttree.command.terminal import on_one_line

if TYPE_CHECKING:
    from fasttree.command.datatrax.job_places import JobPlace
    from fasttree.command.datatrax.job_runs import Outcome
    from services.datatrax.jobs.export_transfer import TransferOptions

#: Another run of the job goes on: this one did nothing, and the next one may (EX_TEMPFAIL of sysexits.h).
EXIT_HELD = 75
_EXPORT_TRANSFER = "export-transfer"
_DAY_S = 86_400.0
_DAYS = NumberRange(0, 36_600)
_WAIT_S = 3_600.0

_packing = click.option(
    "--packing",
    type=click.Choice(["none", "gzip", "zip", "zstd"]),
    help="How files are packed on their way that are not yet; as CBLDATATRAX says where not given, else none.",
)
_profile = click.option("--profile", default="", metavar="NAME", help="A kept profile that says the files' form.")
_patience = click.option(
    "--patience", type=SecondsRange(0.1), default=60.0, show_default=True, help="How long the pusher may be away, in s."
)
_wait = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Whether to wait until every node serves what was sent."
)
_wait_s = click.option(
    "--wait-s", type=SecondsRange(0.1), default=_WAIT_S, show_default=True, help="How long at most, in seconds."
)


class JobJson(TypedDict):
    """How a run ended; `held`: another one goes on, and this one did nothing."""

    job: str
    ok: bool
    held: bool
    text: str


class TransferJobJson(JobJson):
    """What was sent, and what of it was refused, by the files' names."""

    sent: NotRequired[dict[str, ImportJson]]
    refused: NotRequired[dict[str, str]]
    not_whole_yet: NotRequired[int]
    problem: NotRequired[str]
    remarks: NotRequired[list[str]]


class WaitingJson(TypedDict):
    """Files that a later run sends."""

    waiting: list[str]
    folder: str


class OldFileJson(TypedDict):
    """A file that has lain long enough; `name_stays`: an empty one stays in its place."""

    file: str
    bytes: int
    name_stays: bool


class PruneJobJson(JobJson):
    """What was removed, or would be."""

    files: NotRequired[list[OldFileJson]]
    bytes: NotRequired[int]
    dry_run: NotRequired[bool]


#: "import" can't be written as the name of an attribute.
_Newest = TypedDict("_Newest", {"import": NotRequired[ImportJson | None]})


class VerifyJobJson(JobJson, _Newest):
    """What the nodes hold, and the newest import."""

    nodes: NotRequired[list[DigestJson]]
    problems: NotRequired[list[str]]


class CheckJobJson(JobJson):
    """Each line of `fasttree datatrax check`."""

    checks: NotRequired[list[CheckJson]]


@click.command()
@prints(TransferJobJson, WaitingJson)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--later/--now", default=None, help="Let a later run send them; as CBLDATATRAX says where not given, else now."
)
@click.option(
    "--as-of-position",
    callback=parse_position,
    metavar="N|end",
    help="The log position that the export began at; end: the log's end now, also where not given.",
)
@_packing
@_profile
@_patience
@_wait
@_wait_s
@place_options
@common_options
def transfer(
    session: Session, files: tuple[Path, ...], later: bool | None, as_of_position: int | None, **given: Any
) -> int:
    """Sends a commission run's files: writes each to the folder of what is to be sent, and sends what waits there.

    What is there is sent once, whatever dies: by this run, or by the next `fasttree datatrax run export-transfer`.
    """
    from fasttree.command.datatrax.job_runs import put

    place, options = _place_and_options(given)
    is_later = place.is_decoupled if later is None else later

    async def log_end() -> int:
        async with session.client(timeout_s=options.patience_s) as client:
            return (await client.get_pusher()).log_end.position

    if as_of_position == AT_END or (as_of_position is None and is_later):
        # What comes until the file is sent is not in it: it counts on top of it.
        as_of_position = run(log_end())
    names = put(place, files, options.packing, as_of_position)
    if is_later:
        if session.json:
            print_json(WaitingJson(waiting=names, folder=str(place.folder / "outgoing")))
        else:
            for name in names:
                click.echo(f"{name} waits in {place.folder / 'outgoing'}")
        return 0
    return _run(session, _EXPORT_TRANSFER, place, lambda client: _send(client, place, options, session))


@click.group("run")
def run_job() -> None:
    """Runs a job once, never twice at a time; for vsched, cron and timers.

    \b
    exit code 0   it did what there was to do, and all is well
    exit code 1   something was refused, differs or waits: the line says what
    exit code 2   it was not asked for as it can be
    exit code 75  another run of it goes on; this one did nothing
    """


@run_job.command(_EXPORT_TRANSFER)
@prints(TransferJobJson)
@_packing
@_profile
@_patience
@_wait
@_wait_s
@place_options
@common_options
def export_transfer(session: Session, **given: Any) -> int:
    """Sends what waits in outgoing/, the oldest first, and waits until every node serves it."""
    place, options = _place_and_options(given)
    return _run(session, _EXPORT_TRANSFER, place, lambda client: _send(client, place, options, session))


@run_job.command()
@prints(VerifyJobJson)
@place_options
@common_options
def verify(session: Session, **given: Any) -> int:
    """Compares what all nodes hold, and what each took of the newest import."""
    from fasttree.command.datatrax.job_places import job_place
    from fasttree.command.datatrax.job_runs import same_everywhere

    return _run(session, "verify", job_place(**given), same_everywhere)


@run_job.command()
@prints(PruneJobJson)
@click.option("--done-days", type=_DAYS, default=30.0, show_default=True, help="Of what was taken; 0: it stays.")
@click.option("--refused-days", type=_DAYS, default=90.0, show_default=True, help="Of what was refused; 0: it stays.")
@click.option("--unfinished-days", type=_DAYS, default=7.0, show_default=True, help="Of what nobody ends; 0: stays.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@place_options
@json_option
def prune(
    session: Session, done_days: float, refused_days: float, unfinished_days: float, dry_run: bool, **given: Any
) -> int:
    """Removes what has lain long enough in done/, refused/ and outgoing/, and files that nobody finished."""
    from fasttree.command.datatrax.job_places import job_place
    from fasttree.command.datatrax.job_runs import prune as remove
    from services.datatrax.cleaning import Kept

    place = job_place(**given)
    kept = Kept(done_days * _DAY_S, refused_days * _DAY_S, unfinished_days * _DAY_S)
    return _held(session, "prune", place, lambda: remove(place, kept, dry_run=dry_run))


@run_job.command()
@prints(CheckJobJson)
@click.option("--environment", default="", help="Whose cluster of CBLDATATRAX is meant, such as live.")
@place_options
@common_options
def check(session: Session, environment: str, **given: Any) -> int:
    """As `fasttree datatrax check`: names, ports, VIP, clocks, versions and folders."""
    from fasttree.command.datatrax.job_places import job_place
    from fasttree.command.datatrax.job_runs import look_at_all

    place = job_place(**given)
    given["folder"] = given["folder"].absolute()
    return _held(session, "check", place, lambda: run(look_at_all(session, environment, **given)))


def _place_and_options(given: dict[str, Any]) -> tuple[JobPlace, TransferOptions]:
    from fasttree.command.datatrax.job_places import job_place
    from services.datatrax.jobs.export_transfer import TransferOptions
    from services.shared.packing import Packing

    packing, profile, patience = given.pop("packing"), given.pop("profile"), given.pop("patience")
    wait, wait_s = given.pop("wait"), given.pop("wait_s")
    place = job_place(**given)
    return place, TransferOptions(
        packing=Packing[(packing or place.packing).upper()],
        profile_name=profile,
        wait_s=wait_s if wait else 0.0,
        patience_s=patience,
    )


async def _send(client: Client, place: JobPlace, options: TransferOptions, session: Session) -> Outcome:
    from fasttree.command.datatrax.job_runs import send

    # Whoever reads what a job said wants its one line.
    return await send(client, place, options, quiet=session.json or not sys.stderr.isatty())


def _run(session: Session, job: str, place: JobPlace, work: Callable[[Client], Coroutine[Any, Any, Outcome]]) -> int:
    """A job that asks the cluster."""

    async def body() -> Outcome:
        async with session.client() as client:
            return await work(client)

    return _held(session, job, place, lambda: run(body()))


def _held(session: Session, job: str, place: JobPlace, work: Callable[[], Outcome]) -> int:
    """Runs it for as long as its lock is ours; says what it did. Returns the exit code."""
    from fasttree.command.datatrax.job_runs import Outcome
    from services.datatrax.jobs.lock import JobHeldError, job_lock

    try:
        with job_lock(place.locks, job):
            outcome = work()
    except JobHeldError as error:
        _say(session, {"job": job, "ok": False, "held": True, "text": str(error)}, f"{error}", is_error=True)
        return EXIT_HELD
    except OSError as error:
        outcome = Outcome(f"{place.locks}: {error.strerror or error}", is_good=False)
    except (FastTreeClientError, CommandError) as error:
        outcome = Outcome(str(error), is_good=False)
    content = {"job": job, "ok": outcome.is_good, "held": False, "text": outcome.text, **outcome.more}
    _say(session, content, f"{job}: {outcome.text}", is_error=not outcome.is_good)
    return 0 if outcome.is_good else 1


def _say(session: Session, content: dict[str, Any], line: str, *, is_error: bool) -> None:
    if session.json:
        print_json(content)
    else:
        line = on_one_line(line)
        click.echo(f"error: {line}" if is_error else line, err=is_error)
