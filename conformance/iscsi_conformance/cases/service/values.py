"""Values that no operation takes: each kind has its code, and the nearest value that is one is taken (guide, Appendix D)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import ServiceBench, of_row, raw, rows, status_case
from iscsi_conformance.verdict import require
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode

NAME = "iqn.2026-01.org.example:disk"
LUN = {"target_lun": 0, "os_bus": 0, "os_target": 1, "os_lun": 0}
OTHER_LUN = {"target_lun": 1 << 48, "os_bus": 0, "os_target": 1, "os_lun": 1}
LONGEST_NAME = "iqn.2026-01.org.example:".ljust(223, "a")


def _target(**fields: Any) -> dict[str, object]:
    return raw("AddTarget", **{"target_name": NAME, **fields})


def _login(**options: Any) -> dict[str, object]:
    return raw("LoginTarget", target_name=PLAIN, options=options)


async def _one_of_two(
    service: ServiceBench, code: StatusCode, bad: Mapping[str, object], good: Mapping[str, object]
) -> None:
    """One request is refused, its neighbour is done."""
    one = await service.start()
    await one.discover()
    await one.gets(bad, code)
    await one.does(good)


_TABLE: tuple[tuple[StatusCode, str, str, Mapping[str, object], Mapping[str, object]], ...] = (
    (
        StatusCode.LOGIN_USER_INFO_BAD,
        "",
        "A login flag that there is not is refused, one that there is is taken.",
        _login(login_flags=64),
        _login(login_flags=2),
    ),
    (
        StatusCode.INVALID_CHAP_USER_NAME,
        "",
        "A user name of 224 characters is refused, one of 223 is taken.",
        _login(user_name="u" * 224),
        _login(user_name="u" * 223),
    ),
    (
        StatusCode.INVALID_CHAP_USER_NAME,
        "empty",
        "An empty user name is refused, none is taken.",
        _login(user_name=""),
        _login(user_name=None),
    ),
    (
        StatusCode.INVALID_LOGON_AUTH_TYPE,
        "",
        "Authentication type 3 is refused, type 0 is taken.",
        _login(auth_type=3),
        _login(auth_type=0),
    ),
    (
        StatusCode.INVALID_ISCSI_NAME,
        "",
        "A name with a space is refused, one without is taken.",
        _target(target_name="no name"),
        _target(),
    ),
    (
        StatusCode.INVALID_ISCSI_NAME,
        "length",
        "A name of 224 bytes is refused, one of 223 is taken.",
        _target(target_name=LONGEST_NAME + "a"),
        _target(target_name=LONGEST_NAME),
    ),
    (
        StatusCode.INVALID_CHAP_SECRET,
        "",
        "An empty secret is refused, one of 16 bytes is taken.",
        raw("CHAPSecret", secret=b""),
        raw("CHAPSecret", secret=b"s" * 16),
    ),
    (
        StatusCode.INVALID_CHAP_SECRET,
        "length",
        "A secret above the limit is refused, one of 16 bytes is taken.",
        raw("CHAPSecret", secret=b"s" * 4096),
        raw("CHAPSecret", secret=b"s" * 16),
    ),
    (
        StatusCode.TARGET_MAPPING_EXISTS,
        "",
        "A mapping that is given twice is refused, two that differ are taken.",
        _target(mappings=[LUN, LUN]),
        _target(mappings=[LUN, OTHER_LUN]),
    ),
    (
        StatusCode.INVALID_TARGET_MAPPING,
        "",
        "Mappings of one target on two buses are refused, those on one bus are taken.",
        _target(mappings=[LUN, OTHER_LUN | {"os_bus": 1}]),
        _target(mappings=[LUN, OTHER_LUN]),
    ),
    (
        StatusCode.INVALID_TARGET_MAPPING,
        "lun",
        "Two LUNs of the target at one LUN here are refused, those at two are taken.",
        _target(mappings=[LUN, OTHER_LUN | {"os_lun": 0}]),
        _target(mappings=[LUN, OTHER_LUN]),
    ),
    (
        StatusCode.INVALID_TARGET_ID,
        "",
        "A target number that does not fit is refused, one that does is taken.",
        _target(mappings=[LUN | {"os_target": 256}]),
        _target(mappings=[LUN]),
    ),
    (
        StatusCode.INVALID_PARAMETER,
        "",
        "A field that the operation does not have is refused; without it the operation is done.",
        raw("ListTargets", surplus=1),
        raw("ListTargets"),
    ),
    (
        StatusCode.INVALID_PARAMETER,
        "type",
        "A value of the wrong type is refused, one of the right type is taken.",
        raw("ListTargets", update="yes"),
        raw("ListTargets", update=False),
    ),
    (
        StatusCode.REQUEST_NOT_SUPPORTED,
        "",
        "A request of a version to come is refused, one of this version is done.",
        raw("ListTargets", version=2),
        raw("ListTargets", version=1),
    ),
)

rows(
    __name__,
    (
        (
            status_case(code, variant),
            of_row(_one_of_two, f"status_{code.name.lower()}_{variant}".rstrip("_"), says, code, bad, good),
        )
        for code, variant, says, bad, good in _TABLE
    ),
)


@status_case(StatusCode.BUFFER_TOO_SMALL)
async def buffer_too_small(service: ServiceBench) -> None:
    """An answer that is longer than the caller's buffer is kept back, and its size told; a buffer of that size has it."""
    one = await service.start()
    failure = await one.gets(api.VersionInfo(buffer_size=10), StatusCode.BUFFER_TOO_SMALL)
    needed = failure["needed"]
    require(isinstance(needed, int) and needed > 10, service.about, "the needed size is told", seen=needed)
    await one.gets(api.VersionInfo(buffer_size=needed - 1), StatusCode.BUFFER_TOO_SMALL)
    await one.does(api.VersionInfo(buffer_size=needed))


@status_case(StatusCode.SHORT_CHAP_SECRET)
async def short_secret(service: ServiceBench) -> None:
    """A secret of 11 bytes is kept with a warning, one of 12 without."""
    one = await service.start()
    await one.gets(api.CHAPSecret(secret=b"eleven byte"), StatusCode.SHORT_CHAP_SECRET)
    kept = one.core.store.state.secrets.initiator
    require(kept is not None, service.about, "the secret is kept all the same")
    await one.does(api.CHAPSecret(secret=b"twelve bytes"))
