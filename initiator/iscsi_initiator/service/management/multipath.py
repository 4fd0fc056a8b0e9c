"""The classes of MPIO: policies of disks, an instance for each, and the timers and counters (guide, "Using Multipathing I/O",
Appendix F).

DsmPathId is the UniqueSessionId of the session that is the path. This is a DSM of symmetric targets, without ALUA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from iscsi_initiator.devices import MPIO_TIMERS, MpioTimers
from iscsi_initiator.multipath import LoadBalance, Path, PathStatus
from iscsi_initiator.service.management.driver import INSTANCE, POLICIES
from iscsi_initiator.service.management.schema import ManagementClass, Method, Row, Structure
from iscsi_initiator.service.management.shapes import TEXT, U8, U16, U32, U64, P
from iscsi_initiator.service.versions import project_version
from iscsi_initiator.status_codes import Refused, StatusCode

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core
    from iscsi_initiator.service.paths import Known

_CONTEXT = 1
_CONTROL = "ROOT\\MPIO\\0000_0"
_DSM = "iSCSI DSM"
_NUMBERS = {policy: number for number, policy in POLICIES.items()}
_STATES: Mapping[PathStatus, int] = {PathStatus.ACTIVE: 0, PathStatus.STANDBY: 2, PathStatus.FAILED: 3}
"""TargetPortGroup_State: active/optimized, standby, unavailable."""

_PATH = (
    P("DsmPathId", U64, required=True),
    P("Reserved", U64),
    P("PathWeight", U32),
    P("PrimaryPath", U32),
    P("OptimizedPath", U32),
    P("PreferredPath", U32),
    P("FailedPath", U32),
)
PATH = Structure("MPIO_DSM_Path", _PATH)
PATH_V2 = Structure(
    "MPIO_DSM_Path_V2",
    (
        *_PATH,
        P("TargetPortGroup_State", U32),
        P("ALUASupport", U32),
        P("SymmetricLUA", U8),
        P("TargetPortGroup_Preferred", U8),
        P("TargetPortGroup_Identifier", U16),
        P("TargetPort_Identifier", U32),
        P("Reserved32", U32),
        P("Reserved64", U64),
    ),
)


def _policy(name: str, path: Structure) -> Structure:
    return Structure(
        name,
        (
            P("Version", U32),
            P("LoadBalancePolicy", U32, required=True),
            P("DSMPathCount", U32),
            P("Reserved", U32),
            P("DSM_Paths", path, array=True),
        ),
    )


POLICY = _policy("DSM_Load_Balance_Policy", PATH)
POLICY_V2 = _policy("DSM_Load_Balance_Policy_V2", PATH_V2)
COUNTERS = Structure("DSM_COUNTERS", tuple(P(row.name, U32) for row in MPIO_TIMERS))
VERSION = Structure(
    "DSM_VERSION", (P("MajorVersion", U32), P("MinorVersion", U32), P("ProductBuild", U32), P("QfeNumber", U32))
)
PARAMETERS = Structure(
    "DSM_PARAMETERS",
    (P("DsmName", TEXT), P("DsmContext", U64), P("DsmVersion", VERSION), P("DsmCounters", COUNTERS)),
)


# Policies.


def _policies(core: Core) -> list[Row]:
    return [{**_head(known), "LoadBalancePolicy": _shown(known)} for known in core.paths.known.values()]


def _head(known: Known) -> Row:
    return {"InstanceName": known.name, "Active": not known.core.removed}


def _shown(known: Known) -> Row:
    device = known.core
    statuses = device.statuses
    prefers = device.failback and device.policy is LoadBalance.FAIL_OVER_ONLY
    unknown = dict.fromkeys(
        (
            "Reserved",
            "ALUASupport",
            "TargetPortGroup_Preferred",
            "TargetPortGroup_Identifier",
            "TargetPort_Identifier",
            "Reserved32",
            "Reserved64",
        ),
        0,
    )
    paths = [
        {
            **unknown,
            "DsmPathId": known.members[path.id].session.usid,
            "PathWeight": path.weight,
            "PrimaryPath": int(path.active),
            "OptimizedPath": 1,
            "PreferredPath": int(prefers and path.active),
            "FailedPath": int(statuses[path.id] is PathStatus.FAILED),
            "TargetPortGroup_State": _STATES[statuses[path.id]],
            "SymmetricLUA": 1,
        }
        for path in device.paths
    ]
    return {
        "Version": 1,
        "LoadBalancePolicy": _NUMBERS[device.policy],
        "DSMPathCount": len(paths),
        "Reserved": 0,
        "DSM_Paths": paths,
    }


async def _set_policy(core: Core, row: Row, given: Row) -> Row:
    """What does not fit is refused with the codes of SetDevicePolicy."""
    wanted = given["LoadBalancePolicy"]
    number, paths = wanted["LoadBalancePolicy"], wanted.get("DSM_Paths", [])
    if wanted.get("DSMPathCount", len(paths)) != len(paths):
        reason = f"{len(paths)} paths stand where DSMPathCount says {wanted['DSMPathCount']}"
        raise Refused(StatusCode.PATH_COUNT_MISMATCH, reason)
    if number not in POLICIES:
        raise Refused(
            StatusCode.INVALID_LOAD_BALANCE_POLICY, f"policies have the numbers 1 to {max(POLICIES)}, not {number}"
        )
    policy = POLICIES[number]
    known = await core.paths.find(row["InstanceName"])
    places = {member.session.usid: place for place, member in known.members.items()}
    ways = [
        Path(
            # A path that is none has a number that no session has.
            id=places.get(each["DsmPathId"], -1 - each["DsmPathId"]),
            active=bool(each.get("PrimaryPath", 1)),
            weight=each.get("PathWeight", 0),
        )
        for each in paths
    ]
    core.paths.set_policy(known, policy, ways, _failback(policy, paths))
    return {"Status": 0}


def _failback(policy: LoadBalance, paths: list[Row]) -> bool | None:
    """PreferredPath says of the one active path whether it is so again once it is back; None where nothing says so."""
    said = [each for each in paths if "PreferredPath" in each]
    if policy is not LoadBalance.FAIL_OVER_ONLY or not said:
        return None
    preferred = [each for each in said if each["PreferredPath"]]
    if any(not each.get("PrimaryPath", 1) for each in preferred):
        raise Refused(StatusCode.INVALID_PARAMETER, "the path that is preferred is the primary one")
    return bool(preferred)


# Timers and counters.


def _counters(core: Core) -> Row:
    return {row.name: int(getattr(core.device_settings.timers, row.field)) for row in MPIO_TIMERS}


def _control(**values: Any) -> list[Row]:
    return [{"InstanceName": _CONTROL, "Active": True, **values}]


def _version() -> Row:
    numbers = [int(part) for part in project_version().split(".") if part.isdecimal()]
    return dict(zip((each.name for each in VERSION.properties), [*numbers, 0, 0, 0, 0], strict=False))


def _dsms(core: Core) -> list[Row]:
    dsm = {"DsmName": _DSM, "DsmContext": _CONTEXT, "DsmVersion": _version(), "DsmCounters": _counters(core)}
    return _control(NumberDSMs=1, DsmParameters=[dsm])


async def _set_counters(core: Core, _row: Row, given: Row) -> Row:
    """They count at once, and at later starts; what is left out stays as it was."""
    if given["DsmContext"] != _CONTEXT:
        raise Refused(StatusCode.INVALID_PARAMETER, f"there is no DSM with the context {given['DsmContext']}")
    values = {**_counters(core), **given["DsmCounters"]}
    try:
        timers = MpioTimers.of(values)
    except ValueError as error:
        raise Refused(StatusCode.INVALID_PARAMETER, str(error)) from error
    core.set_mpio_timers(timers)
    return {}


def _set(name: str, policy: Structure) -> Method:
    return Method(
        name=name,
        says="policy, and the sessions as paths; no paths for all alike",
        arguments=(P("LoadBalancePolicy", policy, required=True),),
        gives=(P("Status", U32),),
        act=_set_policy,
    )


CLASSES = (
    ManagementClass(
        name="DSM_QueryLBPolicy_V2",
        says="how requests to a disk are spread over sessions",
        properties=(*INSTANCE, P("LoadBalancePolicy", POLICY_V2)),
        instances=_policies,
        missing=StatusCode.INVALID_PARAMETER,
    ),
    ManagementClass(
        name="DSM_LB_Operations",
        says="sets how requests to a disk are spread over sessions",
        properties=INSTANCE,
        instances=lambda core: [_head(known) for known in core.paths.known.values()],
        methods=(_set("DsmSetLoadBalancePolicy", POLICY), _set("DsmSetLoadBalancePolicyALUA", POLICY_V2)),
        missing=StatusCode.INVALID_PARAMETER,
    ),
    ManagementClass(
        name="MPIO_TIMERS_COUNTERS",
        says="the timers and counters of multipath devices",
        properties=(*INSTANCE, *COUNTERS.properties),
        instances=lambda core: _control(**_counters(core)),
    ),
    ManagementClass(
        name="MPIO_REGISTERED_DSM",
        says="who looks after multipath devices, with timers and counters",
        properties=(*INSTANCE, P("NumberDSMs", U32), P("DsmParameters", PARAMETERS, array=True)),
        instances=_dsms,
    ),
    ManagementClass(
        name="MPIO_WMI_METHODS",
        says="sets the timers and counters of multipath devices",
        properties=INSTANCE,
        instances=lambda _core: _control(),
        methods=(
            Method(
                name="SetDSMCounters",
                says="timers and counters of a DSM, which count from now on",
                arguments=(P("DsmContext", U64, required=True), P("DsmCounters", COUNTERS, required=True)),
                act=_set_counters,
            ),
        ),
    ),
)
