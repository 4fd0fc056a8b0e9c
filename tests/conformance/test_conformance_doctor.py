"""The doctor: each check says what it found, and what to do where there is something to do."""

from __future__ import annotations

import asyncio
import socket

import pytest

from iscsi_conformance.bundled import CHAP, DENIED, GONE, PLAIN, bundled_profile
from iscsi_conformance.doctor import examine
from iscsi_conformance.doctor.check import State
from iscsi_conformance.doctor.machine import digest_speed, files, free_port, machine, peer, standard_port
from iscsi_conformance.doctor.product import product
from iscsi_conformance.doctor.secrets import login_check, profile_checks, readers
from iscsi_conformance.environments import EnvironmentSpec, open_environment
from iscsi_conformance.profile import ChapLogin, Profile, profile_with
from iscsi_conformance.virtual import run_virtual

UNLIMITED = -1


async def gathered(checks):
    """All checks of an asynchronous generator."""
    return [check async for check in checks]


def look(**changes):
    """The checks of the bundled target in memory, the profile changed by so much."""

    async def main():
        spec = EnvironmentSpec(kind="memory", profile=bundled_profile())
        async with open_environment(spec) as environment:
            environment.profile = profile_with(environment.profile, **changes)
            return {check.name: check for check in await gathered(product(environment))}

    return run_virtual(main())


# ---- the machine ----


def test_machine_is_looked_at_whole():
    """Ports, limits, digests and every program of the interop tests; what is amiss has a remedy."""
    checks = list(machine())

    assert {check.name for check in checks} >= {"ports", "port 3260", "limits", "digest speed", "peer tgtd"}
    assert all(bool(check.remedy) is (check.state is not State.OK) for check in checks)


