"""`iscsi-conformance`: the command line. Each command is a short function; what it does stands in a module of its own."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from iscsi_captures.catalogue import requirements
from iscsi_captures.pcapng import PcapngRecorder
from iscsi_conformance.bundled import bundled_profile
from iscsi_conformance.case import ISCSI_ROLES, ISNS_ROLES, Case, CaseError, Role, load_cases, validate
from iscsi_conformance.certify.command import certification, product_for
from iscsi_conformance.certify.product import ADAPTERS, CommandError
from iscsi_conformance.compare import compare, read_run
from iscsi_conformance.doctor import Check, State, examine, name_checks
from iscsi_conformance.environments import EnvironmentSpec
from iscsi_conformance.expected import ExpectedFailuresError, load_expected
from iscsi_conformance.faults import all_faults
from iscsi_conformance.profile import Profile, ProfileError, load_profile, portal_address, profile_with
from iscsi_conformance.progress import Progress
from iscsi_conformance.relay import NotOnTheWire, Relay, check_relayable
from iscsi_conformance.report import write_reports
from iscsi_conformance.result import ResultsError
from iscsi_conformance.runner import RunOptions, run
from iscsi_conformance.show import (
    case_page,
    case_table,
    check_line,
    code_page,
    comparison_page,
    fault_table,
    print_json,
    requirement_page,
    summary_table,
)
from iscsi_conformance.verdict import Exit, PeerGone
from iscsi_protocol.fault import NamedFault, UnknownFault
from iscsi_protocol.history import Endpoint
from iscsi_protocol.status_codes import StatusCode
from iscsi_target.config import host_and_port

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

EXAMPLES = """\b
Examples:
  iscsi-conformance run --out report
  iscsi-conformance run --portal 192.0.2.1:3260 --target-name iqn.2003-01.org.example:disk --lun 1 --out report
  iscsi-conformance certify-initiator --listen 127.0.0.1:0 --adapter libiscsi --out report
  iscsi-conformance list -k chap
  iscsi-conformance explain R7143-4.2.2.1-07
"""


class Refused(click.ClickException):
    """One clear line, and the exit code that goes with it."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click declares it for the class and reads it from the instance


class Seconds(click.FloatRange):
    """A time that comes to an end: neither nan nor inf, which float() knows."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


@click.group(context_settings=CONTEXT, epilog=EXAMPLES)
@click.version_option(package_name="iscsi-conformance")
def main() -> None:
    """Tell whether an iSCSI target or initiator keeps to RFC 7143, and show the bytes that prove it."""


def known_cases() -> dict[str, Case]:
    """All cases, checked against catalogue and faults. Raises Refused for a broken table."""
    cases = dict(load_cases())
    try:
        validate(cases.values(), all_faults())
    except CaseError as error:
        raise Refused(str(error), Exit.OWN_DEFECT) from None
    return cases


ROLES = {
    "both": ISCSI_ROLES,
    "isns": ISNS_ROLES,
    "all": frozenset(Role),
    **{role.value: frozenset({role}) for role in Role},
}
"""What --role may say: one role, both of iSCSI, both of iSNS, or all; the service is the initiator's."""


def _roles(role: str) -> frozenset[Role]:
    return ROLES[role]


