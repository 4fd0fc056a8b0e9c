"""The stages of a login and the ways between them (RFC 7143 sections 6.3, 11.12.1 to 11.12.4, 11.13.6)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.login import (
    OPEN,
    no_success,
    outcome,
    partial,
    ping,
    responses,
    unasked,
    walk,
)
from iscsi_conformance.peer import Peer
from iscsi_conformance.verdict import require
from iscsi_conformance.wire import Pairs, Wire
from iscsi_protocol.pdu import LoginRequest, LoginResponse, LoginStatus, Pdu, Stage

NO_METHOD = ("AuthMethod", "None")


def first(wire: Wire, *more: tuple[str, str], **fields: object) -> LoginRequest:
    """A first request that stays in its stage; the operational one without other wishes."""
    return wire.login_request(wire.names(*more), **({"transit": False, "nsg": 0} | fields))


async def begun(wire: Wire, clause: str, *more: tuple[str, str], stage: int = Stage.OPERATIONAL) -> LoginResponse:
    """Exchange a first request that stays in its stage. Raises Failed when the target does not go on."""
    response = await wire.exchange_login(first(wire, *more, csg=stage), clause)
    require(response.status_class == 0, clause, "the login goes on", seen=f"status {response.status:04x}")
    return response


def secure(wire: Wire, nsg: int, pairs: Pairs | None = None) -> LoginRequest:
    """A request to leave the security stage; the first one, without authentication, unless other pairs are given."""
    return wire.login_request(wire.names(NO_METHOD) if pairs is None else pairs, csg=Stage.SECURITY, nsg=nsg)


@case(
    "login.security-leads-to-operational",
    clauses={
        "R7143-6.3-12": "login.answers-in-another-stage",
        "R7143-6.3-13": "login.goes-further-than-asked",
        "R7143-11.13.6-01": "login.asks-while-leaving-security",
    },
    role=TARGET,
    needs=OPEN,
)
async def security_to_operational(wire: Wire) -> None:
    """Asked to leave the security stage for the operational one, the target answers with T=1, CSG 0 and NSG 1, or T=0."""
    response = await wire.exchange_login(secure(wire, Stage.OPERATIONAL), "R7143-6.3-12")
    require(response.status_class == 0, "R7143-6.3-12", "the login goes on", seen=f"status {response.status:04x}")
    require(response.csg == Stage.SECURITY, "R7143-6.3-12", "the response has the request's CSG", seen=response.csg)
    above = response.transit and response.nsg > Stage.OPERATIONAL
    require(not above, "R7143-6.3-13", "NSG is not above the one asked for", seen=response.nsg)
    asked = [key for key in ("AuthMethod", "CHAP_A", "CHAP_C") if f"\0{key}=".encode() in b"\0" + response.data]
    require(
        not response.transit or asked in ([], ["AuthMethod"]),
        "R7143-11.13.6-01",
        "a response with T=1 asks for nothing more in its stage",
        seen=asked,
    )


@case(
    "login.both-stages",
    clauses={"R7143-6.3-08": "login.forgets-the-second-stage", "R7143-6.3-19": "login.ends-in-the-wrong-stage"},
    role=TARGET,
    needs=OPEN,
)
async def both_stages(peer: Peer) -> None:
    """Security first and operational negotiation next lead to the full feature phase, which the last response names."""
    _, login = await peer.try_login([NO_METHOD])
    stages = [response.csg for response in responses(login) if response.status_class == 0]
    require(
        stages == sorted(stages) and Stage.OPERATIONAL in stages,
        "R7143-6.3-08",
        "the security stage is followed by the operational one",
        seen=f"{stages}, {outcome(login)}",
    )
    last = responses(login)[-1]
    named = last.transit and last.nsg == Stage.FULL_FEATURE
    require(named, "R7143-6.3-19", "the final response names the full feature phase", seen=f"NSG {last.nsg}")


@case(
    "login.security-leads-to-full-feature",
    clauses={"R7143-6.3.2-04": "login.no-tsih-behind-security"},
    role=TARGET,
    needs=OPEN,
)
async def security_to_full_feature(wire: Wire) -> None:
    """Where the security stage leads straight to the full feature phase, the response has the TSIH."""
    clause = "R7143-6.3.2-04"
    response = await wire.exchange_login(secure(wire, Stage.FULL_FEATURE), clause)
    require(response.status_class == 0, clause, "the login goes on", seen=f"status {response.status:04x}")
    while not (response.transit and response.nsg == Stage.FULL_FEATURE):  # a lower stage may be chosen
        stage = response.nsg if response.transit else response.csg
        response = await wire.exchange_login(wire.login_request(csg=stage), clause)
        require(response.status_class == 0, clause, "the login goes on", seen=f"status {response.status:04x}")
    require(response.tsih, clause, "the TSIH was due", seen=f"TSIH {response.tsih}")
    await ping(wire, clause)


@case(
    "login.transit-is-only-answered",
    clauses={"R7143-6.3-14": "login.leaves-security-unasked", "R7143-11.13.6-02": "login.leaves-operational-unasked"},
    role=TARGET,
    needs=OPEN,
)
async def transit_is_only_answered(peer: Peer) -> None:
    """A request with T=0 is answered with T=0, in either stage."""
    for stage, clause in ((Stage.SECURITY, "R7143-6.3-14"), (Stage.OPERATIONAL, "R7143-11.13.6-02")):
        wire = await peer.connect()
        response = await begun(wire, clause, *([NO_METHOD] if stage == Stage.SECURITY else []), stage=stage)
        require(not response.transit, clause, "T=0 is answered with T=0", seen=f"NSG {response.nsg}")
        wire.raw.close()


@case(
    "login.nothing-is-accepted-unasked",
    clauses={"R7143-6.3-18": "login.accepts-too-early", "R7143-11.12.3-01": "login.names-a-stage-without-transit"},
    role=TARGET,
    needs=OPEN,
)
async def nothing_is_accepted_unasked(wire: Wire) -> None:
    """A request with T=0 is not answered with the final response, and the NSG of a partial one is 0."""
    response = await begun(wire, "R7143-6.3-18")
    final = response.transit and response.nsg == Stage.FULL_FEATURE
    require(not final, "R7143-6.3-18", "no login ends with a request that has T=0")
    require(response.transit or response.nsg == 0, "R7143-11.12.3-01", "NSG is reserved with T=0", seen=response.nsg)


@case(
    "login.transit-counts-anew",
    clauses={"R7143-6.3-15": "login.remembers-the-first-transit"},
    role=TARGET,
    needs=OPEN,
)
async def transit_counts_anew(peer: Peer) -> None:
    """Two exchanges with T=0 do not keep a later T=1 from being answered."""

    def twice(request: LoginRequest, number: int) -> Pdu:
        return partial(request, 1) if number <= 2 else request

    await walk(peer, "R7143-6.3-15", change=twice)


@case(
    "login.last-response-asks-nothing",
    clauses={"R7143-6.3-16": "login.asks-in-the-last-response"},
    role=TARGET,
    needs=OPEN,
)
async def last_response_asks_nothing(peer: Peer) -> None:
    """The final response offers no key that the initiator would have to answer."""
    _, login = await walk(peer, "R7143-6.3-16")
    last = {pair.partition(b"=")[0].decode() for pair in responses(login)[-1].data.split(b"\0")}
    offers = [key for key in unasked(login) if key in last]
    require(not offers, "R7143-6.3-16", "a response with T=1 needs no answer", seen=offers)


@case(
    "login.does-not-begin-at-its-end",
    clauses={"R7143-6.3-07": "login.needs-no-stage"},
    role=TARGET,
    needs=OPEN,
)
async def does_not_begin_at_its_end(wire: Wire) -> None:
    """A login that begins in the full feature phase is refused."""
    wire.send(first(wire, csg=Stage.FULL_FEATURE, transit=True, nsg=Stage.FULL_FEATURE))
    await no_success(wire, "R7143-6.3-07", "a login goes through one stage at least")


@case(
    "login.no-way-back",
    clauses={"R7143-6.3-17": "login.turns-back"},
    role=TARGET,
    needs=OPEN,
)
async def no_way_back(peer: Peer) -> None:
    """Transitions to the stage before, or to the same one, are refused."""
    ways = (
        (Stage.SECURITY, Stage.SECURITY),
        (Stage.OPERATIONAL, Stage.SECURITY),
        (Stage.OPERATIONAL, Stage.OPERATIONAL),
    )
    for csg, nsg in ways:
        wire = await peer.connect()
        wire.send(first(wire, *([NO_METHOD] if csg == Stage.SECURITY else []), csg=csg, transit=True, nsg=nsg))
        await no_success(wire, "R7143-6.3-17", f"no way leads from stage {csg.value} to {nsg.value}")


@case("login.reserved-stage", clauses={"R7143-11-04": "login.takes-a-reserved-stage"}, role=TARGET, needs=OPEN)
async def reserved_stage(wire: Wire) -> None:
    """A request for the reserved stage 2 is refused."""
    wire.send(first(wire, transit=True, nsg=2))
    await no_success(wire, "R7143-11-04", "NSG 2 is reserved")


@case(
    "login.stages-do-not-go-back",
    clauses={"R7143-7.13-01": "login.takes-any-current-stage"},
    role=TARGET,
    needs=OPEN,
)
async def stages_do_not_go_back(wire: Wire) -> None:
    """A request of the security stage in the middle of the operational one is refused."""
    await begun(wire, "R7143-7.13-01")
    wire.send(secure(wire, Stage.OPERATIONAL, [NO_METHOD]))
    await no_success(wire, "R7143-7.13-01", "the security stage does not come second")


@case(
    "login.operational-key-in-security",
    clauses={"R7143-6.3-11": "login.overlooks-early-keys"},
    touches=["R7143-12-02"],
    role=TARGET,
    needs=OPEN,
)
async def operational_key_in_security(wire: Wire) -> None:
    """MaxBurstLength in the security stage is a protocol error, which ends the login."""
    wire.send(first(wire, NO_METHOD, ("MaxBurstLength", "65536"), csg=Stage.SECURITY))
    await no_success(wire, "R7143-6.3-11", "a key of another stage ends the login")


@case(
    "login.continue-excludes-transit",
    clauses={"R7143-11.13.5-16": "login.blames-itself", "R7143-7.7-01": "login.overlooks-continue"},
    role=TARGET,
    needs=OPEN,
)
async def continue_excludes_transit(wire: Wire) -> None:
    """A request whose T and C contradict each other is refused: with an initiator error where a status is given."""
    wire.send(wire.login_request(wire.names(), continued=True))
    status = await no_success(wire, "R7143-7.7-01", "T=1 and C=1 exclude each other")
    right = status in (None, LoginStatus.INITIATOR_ERROR)
    require(right, "R7143-11.13.5-16", "status 0200 was due", seen=f"{status or 0:04x}")


@case(
    "login.no-renegotiation",
    clauses={"R7143-6.3-21": "login.negotiates-again", "R7143-6.3-22": "login.renegotiation-other-status"},
    role=TARGET,
    needs=OPEN,
)
async def no_renegotiation(wire: Wire) -> None:
    """A key that was negotiated is not negotiated again: the login is rejected as an initiator error."""
    await begun(wire, "R7143-6.3-21", ("MaxBurstLength", "65536"))
    request = wire.login_request([("MaxBurstLength", "131072")])
    response = await wire.exchange_login(request, "R7143-6.3-22", "a Login reject")
    require(response.status_class, "R7143-6.3-21", "the renegotiation is detected", seen=f"{response.status:04x}")
    status = response.status
    require(status == LoginStatus.INITIATOR_ERROR, "R7143-6.3-22", "status 0200 was due", seen=f"{status:04x}")


@case(
    "login.no-redeclaration",
    clauses={"R7143-7.12-02": "login.leaves-without-a-word", "R7143-7.12-01": "login.stays-after-refusal"},
    touches=["R7143-6.3-21"],
    role=TARGET,
    needs=OPEN,
)
async def no_redeclaration(wire: Wire) -> None:
    """A second InitiatorName ends the login with a status of the initiator's fault, and the connection."""
    await begun(wire, "R7143-7.12-02")
    request = wire.login_request([("InitiatorName", wire.initiator_name)])
    response = await wire.exchange_login(request, "R7143-7.12-02", "a Login reject")
    require(response.status_class, "R7143-6.3-21", "the redeclaration is detected", seen=f"{response.status:04x}")
    require(response.status_class == 2, "R7143-7.12-02", "a status of class 2 was due", seen=f"{response.status:04x}")
    await wire.expect_closed("R7143-7.12-01", "a failed negotiation ends the connection")