def test_port_in_use_is_a_warning():
    """iSCSI's own port may be taken; the remedy is another one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check = standard_port(port)

    assert check.state is State.WARN
    assert "in use" in check.says


def test_no_loopback_is_bad():
    """An address that is not here takes no listeners."""
    assert free_port("192.0.2.1").state is State.BAD
    assert free_port("127.0.0.1").state is State.OK


@pytest.mark.parametrize(
    ("soft", "hard", "state", "remedy"),
    [
        (1024, 4096, State.OK, ""),
        (UNLIMITED, UNLIMITED, State.OK, ""),
        (256, 4096, State.WARN, "ulimit -n 1024"),
        (256, UNLIMITED, State.WARN, "ulimit -n 1024"),
        (256, 512, State.WARN, "ulimit -n 512"),
    ],
)
def test_open_files(soft, hard, state, remedy):
    """The remedy never asks for more than the hard limit gives."""
    check = files(soft, hard)

    assert (check.state, check.remedy) == (state, remedy)


@pytest.mark.parametrize(("seconds", "state"), [(0.001, State.OK), (1.0, State.WARN)])
def test_digest_speed_by_the_clock(seconds, state):
    """16 MiB in a millisecond is well, in a second it is not."""
    times = iter((0.0, seconds))

    assert digest_speed(lambda: next(times)).state is state


def test_peer_by_its_program(tmp_path):
    """A program that is there is named with its path; one that is not, with its package."""
    program = tmp_path / "tgtd"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)

    assert peer("tgtd", "tgt", str(tmp_path)).says == str(program)
    assert peer("isnsd", "open-isns-server", str(tmp_path)).remedy == "apt install open-isns-server"


# ---- the profile ----


@pytest.mark.parametrize(
    ("name", "login", "state"),
    [
        ("chap", ChapLogin(user="u", secret="x" * 12), State.OK),
        ("chap", ChapLogin(user="u", secret="x" * 11), State.WARN),
        ("chap", ChapLogin(user="u", secret="é" * 6), State.OK),
        ("mutual", ChapLogin(user="u", secret="x" * 12, target_user="t", target_secret="y" * 12), State.OK),
        ("mutual", ChapLogin(user="u", secret="x" * 12, target_user="t", target_secret="y" * 11), State.WARN),
        ("mutual", ChapLogin(user="u", secret="x" * 12, target_user="t", target_secret="x" * 12), State.BAD),
        ("mutual", ChapLogin(user="u", secret="x" * 12), State.BAD),
    ],
)
def test_secrets_by_length_and_difference(name, login, state):
    """12 bytes at least, another one for each direction; no secret is ever printed."""
    check = login_check(name, login)

    assert check.state is state
    assert login.secret not in check.says + check.remedy


@pytest.mark.parametrize(("mode", "state"), [(0o600, State.OK), (0o640, State.WARN), (0o604, State.WARN)])
def test_profile_is_the_owners_alone(tmp_path, mode, state):
    """Secrets that others may read are worth a word."""
    path = tmp_path / "profile.toml"
    path.touch(mode=0o600)
    path.chmod(mode)

    assert readers(path).state is state


def test_names_are_checked(tmp_path):
    """What is no iSCSI name is bad, by the field that has it."""
    profile = Profile(target_name="disk 1", initiator_name="iqn.2026-11.org.example:tester")
    (name, secrets) = profile_checks(profile, None)

    assert name.state is State.BAD
    assert name.says.startswith("target_name 'disk 1' is no iSCSI name")
    assert secrets.says == "the profile has none"


# ---- the product ----


def test_bundled_target_is_well():
    """Portals, discovery, access, both CHAP logins, the logical unit and writing."""
    checks = look()

    assert all(check.state is State.OK for check in checks.values()), checks
    assert {"discovery", "access", "CHAP", "mutual CHAP", "LUN 0", "writing"} < set(checks)
    assert sum(name.startswith("portal ") for name in checks) == 3
    assert f"is let into {PLAIN}" in checks["access"].says


@pytest.mark.parametrize(
    ("target_name", "status", "remedy"),
    [
        (DENIED, "0202", "let the initiator iqn.2026-11.org.iscsi-conformance:tester in"),
        (GONE, "0204", "name a target that the product still has"),
        ("iqn.2026-11.org.example:none", "0203", "correct --target-name"),
    ],
)
def test_refused_login_names_its_remedy(target_name, status, remedy):
    """The status decides what to do; what builds on the login is left out."""
    checks = look(target_name=target_name)

    assert checks["access"].state is State.BAD
    assert status in checks["access"].says
    assert checks["access"].remedy.startswith(remedy)
    assert "LUN 0" not in checks


def test_target_that_is_not_listed_is_a_warning():
    """Discovery tells what there is instead."""
    check = look(target_name="iqn.2026-11.org.example:none")["discovery"]

    assert check.state is State.WARN
    assert PLAIN in check.says


def test_wrong_secret_of_the_profile_is_bad():
    """The secrets that the profile has are tried as they are."""
    checks = look(chap=ChapLogin(user="tester", secret="not this secret"))

    assert checks["CHAP"].state is State.BAD
    assert CHAP in checks["CHAP"].says
    assert "[chap]" in checks["CHAP"].remedy
    assert checks["access"].state is State.OK


def test_absent_logical_unit_is_bad():
    """The ones that are there are named."""
    checks = look(lun=9)

    assert checks["LUN 9"].state is State.BAD
    assert "there are: 0, 1" in checks["LUN 9"].says


def test_writing_needs_leave_and_a_medium():
    """A read-only unit, or an operator who did not allow it, skips the cases that write."""
    profile = profile_with(bundled_profile(), destructive=False)

    assert look(lun=1)["writing"].says == "the medium is write protected"
    assert "SKIPPED" in look(destructive=profile.destructive)["writing"].says


def test_portal_that_nobody_has_ends_the_examination(unused_endpoint):
    """A refused connection says so, and nothing is asked of the product after it."""
    profile = Profile(portal=unused_endpoint, target_name=PLAIN, response_time=1.0)
    checks = asyncio.run(gathered(examine(profile)))

    assert checks[-1].name == f"portal {unused_endpoint}"
    assert (checks[-1].state, checks[-1].says) == (State.BAD, "refused")
    assert checks[-1].remedy == "start the product, or correct --portal"


def test_without_a_portal_the_bundled_target_is_asked():
    """Over TCP, as a run would."""
    checks = {check.name: check for check in asyncio.run(gathered(examine(bundled_profile())))}

    assert checks["LUN 0"].state is State.OK
    assert checks["secrets of [mutual]"].state is State.OK
