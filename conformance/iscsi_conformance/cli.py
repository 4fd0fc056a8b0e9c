"""`iscsi-conformance`: the command line. Each command is a short function; what it does stands in a module of its own."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click

from iscsi_conformance.bundled import bundled_profile
from iscsi_conformance.case import Case, CaseError, Role, load_cases, validate
from iscsi_conformance.catalogue import requirements
from iscsi_conformance.environments import DEFAULT_PORT, EnvironmentSpec
from iscsi_conformance.expected import ExpectedFailuresError, load_expected
from iscsi_conformance.profile import Profile, ProfileError, load_profile, profile_with
from iscsi_conformance.progress import Progress
from iscsi_conformance.report import write_reports
from iscsi_conformance.runner import RunOptions, run
from iscsi_conformance.show import case_page, case_table, fault_table, requirement_page, summary_table
from iscsi_conformance.verdict import Exit
from iscsi_initiator.faults import all_faults as initiator_faults
from iscsi_target.config import host_and_port
from iscsi_target.faults import all_faults as target_faults

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

EXAMPLES = """\b
Examples:
  iscsi-conformance run --out report
  iscsi-conformance run --portal 192.0.2.1:3260 --target-name iqn.2003-01.org.example:disk --lun 1 --out report
  iscsi-conformance list -k chap
  iscsi-conformance explain R7143-4.2.2.1-07
"""


class Refused(click.ClickException):
    """One clear line, and the exit code that goes with it."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


@click.group(context_settings=CONTEXT, epilog=EXAMPLES)
@click.version_option(package_name="iscsi-conformance")
def main() -> None:
    """Tell whether an iSCSI target or initiator keeps to RFC 7143, and show the bytes that prove it."""


def known_cases() -> dict[str, Case]:
    """All cases, checked against catalogue and faults. Raises Refused for a broken table."""
    cases = dict(load_cases())
    try:
        validate(cases.values(), {**target_faults(), **initiator_faults()})
    except CaseError as error:
        raise Refused(str(error), Exit.OWN_DEFECT) from None
    return cases


def _roles(role: str) -> frozenset[Role]:
    return frozenset(Role) if role == "both" else frozenset({Role(role)})


def _portal(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    text = value if ":" in value.rpartition("]")[2] else f"{value}:{DEFAULT_PORT}"
    try:
        host_and_port(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text


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
@click.option("--role", type=click.Choice(["target", "initiator", "both"]), default=None, help="Whom to judge.")
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
@click.option("--time-limit", type=click.FloatRange(min=1), metavar="S", help="Seconds for the whole run.")
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
    options = RunOptions(
        spec=spec,
        roles=_roles(role or ("both" if spec.kind == "bundled" else "target")),
        expression=expression,
        jobs=jobs,
        destructive=destructive,
        strict=strict,
        time_limit=time_limit,
        expected=expected,
        out=_prepared(out),
        seed=seed,
    )
    with Progress(quiet=as_json) as progress:
        results, code, trouble = run(options, progress.done, progress.selected)
    if trouble:
        click.echo(f"iscsi-conformance: {trouble}", err=True)
    report = write_reports(results, out) if out else None
    summary_table(results, as_json=as_json)
    if report is not None and not as_json:
        click.echo(str(report))
    sys.exit(code)


def _prepared(out: Path | None) -> Path | None:
    if out is None:
        return None
    try:
        (out / "captures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{out}: {error.strerror}", Exit.UNREACHABLE) from None
    return out


@main.command("list", context_settings=CONTEXT)
@click.option("--role", type=click.Choice(["target", "initiator", "both"]), default="both", show_default=True)
@click.option(
    "-k", "expression", default="", metavar="TEXT", help="Only cases whose id, title or requirements have this."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_command(role: str, expression: str, as_json: bool) -> None:
    """List cases with the requirements that they cover."""
    wanted = [
        case
        for case in known_cases().values()
        if case.role in _roles(role) and expression in f"{case.id} {case.title} {' '.join(case.requirements)}"
    ]
    case_table(wanted, as_json=as_json)
    if not wanted:
        sys.exit(Exit.NOTHING_RUN)


@main.command("explain", context_settings=CONTEXT)
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def explain_command(id_: str, as_json: bool) -> None:
    """Explain a case, a requirement or a fault by its id."""
    cases = known_cases()
    faults = {**target_faults(), **initiator_faults()}
    if id_ in cases:
        case_page(cases[id_], as_json=as_json)
    elif id_ in requirements():
        requirement_page(requirements()[id_], cases.values(), as_json=as_json)
    elif id_ in faults:
        fault_table([faults[id_]], cases.values(), as_json=as_json)
    else:
        raise Refused(f"{id_}: no case, requirement or fault has this id")


@main.command("faults", context_settings=CONTEXT)
@click.option("--role", type=click.Choice(["target", "initiator", "both"]), default="both", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def faults_command(role: str, as_json: bool) -> None:
    """List the named faults of targets and initiators."""
    known = {**target_faults(), **initiator_faults()}
    faults = [fault for fault in known.values() if Role(fault.side.value) in _roles(role)]
    fault_table(faults, known_cases().values(), as_json=as_json)
