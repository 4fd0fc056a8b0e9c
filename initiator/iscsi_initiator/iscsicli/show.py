"""Answers as text: a function for each kind, which makes lines."""

from __future__ import annotations

from iscsi_initiator.iscsicli.lines import (
    any_text,
    hex_lines,
    item,
    lun_text,
    mappings_text,
    options_text,
    portal_text,
    row,
    total,
    via,
    yes,
)
from iscsi_initiator.service import api


def nothing(answer: api.Answer) -> list[str]:
    """Of an answer that says only that it was done."""
    del answer
    return []


def targets(answer: api.TargetNames) -> list[str]:
    """One name a line."""
    return [total(len(answer.targets), "target", "targets"), *(item(each) for each in answer.targets)]


def target_information(answer: api.TargetInformation) -> list[str]:
    """The mechanisms, or the target as one of them found it."""
    if answer.target is None:
        found = answer.discovery_mechanisms
        return [total(len(found), "discovery mechanism", "discovery mechanisms"), *(item(each) for each in found)]
    target = answer.target
    lines = [
        row("Discovery Mechanism", target.discovery_mechanism, 0),
        row("Target Name", target.target_name, 0),
        row("Target Alias", target.target_alias or "", 0),
        row("Initiator Name", any_text(target.initiator), 0),
        row("Target Flags", f"{target.target_flags:#x}", 0),
        row("Persistent", yes(target.persistent), 0),
        total(len(target.portal_groups), "portal group", "portal groups"),
    ]
    for group in target.portal_groups:
        lines.append(row("Portal Group Tag", any_text(group.tag)))
        lines += [row("Target Portal", portal_text(each), 8) for each in group.portals]
    return [
        *lines,
        "Login options:",
        *options_text(target.options, target.password_stored),
        *mappings_text(target.mappings),
    ]


def target_portals(answer: api.TargetPortals) -> list[str]:
    """One block for each portal."""
    lines = [total(len(answer.portals), "target portal", "target portals")]
    for each in answer.portals:
        lines += [
            "",
            row("Target Portal", portal_text(each.portal)),
            *via(each.initiator, each.initiator_port),
            row("Security Flags", f"{each.security_flags:#x}"),
            *options_text(each.options, each.password_stored),
        ]
    return lines


def isns_servers(answer: api.ISNSServers) -> list[str]:
    """One address a line."""
    return [total(len(answer.servers), "iSNS server", "iSNS servers"), *(item(each) for each in answer.servers)]


def logged_in(answer: api.LoggedIn) -> list[str]:
    """The ids that other commands take."""
    return [row("Session Id", answer.session_id, 0), row("Connection Id", answer.connection_id, 0)]


def connection_added(answer: api.ConnectionAdded) -> list[str]:
    """The id that RemoveConnection takes."""
    return [row("Connection Id", answer.connection_id, 0)]


def persistent_logins(answer: api.PersistentLogins) -> list[str]:
    """One block for each login."""
    lines = [total(len(answer.logins), "persistent login", "persistent logins")]
    for each in answer.logins:
        lines += [
            "",
            row("Name", each.name),
            row("Target Name", each.target_name),
            row("Report To PNP", yes(each.report_to_pnp)),
            row("Target Portal", portal_text(each.portal)),
            *via(each.initiator, each.initiator_port),
            row("Security Flags", f"{each.security_flags:#x}"),
            *options_text(each.options, each.password_stored),
            *mappings_text(each.mappings),
        ]
    return lines


def inquiry(answer: api.ScsiData) -> list[str]:
    """The bytes."""
    return [
        row("SCSI Status", f"{answer.scsi_status:#x}", 0),
        row("Bytes", len(answer.data), 0),
        *hex_lines(answer.data),
    ]


def capacity(answer: api.Capacity) -> list[str]:
    """The last block, the bytes of one, and what it comes to."""
    return [
        row("Last Block Address", f"{answer.last_block:#x}", 0),
        row("Block Length", f"{answer.block_length} bytes", 0),
        row("Capacity", f"{(answer.last_block + 1) * answer.block_length} bytes", 0),
    ]


