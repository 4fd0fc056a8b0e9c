"""Named misbehaviour of the iSNS server; every default conforms.

The first block changes what goes out, whatever it is; each of the others is one test at the place that it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class IsnsPolicy:
    """The server's switches. Each comment says what is broken, and which requirement."""

    answers: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """(function, status that is due) to the status that is sent (R4171-5.4-03 and its neighbours)."""
    leaves_out: frozenset[tuple[int, int]] = frozenset()
    """(function, tag): attributes that are missing behind the delimiter of a response (R4171-5.7.5.1-03)."""
    without_key: frozenset[int] = frozenset()
    """Functions whose response does not repeat the message key (R4171-5.7.5.1-01)."""
    xor_header: Mapping[str, int] = field(default_factory=dict)
    """Header fields of every PDU sent, by name, with the bits to be turned over (R4171-5.1.2-01, R4171-5.1.5-02)."""
    same_sequence: bool = False
    """Every PDU of a message has sequence ID 0 (R4171-5.1.6-02, R4171-5.2-04)."""
    silent_functions: frozenset[int] = frozenset()
    """Requests that are never answered (R4171-4.1.3-01)."""

    ignore_domains: bool = False
    """Everybody sees everything (R4171-3.6-01, R4171-2.2.2-05)."""
    ignore_set_status: bool = False
    """Domains of disabled sets count (R4171-2.2.2-05)."""
    ignore_portal_members: bool = False
    """Portals that are members of a domain limit nothing (R4171-2.2.2-02)."""
    portals_by_membership: bool = False
    """Portals are reported only as members of a domain (R4171-2.2.2-01)."""
    forget_membership: bool = False
    """A node that goes loses its domains (R4171-2.2.2-04)."""
    reuse_indexes: bool = False
    """A free index is given away at once (R4171-2.10-02, R4171-6.4.5-03)."""
    one_index: bool = False
    """Every object has index 1 (R4171-6.4.5-01)."""
    null_tag_gives_access: bool = False
    """A portal group without tag relates node and portal (R4171-3.4-02)."""
    default_tag: int = 1
    """What pairs without explicit tag get (R4171-6.5.4-01)."""
    keep_explicit_tags: bool = False
    """Tags are taken from the first registration only (R4171-5.6.5.1-26)."""
    remove_groups_early: bool = False
    """A portal group goes with its node or its portal (R4171-3.4-04)."""
    share_objects: bool = False
    """A node may move to another entity by being registered there (R4171-3.1-01, R4171-5.6.5.1-13)."""
    skip_source_check: bool = False
    """Everybody may change everything (R4171-5.6.1-02)."""
    keep_failed_changes: bool = False
    """A request that is refused leaves behind what it did (R4171-5.4-02)."""
    replace_is_update: bool = False
    """The replace flag is ignored (R4171-5.6.5.1-09)."""
    update_is_replace: bool = False
    """Every registration replaces (R4171-5.6.5.1-31)."""
    replace_everything: bool = False
    """Replacing one entity removes the others (R4171-5.6.5.1-12)."""
    raw_names: bool = False
    """Names are stored as they came (R4171-6.4.1-03)."""
    foreign_eids: bool = False
    """Identifiers that the server makes lack their prefix (R4171-6.2.1-04)."""
    keep_entities: bool = False
    """An entity outlives its last node and portal (R4171-5.6.5.4-05)."""
    keep_dependents: bool = False
    """Nodes and portals outlive their entity (R4171-5.6.5.4-01)."""
    no_period: bool = False
    """Entities get no registration period (R4171-6.2.6-02)."""
    ignore_period: bool = False
    """Registrations never expire (R4171-6.2.6-03)."""
    expire_regardless: bool = False
    """Messages do not refresh a registration (R4171-6.2.6-04)."""
    expire_despite_esi: bool = False
    """ESI responses do not refresh a registration (R4171-6.2.6-05)."""
    stale_timestamps: bool = False
    """The timestamp stays that of the first registration (R4171-6.2.4-02)."""
    reverse_order: bool = False
    """DevGetNext skips every other object (R4171-3.8-01, R4171-5.6.5.3-02)."""
    ignore_filter: bool = False
    """DevGetNext returns objects that do not match (R4171-5.6.5.3-06)."""
    sort_results: bool = False
    """Query results come by tag, not as asked for (R4171-5.6.5.2-04)."""
    drop_unregistered_members: bool = False
    """Members of a domain are told only if they are registered (R4171-5.6.5.2-14)."""
    no_reserved_index: bool = False
    """An unregistered member has no index (R4171-5.6.5.9-14)."""
    same_domain_names: bool = False
    """Two domains or sets may share a name (R4171-5.6.5.9-10)."""
    keep_domains: bool = False
    """Domains cannot be removed (R4171-5.6.5.10-01)."""
    add_replaces_members: bool = False
    """Adding members of a domain removes the others (R4171-5.6.5.9-07)."""
    enable_new_sets: bool = False
    """New sets are enabled (R4171-6.11.1.3-01)."""

    silent_changes: bool = False
    """No SCN is ever sent (R4171-5.6.5.4-10)."""
    notify_everybody: bool = False
    """SCNs do not care for domains (R4171-2.2.3-01)."""
    add_scn_bits: bool = False
    """SCNReg adds to the former bitmap (R4171-5.6.5.5-04)."""
    notify_after_deregistration: bool = False
    """SCNDereg changes nothing (R4171-5.6.5.6-01)."""
    scn_with_domains: bool = False
    """Regular SCNs carry the domains (R4171-2.2.3-02)."""
    scn_without_domains: bool = False
    """Management SCNs carry no domains (R4171-5.6.5.8-04)."""
    scn_bitmap_last: bool = False
    """The bitmap of an SCN follows the node (R4171-5.6.5.8-03)."""
    scn_about_itself: bool = False
    """An SCN goes to a portal that it is about (R4171-5.6.5.8-02)."""

    silent_inquiries: bool = False
    """No ESI is ever sent (R4171-2.9.2-03)."""
    one_inquiry: bool = False
    """An ESI is never repeated (R4171-6.3.4-02)."""
    new_transaction: bool = False
    """A repeated ESI has a new transaction ID (R4171-5.1.5-03)."""
    late_inquiries: bool = False
    """ESIs are repeated in the full interval each (R4171-6.3.4-03)."""
    keep_dead_portals: bool = False
    """A portal that does not answer stays (R4171-6.3.4-04)."""
    keep_dead_entities: bool = False
    """An entity whose portals do not answer stays (R4171-6.3.4-05)."""
    scrambled_inquiries: bool = False
    """The attributes of an ESI are in another order (R4171-5.6.5.13-01)."""
