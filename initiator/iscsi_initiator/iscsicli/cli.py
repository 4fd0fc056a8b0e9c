"""iscsicli: the commands of the guide's Appendix C.

Exit codes: 0 done, also with a warning code; 1 an error code; 2 usage. The code is always printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from iscsi_initiator.iscsicli.prompt import PROMPT, converse
from iscsi_initiator.iscsicli.render import complaint, overview
from iscsi_initiator.iscsicli.run import FAILED, USAGE, Runner
from iscsi_initiator.iscsicli.secret import Secrets
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.place import default_socket
from iscsi_initiator.status_codes import StatusCode


def _echo(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace"))


def _complain(text: str) -> None:
    click.echo(text.encode("utf-8", "backslashreplace"), err=True)


def _ask(name: str) -> str:
    return str(click.prompt(name, hide_input=True, err=True, default="", show_default=False))


def _read() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _read_asking() -> str:
    try:
        return input(PROMPT)
    except EOFError:
        click.echo()
        raise


class _Program(click.Command):
    """Shows the overview as its help."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All commands, as `iscsicli /?` has them."""
        del ctx
        formatter.write("\n".join(overview()))


@click.command(
    cls=_Program,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "ignore_unknown_options": False,
        "allow_interspersed_args": False,
    },
)
@click.option("--json", "as_json", is_flag=True, help="Print answers as JSON.")
@click.option("--socket", type=click.Path(path_type=Path), default=default_socket, help="The service's socket.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds to wait for an answer.")
@click.version_option(package_name="iscsi-conformance")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def program(words: tuple[str, ...], as_json: bool, socket: Path, timeout: float | None) -> int:
    """Run a command, or ask for one after the other."""
    asked = sys.stdin.isatty()
    runner = Runner(BlockingClient(socket, timeout), Secrets(_ask if asked else None), _echo, _complain, as_json)
    if words:
        return runner.run(words)
    return converse(runner, _read_asking if asked else _read)


def main(arguments: Sequence[str] | None = None) -> None:
    """The script `iscsicli`. Raises SystemExit with the exit status."""
    try:
        status = program.main(args=arguments, prog_name="iscsicli", standalone_mode=False)
    except click.UsageError as error:
        _complain(complaint(StatusCode.INVALID_PARAMETER, error.format_message()))
        status = USAGE
    except BrokenPipeError:
        # what flushes standard output at the end is not to fail over it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except (click.Abort, KeyboardInterrupt):
        _complain("iscsicli: interrupted")
        status = FAILED
    sys.exit(status)