def luns(answer: api.Luns) -> list[str]:
    """One LUN a line."""
    return [total(len(answer.luns), "LUN", "LUNs"), *(item(lun_text(each)) for each in answer.luns)]


def target_mappings(answer: api.TargetMappings) -> list[str]:
    """One block for each session."""
    lines = [total(len(answer.sessions), "session with mappings", "sessions with mappings")]
    for each in answer.sessions:
        lines += [
            "",
            row("Session Id", each.session_id),
            row("Target Name", each.target_name),
            row("Initiator Name", each.initiator),
            row("SCSI Device", each.scsi_device),
            *mappings_text(each.mappings),
        ]
    return lines


def sessions(answer: api.Sessions) -> list[str]:
    """One block for each session, with its connections and devices."""
    lines = [total(len(answer.sessions), "session", "sessions")]
    for each in answer.sessions:
        lines += [
            "",
            row("Session Id", each.session_id),
            row("Initiator Name", each.initiator),
            row("Initiator Node Name", each.initiator_node_name),
            row("Target Name", each.target_name),
            row("ISID", each.isid.hex(" ")),
            row("TSIH", f"{each.tsih:#06x}"),
            row("Report To PNP", yes(each.reported_to_pnp)),
            row("Connections", len(each.connections) or "0 (not connected, tried again)"),
            *(line for connection in each.connections for line in _connection(connection)),
            row("Devices", len(each.devices)),
            *(line for device in each.devices for line in _device(device)),
        ]
    return lines


def _connection(connection: api.ConnectionEntry) -> list[str]:
    return [
        row("Connection Id", connection.connection_id, 8),
        row("Initiator Portal", portal_text(connection.initiator_portal, "not known"), 12),
        row("Target Portal", portal_text(connection.target_portal), 12),
        row("CID", f"{connection.cid:#06x}", 12),
    ]


def _device(device: api.DeviceEntry) -> list[str]:
    where = f"Bus {device.os_bus}, Target {device.os_target}, LUN {device.os_lun}"
    lines = [
        row("Device Type", device.device_type, 8),
        row("Device Number", any_text(device.number, "none"), 12),
        row("Friendly Name", device.friendly_name, 12),
        row("Target LUN", lun_text(device.lun), 12),
        row("Location", where, 12),
        row("Interface Name", device.interface_name, 12),
        row("Legacy Name", device.legacy_name, 12),
    ]
    return [*lines, *(row("Volume Path", path, 12) for path in device.volume_paths)]


def preshared_key(answer: api.PresharedKeyInfo) -> list[str]:
    """Everything but the key."""
    return [
        row("Id Type", int(answer.id_type), 0),
        row("Id", answer.id, 0),
        row("Security Flags", f"{answer.security_flags:#x}", 0),
        row("Key", "stored", 0),
    ]


def persistent_devices(answer: api.PersistentDevices) -> list[str]:
    """One line for each: where a volume is mounted now, else its interface name."""
    lines = [total(len(answer.devices), "volume or device", "volumes and devices")]
    for each in answer.devices:
        now = each.mounted_at or each.interface_name or each.path
        lines.append(row(each.kind.capitalize(), now))
        if now != each.path:
            lines.append(row("Bound As", each.path, 8))
    return lines


def initiators(answer: api.Initiators) -> list[str]:
    """One name a line."""
    found = answer.initiators
    return [total(len(found), "initiator instance", "initiator instances"), *(item(each) for each in found)]


def node_name(answer: api.NodeNameSet) -> list[str]:
    """The name that is in use now."""
    lasting = "fixed" if answer.fixed else "follows the names of host and domain"
    return [row("Node Name", f"{answer.node_name} ({lasting})", 0)]


def versions(answer: api.Versions) -> list[str]:
    """One part a line."""
    return [total(len(answer.files), "part", "parts"), *(row(each.name, each.version) for each in answer.files)]
