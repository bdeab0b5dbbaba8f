"""`abruzzi keys create | list | revoke`: the key file from the command line. Added by server/cli.py."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from engine import ConfigError

FILE = typer.Option("--file", metavar="FILE", help="Key file, .toml or .json.", envvar="ABRUZZI_KEY_FILE")
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Default: no limit.")]


def keys_commands(group: type[Any], command: type[Any], fail: Callable[[Exception, int], Any]) -> typer.Typer:
    """The commands. `fail` prints an error and leaves with a status."""
    keys = typer.Typer(
        cls=group,
        help="API keys with limits: a file that `abruzzi serve --key-file` reads at start and at SIGHUP.",
        no_args_is_help=True,
    )

    @keys.command("create", cls=command, help="Add a key to the file (made if need be) and print it: it is shown once.")
    def _create(
        name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it in metrics and errors.")],
        file: Annotated[Path, FILE],
        model: Annotated[
            list[str] | None, typer.Option("--model", metavar="NAME", help="Model that it may use; repeat for several.")
        ] = None,
        requests_per_minute: Limit = None,
        tokens_per_minute: Limit = None,
        concurrent_requests: Limit = None,
        priority: Annotated[
            int, typer.Option(min=-1000, max=1000, metavar="N", help="Added to its requests'; lower goes first.")
        ] = 0,
        expires: Annotated[
            datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], metavar="DATE", help="UTC.")
        ] = None,
        admin: Annotated[bool, typer.Option("--admin", help="May cancel the requests of other keys.")] = False,
    ) -> None:
        from server.keys.key_file import create_key

        try:
            key = create_key(
                file,
                name,
                models=list(model) if model else None,
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                concurrent_requests=concurrent_requests,
                priority=priority or None,
                expires=None if expires is None else expires.isoformat() + "Z",
                admin=admin,
            )
        except ConfigError as error:
            fail(error, 1)
        print(key)

    @keys.command("list", cls=command, help="Print the names and limits of the file's keys.")
    def _list(file: Annotated[Path, FILE]) -> None:
        from server.commands.keys import list_keys

        try:
            list_keys(file)
        except ConfigError as error:
            fail(error, 1)

    @keys.command("revoke", cls=command, help="Take a key out of the file.")
    def _revoke(name: Annotated[str, typer.Argument(metavar="NAME")], file: Annotated[Path, FILE]) -> None:
        from server.keys.key_file import revoke_key

        try:
            revoke_key(file, name)
        except ConfigError as error:
            fail(error, 1)

    return keys