def _portal(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return portal_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _spec(profile: Profile, *, seed: int) -> EnvironmentSpec:
    """Bundled pair, or the product that the profile names. Raises Refused for half a product."""
    if profile.portal is None:
        if profile.target_name is not None:
            raise Refused("--target-name needs --portal")
        return EnvironmentSpec(kind="bundled", profile=bundled_profile(), seed=seed)
    if profile.target_name is None:
        raise Refused("--portal needs --target-name (iscsi-initiator ls iscsi://HOST:PORT shows the names)")
    return EnvironmentSpec(kind="foreign", profile=profile, seed=seed)


@main.command("run", context_settings=CONTEXT)
@click.option("--role", type=click.Choice(list(ROLES)), default=None, help="Whom to judge.")
@click.option(
    "--portal", metavar="HOST:PORT", callback=_portal, help="The product's portal; without it: the bundled pair."
)
@click.option("--target-name", metavar="IQN", help="The target node under test.")
@click.option("--lun", type=click.IntRange(0, 16383), default=None, help="The logical unit that the cases use.")
@click.option("--profile", type=click.Path(path_type=Path), help="What is known of the product, in TOML.")
@click.option("-k", "expression", default="", metavar="EXPR", help="Only cases whose id, area or requirement matches.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option("--destructive", is_flag=True, help="Allow cases that write to the logical unit.")
@click.option("--strict", is_flag=True, help="A missed SHOULD fails the run too.")
@click.option("--time-limit", type=Seconds(min=1), metavar="S", help="Seconds for the whole run.")
@click.option("--expected-failures", type=click.Path(path_type=Path), metavar="FILE", help="Known deviations, in TOML.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for results and reports.")
@click.option("--seed", type=click.IntRange(0), default=None, help="Repeat a run's random choices.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def run_command(
    role: str | None,
    portal: str | None,
    target_name: str | None,
    lun: int | None,
    profile: Path | None,
    expression: str,
    jobs: int,
    destructive: bool,
    strict: bool,
    time_limit: float | None,
    expected_failures: Path | None,
    out: Path | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Run cases and say what came of them."""
    cases = known_cases()
    try:
        base = load_profile(profile) if profile else Profile()
        expected = load_expected(expected_failures, cases) if expected_failures else {}
    except (ProfileError, ExpectedFailuresError) as error:
        raise Refused(str(error)) from None
    seed = secrets.randbits(32) if seed is None else seed
    spec = _spec(profile_with(base, portal=portal, target_name=target_name, lun=lun), seed=seed)
    if spec.kind == "foreign" and role not in (None, "target"):
        raise Refused("a foreign initiator cannot be started by run; --portal goes with --role target")
    for check in name_checks(spec.profile):
        raise Refused(f"{check.says}; {check.remedy}")
    options = RunOptions(
        spec=spec,
        roles=_roles(role or ("all" if spec.kind == "bundled" else "target")),
        expression=expression,
        jobs=jobs,
        destructive=destructive,
        strict=strict,
        time_limit=time_limit,
        expected=expected,
        out=_prepared(out),
        seed=seed,
    )
    _run_and_report(options, as_json=as_json)


@contextmanager
def _terminable(options: RunOptions) -> Iterator[None]:
    """SIGTERM interrupts the run as SIGINT does, so that what was found is kept and no command stays behind.

    Processes beside this one would not hear of it: with those, SIGTERM is left as it is.
    """
    if options.jobs > 1:
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _run_and_report(options: RunOptions, *, as_json: bool) -> NoReturn:
    """Run, leave the reports behind, say what came of it, and exit with the code of the gravest thing."""
    out = options.out
    with Progress(quiet=as_json) as progress, _terminable(options):
        results, code, trouble = run(options, progress.done, progress.selected)
    if trouble:
        click.echo(f"iscsi-conformance: {trouble}", err=True)
    report = write_reports(results, out) if out else None
    if results.cases or as_json or not trouble:
        summary_table(results, as_json=as_json)
    if report is not None and not as_json:
        click.echo(str(report))
    sys.exit(code)


@main.command("certify-initiator", context_settings=CONTEXT)
@click.option("--listen", required=True, metavar="HOST:PORT", callback=_portal, help="Where to listen; port 0 is any.")
@click.option("--command", metavar="CMD", help="Run once a case: 'CMD {portal} {target} {lun}'. Without: you log in.")
@click.option("--adapter", type=click.Choice(sorted(ADAPTERS)), help="Certify the tools of this product.")
@click.option("--case-time", type=Seconds(min=0.1), metavar="S", help="Seconds for what one case asks for.")
@click.option("-k", "expression", default="", metavar="EXPR", help="Only cases whose id, area or requirement matches.")
@click.option("--strict", is_flag=True, help="A missed SHOULD fails the run too.")
@click.option("--time-limit", type=Seconds(min=1), metavar="S", help="Seconds for the whole run.")
@click.option("--expected-failures", type=click.Path(path_type=Path), metavar="FILE", help="Known deviations, in TOML.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for results and reports.")
@click.option("--seed", type=click.IntRange(0), default=None, help="Repeat a run's random choices.")
@click.option("--json", "as_json", is_flag=True, help="Print results.json instead of the table.")
def certify_command(
    listen: str,
    command: str | None,
    adapter: str | None,
    case_time: float | None,
    expression: str,
    strict: bool,
    time_limit: float | None,
    expected_failures: Path | None,
    out: Path | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Judge somebody else's initiator: listen as a target, and run its command once for each case.

    Each case has a target name and a fault of its own. Placeholders of --command: {portal} {target} {lun} {url} {doing}
    {user} {secret}. Without --command and --adapter a line on stderr says what to do for each case.
    """
    if command is not None and adapter is not None:
        raise Refused("--command and --adapter exclude each other")
    cases = known_cases()
    seed = secrets.randbits(32) if seed is None else seed
    try:
        expected = load_expected(expected_failures, cases) if expected_failures else {}
        product = product_for(command, adapter)
        spec = certification(listen, product, case_time, partial(click.echo, err=True), seed=seed)
    except (CommandError, ExpectedFailuresError) as error:
        raise Refused(str(error)) from None
    except PeerGone as gone:
        raise Refused(gone.reason, Exit.UNREACHABLE) from None
    except OSError as error:
        raise Refused(f"{listen}: {error.strerror}", Exit.UNREACHABLE) from None
    options = RunOptions(
        spec=spec,
        roles=frozenset({Role.INITIATOR}),
        expression=expression,
        strict=strict,
        time_limit=time_limit,
        expected=expected,
        out=_prepared(out),
        seed=seed,
    )
    _run_and_report(options, as_json=as_json)


def _prepared(out: Path | None) -> Path | None:
    if out is None:
        return None
    try:
        (out / "captures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{out}: {error.strerror}", Exit.UNREACHABLE) from None
    return out


@main.command("list", context_settings=CONTEXT)
@click.option("--role", type=click.Choice(list(ROLES)), default="all", show_default=True)
@click.option(
    "-k",
    "expression",
    default="",
    metavar="TEXT",
    help="Only cases whose id, title, requirements, codes or events have this.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_command(role: str, expression: str, as_json: bool) -> None:
    """List cases with the requirements, status codes and events that they cover."""
    wanted = [
        case
        for case in known_cases().values()
        if case.role in _roles(role)
        and expression in " ".join((case.id, case.title, *case.requirements, *case.proven_codes, *case.events))
    ]
    case_table(wanted, as_json=as_json)
    if not wanted:
        sys.exit(Exit.NOTHING_RUN)


@main.command("explain", context_settings=CONTEXT)
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def explain_command(id_: str, as_json: bool) -> None:
    """Explain a case, a requirement or a fault by its id, or a status code by its number or symbol."""
    cases = known_cases()
    faults = all_faults()
    if id_ in cases:
        case_page(cases[id_], as_json=as_json)
    elif id_ in requirements():
        requirement_page(requirements()[id_], cases.values(), as_json=as_json)
    elif id_ in faults:
        fault_table([faults[id_]], cases.values(), as_json=as_json)
    elif (code := _status_code(id_)) is not None:
        code_page(code, cases.values(), as_json=as_json)
    else:
        raise Refused(f"{id_}: no case, requirement, fault or status code has this id")


def _status_code(text: str) -> StatusCode | None:
    """The code of a number (0xEFFF0040, in either case) or of a symbol, with or without ISDSC_."""
    name = text.upper().removeprefix("ISDSC_")
    if name in StatusCode.__members__:
        return StatusCode[name]
    try:
        return StatusCode(int(text, 16))
    except ValueError:
        return None


@main.command("faults", context_settings=CONTEXT)
@click.option("--role", type=click.Choice(list(ROLES)), default="all", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def faults_command(role: str, as_json: bool) -> None:
    """List the named faults of targets, initiators, iSNS servers and clients, and of the initiator's service."""
    known = all_faults()
    faults = [fault for fault in known.values() if Role(fault.side.value) in _roles(role)]
    fault_table(faults, known_cases().values(), as_json=as_json)


@main.command("compare", context_settings=CONTEXT)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def compare_command(before: Path, after: Path, as_json: bool) -> None:
    """Compare two runs: verdicts and reasons that changed, cases that came or went.

    BEFORE and AFTER are results.json files or the folders that hold them. Exit codes: 0 nothing is different,
    1 something is, 2 usage.
    """
    try:
        comparison = compare(read_run(before), read_run(after))
    except ResultsError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None
    comparison_page(comparison, as_json=as_json)
    sys.exit(Exit.CONFORMING if comparison.same else Exit.FAILURES)


@main.command("doctor", context_settings=CONTEXT)
@click.option("--portal", metavar="HOST:PORT", callback=_portal, help="The product's portal; without it: bundled.")
@click.option("--target-name", metavar="IQN", help="The target node under test.")
@click.option("--lun", type=click.IntRange(0, 16383), default=None, help="The logical unit that the cases use.")
@click.option("--profile", type=click.Path(path_type=Path), help="What is known of the product, in TOML.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor_command(
    portal: str | None, target_name: str | None, lun: int | None, profile: Path | None, as_json: bool
) -> None:
    """Check what a run needs, of this machine and of the product: a line each, and a remedy where one is due.

    Exit codes: 0 nothing stands in the way, 2 usage, 3 something does.
    """
    try:
        base = load_profile(profile) if profile else Profile()
    except ProfileError as error:
        raise Refused(str(error)) from None
    spec = _spec(profile_with(base, portal=portal, target_name=target_name, lun=lun), seed=0)
    checks = asyncio.run(_examine(spec.profile, profile, quiet=as_json))
    if as_json:
        print_json(checks)
    sys.exit(Exit.UNREACHABLE if any(check.state is State.BAD for check in checks) else Exit.CONFORMING)


async def _examine(profile: Profile, path: Path | None, *, quiet: bool) -> list[Check]:
    checks = []
    async for check in examine(profile, path):
        checks.append(check)
        if not quiet:
            check_line(check)
    return checks


@main.command("relay", context_settings=CONTEXT)
@click.option("--listen", required=True, metavar="HOST:PORT", callback=_portal, help="Where to listen; port 0 is any.")
@click.option("--upstream", required=True, metavar="HOST:PORT", callback=_portal, help="The target's portal.")
@click.option("--fault", "fault_ids", multiple=True, metavar="ID", help="A named fault that every connection shows.")
@click.option("--pcap", type=click.Path(path_type=Path), help="Write what the receivers saw to a pcapng file.")
def relay_command(listen: str, upstream: str, fault_ids: Sequence[str], pcap: Path | None) -> None:
    """Stand between an initiator and a target, and let one of them show a fault.

    Prints one line of JSON with the portals when it listens, and works until SIGTERM or SIGINT. Exit codes: 0 stopped by
    a signal, 2 usage, 3 a port that cannot be had or a file that cannot be written.
    """
    known = all_faults()
    try:
        faults = [_known_fault(known, fault_id) for fault_id in fault_ids]
        check_relayable(faults)
    except (UnknownFault, NotOnTheWire) as error:
        raise Refused(str(error)) from None
    recorder = None
    try:
        if pcap is not None:
            recorder = PcapngRecorder(pcap, comment=f"relay to {upstream}: {', '.join(fault_ids) or 'no fault'}")
        asyncio.run(_relay(Endpoint(*host_and_port(listen)), Endpoint(*host_and_port(upstream)), faults, recorder))
    except OSError as error:
        raise Refused(str(error), Exit.UNREACHABLE) from None
    finally:
        if recorder is not None:
            recorder.close()


def _known_fault(known: dict[str, NamedFault], fault_id: str) -> NamedFault:
    if fault_id not in known:
        raise UnknownFault(fault_id, list(known))
    return known[fault_id]


async def _relay(
    listen: Endpoint, upstream: Endpoint, faults: Sequence[NamedFault], recorder: PcapngRecorder | None
) -> None:
    loop = asyncio.get_running_loop()
    relay = Relay(
        upstream,
        faults,
        tap=None if recorder is None else recorder.record,
        complain=lambda line: click.echo(f"iscsi-conformance: {line}", err=True),
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    endpoints = await relay.start(listen)
    click.echo(json.dumps({"ready": [str(endpoint) for endpoint in endpoints]}))
    waiting = asyncio.ensure_future(stopped.wait())
    either: set[asyncio.Future[Any]] = {waiting, relay.trouble}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if relay.trouble.done():
            relay.trouble.result()
    finally:
        waiting.cancel()
        await relay.stop()
    click.echo(f"{relay.connections} connections, {relay.fired} changes by faults", err=True)