@case(
    "login.first-version-range-counts",
    clauses={"R7143-11.12.4.1-02": "login.judges-each-version-range"},
    role=TARGET,
    needs=OPEN,
)
async def first_version_range_counts(wire: Wire) -> None:
    """A later request with another Version-max is not refused for its version: the first request's range counts."""
    clause = "R7143-11.12.4.1-02"
    await begun(wire, clause)
    wire.send(wire.login_request(version_max=1))
    received = await wire.receive_or_none()
    if received is None:  # a format error may end the connection
        await wire.expect_closed(clause)
        return
    pdu = received.pdu
    allowed = isinstance(pdu, LoginResponse) and pdu.status in (LoginStatus.SUCCESS, LoginStatus.INITIATOR_ERROR)
    seen = f"{pdu.status:04x}" if isinstance(pdu, LoginResponse) else type(pdu).__name__
    require(allowed, clause, "the login goes on, or is an initiator error", seen=seen)


@case(
    "login.first-cid-counts",
    clauses={"R7143-11.12.7-02": "login.mistakes-the-cid"},
    role=TARGET,
    needs=OPEN,
)
async def first_cid_counts(peer: Peer) -> None:
    """The CID of the login's first request is the one that a logout names."""
    clause = "R7143-11.12.7-02"
    session = await peer.login(cid=5, clause=clause)
    response = await session.logout(clause, reason=1, cid=5)
    require(response.response == 0, clause, "the connection with CID 5 is closed", seen=f"response {response.response}")
