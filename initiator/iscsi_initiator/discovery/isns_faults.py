"""Named faults of iSNS clients. Ids are permanent."""

from __future__ import annotations

from functools import cache

from iscsi_protocol.fault import NamedFault, Side
from iscsi_protocol.fault.named import behaves
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.codes import Flag
from iscsi_protocol.isns.tlv import number, text


def _is(fault_id: str, says: str, **switches: object) -> NamedFault:
    return behaves(Side.CLIENT, f"isns-client.{fault_id}", says, **switches)


def _lacks(fault_id: str, says: str, *tags: Tag) -> NamedFault:
    return _is(fault_id, says, leaves_out=frozenset(int(tag) for tag in tags))


FAULTS = (
    _is("version", "Sends another version in every PDU.", header=(("version", 3),)),
    _is("response-bit", "Sends requests as responses.", header=(("function", 0x8000),)),
    _is("reserved-flag", "Sets a reserved flag.", header=(("flags", 1),)),
    _is("no-first-flag", "Does not mark the first PDU.", header=(("flags", int(Flag.FIRST)),)),
    _is("authentication-flag", "Says that there is an authentication block.", header=(("flags", 0x2000),)),
    _is("first-sequence", "Begins with sequence ID 1.", header=(("sequence", 1),)),
    _is("one-transaction", "Gives all requests one transaction ID.", one_transaction=True),
    _is("new-transaction", "Repeats a request with another transaction ID.", new_transaction=True),
    _is("no-delimiter", "Leaves the delimiter out.", no_delimiter=True),
    _is("no-key", "Registers without message key.", no_key=True),
    _is("values-first", "Lists attributes before their key.", values_first=True),
    _is("swapped-keys", "Lists the port before the address.", swap_portal_keys=True),
    _is("nodes-first", "Lists the entity last.", nodes_first=True),
    _is("raw-names", "Sends names as they were typed.", raw_names=True),
    _is("plain-ipv4", "Does not map IPv4 addresses.", plain_ipv4=True),
    _is("unpadded", "Does not pad text.", unpadded=True),
    _lacks("no-entity", "Does not list the entity.", Tag.EID, Tag.ENTITY_PROTOCOL, Tag.REGISTRATION_PERIOD),
    _lacks("no-protocol", "Does not tell the entity's protocol.", Tag.ENTITY_PROTOCOL),
    _lacks("no-type", "Does not tell the node's type.", Tag.NODE_TYPE),
    _lacks("no-node", "Lists no node.", Tag.ISCSI_NAME, Tag.NODE_TYPE, Tag.ALIAS),
    _lacks("no-esi-port", "Asks for ESI without a port.", Tag.ESI_PORT),
    _lacks("no-group-names", "Gives a portal group tag to nobody.", Tag.PG_NAME),
    _is("second-entity", "Lists two entities.", adds=(text(Tag.EID, "second"),)),
    _is("repeated-attribute", "Lists the node's type again.", adds=(number(Tag.NODE_TYPE, 2),)),
    _is("control-bit", "Calls itself a control node.", adds=(number(Tag.NODE_TYPE, 6),)),
    _is("keyed-removal", "Deregisters with a message key.", before_delimiter=(number(Tag.NODE_TYPE, 2),)),
    _is("silent", "Answers neither SCN nor ESI.", silent=True),
    _is("bare-answers", "Answers SCN and ESI with a status alone.", bare_answers=True),
    _is("other-answers", "Answers SCN and ESI with another transaction ID.", other_answers=True),
    _is("stays-connected", "Does not notice that its registration is gone.", stay_connected=True),
    _is("never-refreshes", "Lets its registration run out.", never_refresh=True),
)


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of iSNS clients by id."""
    return {fault.id: fault for fault in sorted(FAULTS, key=lambda each: each.id)}
