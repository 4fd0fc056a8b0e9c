"""What the operator got wrong about a product that is there: one line with the remedy, and no case is run."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from iscsi_conformance.bundled import CHAP, DENIED, GONE, MOVED, PLAIN, bundled_config
from iscsi_conformance.cli import main
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

NOBODY = "iqn.2026-11.org.example:nobody"
LOGIN = "[chap]\nuser = 'tester'\nsecret = '{}'\n"


@pytest.fixture(scope="module")
def portal() -> Iterator[str]:
    """The bundled target on a free port of loopback, as a foreign product: in a thread of its own."""
    ready = threading.Event()
    found: list[str] = []
    stop: list[object] = []

    async def serve() -> None:
        config = bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(3).randbytes)
        server = TargetServer(engine)
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        found.append(str((await server.start(config.portals))[0]))
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))
        ready.set()
        await stopped.wait()
        await server.stop()
        close_devices(devices)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    stop[0]()  # type: ignore[operator]  # the list is filled before the event
    thread.join(20)


@pytest.fixture
def run(portal, tmp_path):
    """Return a function that runs the NOP cases against the served target, with options and with a profile of these lines."""

    def called(*options, profile=""):
        path = tmp_path / "profile.toml"
        path.write_text(f"portal = '{portal}'\n{profile}", encoding="utf-8")
        arguments = ["run", "-k", "nop.ping-is-answered", "--profile", str(path), *options]
        return CliRunner().invoke(main, arguments)

    return called


@pytest.mark.parametrize(
    ("options", "profile", "says"),
    [
        (
            ("--target-name", NOBODY),
            "",
            f"no login to {NOBODY}: status 0203 (not found); remedy: correct --target-name",
        ),
        (("--target-name", DENIED), "", "status 0202 (authorization failure); remedy: let the initiator iqn."),
        (("--target-name", CHAP), "", "status 0201 (authentication failure); remedy: put the product's CHAP user"),
        (("--target-name", CHAP), LOGIN.format("not-this-secret"), "status 0201 (authentication failure)"),
        (("--target-name", GONE), "", "status 0204 (target removed)"),
        (("--target-name", MOVED), "", "status 0101 (moved temporarily)"),
        (("--target-name", PLAIN, "--lun", "9"), "", "LUN 9 is not listed; there are: 0, 1; remedy: give --lun"),
        (("--target-name", PLAIN), "lun = 300\n", "LUN 300 is not listed; there are: 0, 1"),
    ],
)
def test_product_that_is_not_as_told_ends_the_run(run, options, profile, says):
    """Exit code 3: nothing could be judged."""
    result = run(*options, profile=profile)

    assert result.exit_code == 3, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("iscsi-conformance: ")
    assert says in result.stderr


def test_several_workers_say_it_once(run):
    """Each meets the same."""
    result = run("--target-name", NOBODY, "--jobs", "2")

    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "profile", "says"),
    [
        (("--target-name", "disk 1"), "", "target_name 'disk 1' is no iSCSI name"),
        (("--target-name", PLAIN), "initiator_name = 'me'\n", "initiator_name 'me' is no iSCSI name"),
        (("--target-name", PLAIN), "second_portal = 'a:b:c'\n", "IPv6 address stands in brackets"),
        (("--target-name", PLAIN), "colour = 'red'\n", "colour"),
        (("--target-name", PLAIN), "lun = 16384\n", "$.lun"),
    ],
)
def test_profile_that_is_wrong_in_itself_is_a_usage_error(run, options, profile, says):
    """Exit code 2, before anything is connected."""
    result = run(*options, profile=profile)

    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr


def test_right_profile_is_judged(run):
    """With the secret, the name and the LUN that the target has."""
    result = run("--target-name", CHAP, profile=LOGIN.format("one-way-secret-1"))

    assert result.exit_code == 0, result.output
    assert "1 cases" in result.stdout


def test_results_are_printed_as_json_all_the_same(run):
    """Whoever reads them gets them, without cases; the line goes to stderr."""
    result = run("--target-name", NOBODY, "--json")

    assert result.exit_code == 3
    assert '"cases": []' in result.stdout
    assert "0203" in result.stderr
