"""Named faults of iSNS servers. Ids are permanent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from iscsi_protocol.fault import NamedFault, Side
from iscsi_protocol.fault.discovery import find
from iscsi_protocol.fault.named import behaves
from iscsi_protocol.isns.codes import Flag, Function, Status
from iscsi_target.isns.policy import IsnsPolicy

REG, QRY, NEXT, DEREG = Function.DEV_ATTR_REG, Function.DEV_ATTR_QRY, Function.DEV_GET_NEXT, Function.DEV_DEREG
DD, DDS = Function.DD_REG, Function.DDS_REG


def _is(fault_id: str, says: str, **switches: object) -> NamedFault:
    return behaves(Side.SERVER, f"isns-server.{fault_id}", says, **switches)


def _says(fault_id: str, says: str, status: int, *dues: tuple[int, int]) -> NamedFault:
    """Another status than is due, for each (function, due)."""
    return _is(fault_id, says, answers=dict.fromkeys(((int(function), int(due)) for function, due in dues), status))


FAULTS = (
    _is("version", "Sends another version in every PDU.", xor_header={"version": 3}),
    _is("request-bit", "Sends responses as requests.", xor_header={"function": 0x8000}),
    _is("length", "Tells a payload that is longer than what it sends.", xor_header={"length": 0x1000}),
    _is("reserved-flag", "Sets a reserved flag.", xor_header={"flags": 0x0001}),
    _is("no-first-flag", "Does not mark the first PDU.", xor_header={"flags": int(Flag.FIRST)}),
    _is("authentication-flag", "Says that there is an authentication block.", xor_header={"flags": 0x2000}),
    _is("other-transaction", "Answers with another transaction ID.", xor_header={"transaction": 0x4000}),
    _is("first-sequence", "Begins with sequence ID 1.", xor_header={"sequence": 1}),
    _is("one-sequence", "Gives all PDUs of a message one sequence ID.", same_sequence=True),
    _is("deaf-to-registrations", "Does not answer registrations.", silent_functions=frozenset({REG})),
    _is("deaf-to-queries", "Does not answer queries.", silent_functions=frozenset({QRY})),
    _says("any-version", "Takes requests of another version.", 0, (QRY, Status.VERSION_NOT_SUPPORTED)),
    _says(
        "malformed-requests",
        "Takes requests that break the form.",
        0,
        *((function, Status.MESSAGE_FORMAT_ERROR) for function in (REG, QRY, DEREG)),
    ),
    _says("any-function", "Takes functions that there are not.", 0, (0x0100, Status.FUNCTION_NOT_SUPPORTED)),
    _says("any-attribute", "Takes attributes that it does not know.", 0, (REG, Status.ATTRIBUTE_NOT_IMPLEMENTED)),
    _says("any-registration", "Takes invalid registrations.", 0, (REG, Status.INVALID_REGISTRATION)),
    _says(
        "any-query", "Takes queries that make no sense.", 0, (QRY, Status.INVALID_QUERY), (NEXT, Status.INVALID_QUERY)
    ),
    _says("no-source-needed", "Takes requests without source.", 0, (QRY, Status.SOURCE_ABSENT)),
    _says("any-source", "Takes requests of unknown sources.", 0, (QRY, Status.SOURCE_UNKNOWN)),
    _says(
        "any-owner",
        "Lets nodes change what is not theirs.",
        0,
        *((function, Status.SOURCE_UNAUTHORIZED) for function in (REG, DEREG)),
    ),
    _says(
        "any-manager",
        "Lets everybody change discovery domains.",
        0,
        *((function, Status.SOURCE_UNAUTHORIZED) for function in (DD, DDS)),
    ),
    _says(
        "any-listener", "Takes every registration for SCNs.", 0, (Function.SCN_REG, Status.SCN_REGISTRATION_REJECTED)
    ),
    _says("any-event", "Takes every event.", 0, (Function.SCN_EVENT, Status.MESSAGE_FORMAT_ERROR)),
    _says(
        "any-domain",
        "Takes invalid registrations of domains and sets.",
        0,
        *((function, Status.INVALID_REGISTRATION) for function in (DD, DDS)),
    ),
    _says("endless-walk", "Does not say that there is no further object.", 0, (NEXT, Status.NO_SUCH_ENTRY)),
    _says("failing-registrations", "Refuses good registrations.", 3, (REG, 0)),
    _says("failing-queries", "Refuses good queries.", 9, (QRY, 0)),
    _says("failing-removals", "Refuses to remove.", 9, *((function, 0) for function in (DEREG, 0x000A, 0x000C))),
    _is("keyless-registrations", "Leaves the key out when it answers a registration.", without_key=frozenset({REG})),
    _is("keyless-queries", "Leaves the key out when it answers a query.", without_key=frozenset({QRY})),
    _is("keyless-walk", "Leaves the key out when it answers DevGetNext.", without_key=frozenset({NEXT})),
    _is("keyless-domains", "Leaves the key out when it answers DDReg and DDSReg.", without_key=frozenset({DD, DDS})),
    _is("no-node-type", "Does not tell node types.", leaves_out=frozenset({(REG, 33), (QRY, 33)})),
    _is("no-tags-told", "Does not return portal group tags.", leaves_out=frozenset({(REG, 51)})),
    _is("secret-period", "Does not tell the registration period.", leaves_out=frozenset({(REG, 6)})),
    _is("secret-interval", "Does not tell the ESI interval.", leaves_out=frozenset({(REG, 19)})),
    _is("secret-objects", "Does not say what it could not remove.", leaves_out=frozenset({(DEREG, 1)})),
    _is(
        "secret-numbers",
        "Does not tell numbers of domains and sets.",
        leaves_out=frozenset({(DD, 2065), (DDS, 2049), (DDS, 2065)}),
    ),
    _is(
        "secret-names",
        "Does not tell names of domains and sets.",
        leaves_out=frozenset({(DD, 2066), (DDS, 2050), (DDS, 2066)}),
    ),
    _is("secret-portals", "Does not tell portals.", leaves_out=frozenset({(QRY, 16)})),
    _is("no-domains", "Shows everything to everybody.", ignore_domains=True),
    _is("disabled-sets-count", "Lets domains of disabled sets count.", ignore_set_status=True),
    _is("portal-members-ignored", "Shows portals that the domain leaves out.", ignore_portal_members=True),
    _is("portals-need-membership", "Hides portals of a domain that has none as members.", portals_by_membership=True),
    _is("forgets-membership", "Takes nodes that go out of their domains.", forget_membership=True),
    _is("reuses-indexes", "Gives a free index away at once.", reuse_indexes=True),
    _is("one-index", "Gives all objects one index.", one_index=True),
    _is("null-gives-access", "Takes a NULL tag for a tag.", null_tag_gives_access=True),
    _is("other-default-tag", "Gives pairs without tag another one than 1.", default_tag=7),
    _is("first-tag-stays", "Ignores tags of updates.", keep_explicit_tags=True),
    _is("groups-go-early", "Removes portal groups with their node or portal.", remove_groups_early=True),
    _is("objects-move", "Lets nodes move to another entity.", share_objects=True),
    _is("half-done", "Leaves behind what a refused request did.", keep_failed_changes=True),
    _is("replace-updates", "Ignores the replace flag.", replace_is_update=True),
    _is("update-replaces", "Replaces where it should update.", update_is_replace=True),
    _is("replace-everything", "Removes other entities when it replaces one.", replace_everything=True),
    _is("raw-names", "Stores names as they come.", raw_names=True),
    _is("foreign-eids", "Makes identifiers without its prefix.", foreign_eids=True),
    _is("empty-entities", "Keeps entities without nodes and portals.", keep_entities=True),
    _is("orphans", "Keeps nodes and portals of a removed entity.", keep_dependents=True),
    _is("no-period", "Gives no registration period.", no_period=True),
    _is("no-expiry", "Keeps registrations for ever.", ignore_period=True),
    _is("no-refresh", "Lets registrations run out in spite of messages.", expire_regardless=True),
    _is("esi-no-refresh", "Lets registrations run out in spite of ESI responses.", expire_despite_esi=True),
    _is("stale-timestamps", "Does not move the timestamp.", stale_timestamps=True),
    _is("skips-objects", "Skips objects in a walk.", reverse_order=True),
    _is("no-filter", "Ignores what limits a walk.", ignore_filter=True),
    _is("sorted-results", "Sorts results by tag.", sort_results=True),
    _is("registered-members-only", "Hides members that are not registered.", drop_unregistered_members=True),
    _is("no-reserved-index", "Reserves no index for members.", no_reserved_index=True),
    _is("forgets-reserved-index", "Gives a member another index when it registers.", forget_reserved_index=True),
    _is("same-domain-names", "Gives two domains one name.", same_domain_names=True),
    _is("eternal-domains", "Keeps domains that are removed.", keep_domains=True),
    _is("replaces-members", "Replaces members where it should add.", add_replaces_members=True),
    _is("enabled-sets", "Enables new sets.", enable_new_sets=True),
    _is("silent-changes", "Sends no SCN.", silent_changes=True),
    _is("notifies-everybody", "Sends SCNs beyond domains.", notify_everybody=True),
    _is("adds-scn-bits", "Adds to the former bitmap.", add_scn_bits=True),
    _is("endless-notification", "Goes on with SCNs after SCNDereg.", notify_after_deregistration=True),
    _is("scn-with-domains", "Tells domains in regular SCNs.", scn_with_domains=True),
    _is("scn-without-domains", "Tells no domains in management SCNs.", scn_without_domains=True),
    _is("scn-bitmap-last", "Puts the bitmap of an SCN behind the node.", scn_bitmap_last=True),
    _is("scn-about-itself", "Sends an SCN to the portal that it is about.", scn_about_itself=True),
    _is("silent-inquiries", "Sends no ESI.", silent_inquiries=True),
    _is("one-inquiry", "Does not repeat an ESI.", one_inquiry=True),
    _is("new-transaction", "Repeats an ESI with another transaction ID.", new_transaction=True),
    _is("late-inquiries", "Repeats ESIs too late.", late_inquiries=True),
    _is("undead-portals", "Keeps portals that do not answer.", keep_dead_portals=True),
    _is("undead-entities", "Keeps entities whose portals do not answer.", keep_dead_entities=True),
    _is("scrambled-inquiries", "Puts the attributes of an ESI in another order.", scrambled_inquiries=True),
)


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of iSNS servers by id."""
    return {fault.id: fault for fault in sorted(FAULTS, key=lambda each: each.id)}


def policy_of(fault_ids: Iterable[str]) -> IsnsPolicy:
    """The policy of a server that has all of these faults. Raises UnknownFault."""
    switches: dict[str, Any] = {}
    for fault_id in fault_ids:
        for name, value in find(all_faults(), fault_id).policy.items():
            joins = isinstance(value, dict | frozenset) and name in switches
            switches[name] = switches[name] | value if joins else value
    return IsnsPolicy(**switches)
