"""iscsi-captures: what is in a capture, and what in it breaks the standard.

Exit codes of review: 0 no MUST broken, 1 some, 2 usage, 3 unreadable. Those of compare: 0 the same findings, 1 others.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console
from rich.text import Text

from iscsi_captures import chap_secrets
from iscsi_captures.explain.command import explain_event
from iscsi_captures.progress import Progress
from iscsi_captures.reading import CaptureError
from iscsi_captures.review import Review, review
from iscsi_captures.review.text import lines

if TYPE_CHECKING:
    from iscsi_captures.review.compare import Comparison

_OUT = click.Path(path_type=Path)
OK, BROKEN, USAGE, UNREADABLE = 0, 1, 2, 3
DIFFERENT = 1
_PIPE_WIDTH = 100_000
"""Columns: in a pipe nothing is cut short or broken into lines."""
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _help(summary: str, *examples: str, more: str = "") -> str:
    """The help of a command: examples first, kept as they are (the backspace says so to click)."""
    shown = "\n".join(f"  iscsi-captures {example}" for example in examples)
    return f"\b\nExamples:\n{shown}\n\n{summary}" + (f"\n\n{more}" if more else "")


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def _give_up(message: str, code: int = UNREADABLE) -> NoReturn:
    click.echo(f"iscsi-captures: {message}", err=True)
    sys.exit(code)


@click.group(
    context_settings=_CONTEXT,
    short_help="Tell what is in an iSCSI capture, and what in it breaks the standard.",
    help=_help(
        "Tell what is in an iSCSI capture, and what in it breaks the standard.",
        "review slow-disk.pcapng",
        "review --json path-a.pcapng path-b.pcapng",
        "dissect slow-disk.pcapng --frame 42",
        "compare before.pcapng after.pcapng",
        "explain-event System.evtx",
    ),
)
@click.version_option(package_name="iscsi-conformance")
def main() -> None:
    """Tell what is in an iSCSI capture, and what in it breaks the standard."""


@main.command(
    "review",
    short_help="Judge captures: which side broke which clause, in which frame.",
    help=_help(
        "Judge captures: which side broke which clause, in which frame, and what the initiator of the guide logs for it.",
        "review slow-disk.pcapng",
        "review path-a.pcapng path-b.pcapng.gz",
        "review --json slow-disk.pcapng",
        "review --html review.html --annotate annotated.pcapng slow-disk.pcapng",
        "review --chap-secret-file secrets.txt login.pcap",
        more="Files are merged by time; - is standard input. Exit codes: 0 no MUST broken, 1 some, 2 usage, 3 unreadable.",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", type=_OUT, metavar="OUT", help="Write a page with all of it: one file, no network.")
@click.option(
    "--annotate",
    type=_OUT,
    metavar="OUT",
    help="Write the packets again as pcapng, findings as packet comments. Of several files: a folder.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Take this TCP port for iSCSI, whatever it looks like.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--chap-secret-file",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Secrets to verify CHAP responses by: 'user secret' or 'mutual name secret' a line.",
)
def review_command(
    files: tuple[str, ...],
    as_json: bool,
    html: Path | None,
    annotate: Path | None,
    port: int | None,
    jobs: int,
    chap_secret_file: Path | None,
) -> None:
    """Judge captures."""
    _spare(files, html, annotate)
    secrets = None
    if chap_secret_file is not None:
        try:
            secrets = chap_secrets.read(chap_secret_file)
        except chap_secrets.ChapSecretsError as error:
            _give_up(str(error), USAGE)
    made = _reviewed(files, port=port, jobs=jobs, secrets=secrets)
    _write(made, files, html, annotate)
    if as_json:
        from iscsi_captures.review.schema import encode  # noqa: PLC0415

        click.echo(encode(made), nl=False)
    else:
        console = _console()
        for line in lines(made):
            console.print(line, soft_wrap=True)
    sys.exit(OK if made.conforms else BROKEN)


# What only some commands and options need is loaded where it is needed: most reviews are over before it would be.


def _spare(files: tuple[str, ...], html: Path | None, annotate: Path | None) -> None:
    """Refuse outputs that would overwrite an input."""
    if html is None and annotate is None:
        return
    from iscsi_captures.review.annotate import destinations, spare  # noqa: PLC0415

    try:
        if html is not None:
            spare(files, html)
        if annotate is not None:
            destinations(files, annotate)
    except CaptureError as error:
        _give_up(str(error), USAGE)


def _write(made: Review, files: tuple[str, ...], html: Path | None, annotate: Path | None) -> None:
    """The files that were asked for; what cannot be written becomes one line and exit code 3."""
    out = html
    try:
        if html is not None:
            from iscsi_captures.review.html import write_html  # noqa: PLC0415

            write_html(made, html, now=dt.datetime.now(dt.UTC))
        if annotate is not None:
            from iscsi_captures.review.annotate import annotate as write_annotated  # noqa: PLC0415

            out = annotate
            write_annotated(files, made, annotate)
    except CaptureError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"{out}: {error.strerror or error}")


def _reviewed(
    files: tuple[str, ...],
    *,
    port: int | None = None,
    jobs: int = 1,
    secrets: chap_secrets.ChapSecrets | None = None,
) -> Review:
    """The review of these files; what cannot be read becomes one line and exit code 3."""
    if files.count("-") > 1:
        raise click.UsageError("standard input can be read once")
    if jobs > 1 and "-" in files:
        raise click.UsageError("--jobs reads a file several times, which standard input is not for")
    try:
        with Progress() as progress:
            return review(files, port=port, jobs=jobs, chap_secrets=secrets, progress=progress.read)
    except CaptureError as error:
        _give_up(str(error))
    except KeyboardInterrupt:
        _give_up("interrupted")


@main.command(
    "compare",
    short_help="Tell how the findings of two captures differ.",
    help=_help(
        "Tell how the findings of two captures, or of two reviews in JSON, differ.",
        "compare before.pcapng after.pcapng",
        "compare before.json after.pcapng",
        more="Findings are compared by rule, level and role: new ones, gone ones, and those that are more or fewer. Exit "
        "codes: 0 the same, 1 different, 2 usage, 3 unreadable.",
    ),
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_command(first: str, second: str, as_json: bool) -> None:
    """Tell how the findings of two captures differ."""
    from iscsi_captures.review.compare import ComparedError, compare, findings_in  # noqa: PLC0415

    if first == second == "-":
        raise click.UsageError("standard input can be read once")
    try:
        found = compare(*(findings_in(each, lambda name: _reviewed((name,))) for each in (first, second)))
    except ComparedError as error:
        _give_up(str(error))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    else:
        _print_comparison(found)
    sys.exit(DIFFERENT if found else OK)


def _print_comparison(found: Comparison) -> None:
    console = _console()
    for word, style, rows in (
        ("new", "red", found.new),
        ("gone", "green", found.gone),
        ("changed", "yellow", found.changed),
    ):
        for row in rows:
            line = Text(f"{word:<8}", style)
            line.append(f" {row.level:<6} {row.role:<9} {row.rule}: {row.first} -> {row.second}", "none")
            console.print(line, soft_wrap=True)
    console.print(
        f"{len(found.new)} new, {len(found.gone)} gone, {len(found.changed)} changed, {found.same} the same",
        soft_wrap=True,
    )


@main.command(
    "dissect",
    short_help="Print every PDU of a capture, field by field.",
    help=_help(
        "Print every PDU of a capture, field by field, as scapy reads it.",
        "dissect login.pcapng",
        "dissect login.pcapng --frame 42",
        "dissect login.pcapng --count 10",
    ),
)
@click.argument("file")
@click.option("--frame", type=click.IntRange(1), metavar="N", help="Only PDUs that begin, end or go on in this frame.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="No more than so many PDUs.")
@click.option("--port", type=click.IntRange(1, 65535), help="Take this TCP port for iSCSI, whatever it looks like.")
def dissect_command(file: str, frame: int | None, count: int | None, port: int | None) -> None:
    """Print every PDU of a capture, field by field."""
    from iscsi_captures.dissect import dissect  # noqa: PLC0415

    console = _console()
    try:
        dissect(file, lambda text: console.print(text, soft_wrap=True), frame=frame, count=count, port=port)
    except CaptureError as error:
        _give_up(str(error))


main.add_command(explain_event)
