"""Whether the server that `fasttree up --machines` was given is there, before anything is started that would wait."""

from __future__ import annotations

from fasttree.command.machines.plan import Machines
from fasttree.command.session import CommandError

_CONNECT_TIMEOUT_S = 5.0


def check_server(machines: Machines) -> None:
    """Connects, and lets go. Blocks.

    Raises:
        CommandError: Why that can't be done, with the way out.
    """
    try:
        import psycopg

        from services.shared.postgresql.connecting import Server, ServerUnusableError, in_words
    except ImportError as error:
        raise CommandError(f"{error.name} is not installed: pip install 'ha-fasttree[postgres]'") from None
    try:
        server = Server(
            machines.url,
            setting="--postgresql",
            password_file=machines.password_file,
            password_setting="--postgresql-password-file",
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            application="fasttree-up",
        )
        server.connect().close()
    except ServerUnusableError as error:
        raise CommandError(str(error)) from None
    except psycopg.Error as error:
        raise CommandError(
            f"no use can be made of PostgreSQL at {server.place}: {in_words(error)}; start it, or correct --postgresql "
            f"or the password ({server.password_from})"
        ) from None
