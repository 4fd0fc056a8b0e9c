"""All histories of the rule book, by rule, and where one violation cannot be without another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_conformance.corpus import (
    chap,
    connections,
    framing,
    keys,
    logins,
    notices,
    numbers,
    reads,
    recovery,
    writes,
)
from iscsi_conformance.corpus.table import Row

HISTORIES: Mapping[str, Row] = MappingProxyType(
    {
        rule: row
        for module in (framing, logins, chap, keys, connections, numbers, reads, writes, notices, recovery)
        for rule, row in module.TABLE.items()
    }
)
"""By rule. The first history of either kind stands in the corpus."""

_VERSION = {"login.version": "only version 0 is known, so that one that changed is a wrong one, too"}
_DAMAGED = {"digest.data": "the damage itself"}

COMPANIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "chap.reflection-answered": {"chap.challenge-reflected": "what is answered is the reflected challenge"},
        "chap.wrong-response-accepted": {"chap.response-wrong": "what is accepted is the wrong response"},
        "chap.failure-status": {"chap.response-wrong": "what is refused is the wrong response"},
        "chap.wrong-target-accepted": {"chap.target-response-wrong": "what is accepted is the wrong response"},
        "chap.own-response-accepted": {"chap.secret-shared": "what is accepted is the response of the shared secret"},
        "ahs.bidirectional-length": {
            "command.bidirectional-without-length": "a segment of another length gives no read length"
        },
        "login.version-max-changed": _VERSION,
        "login.version-min-changed": _VERSION,
        "login.response-version-max-changed": _VERSION,
        "login.version-active-changed": _VERSION,
        "cmdsn.window-below-zero": {
            "cmdsn.window-shrinks": "the login opened the window, and ExpCmdSN cannot pass it unless the initiator does"
        },
        "snack.r-data-start": {"datain.data-sn": "data that does not begin anew goes on, and not where it was"},
        "digest.reject-reason": _DAMAGED,
        "digest.reject-missing": _DAMAGED,
        "digest.damaged-request-served": _DAMAGED,
        "digest.damaged-header-served": {"digest.header": "the damage itself"},
        "digest.damaged-status-acknowledged": _DAMAGED,
        "reassign.of-allegiant-task": {"reassign.before-logout": "the initiator asks for what the target must refuse"},
        "reassign.before-response": {
            "datain.other-connection": "until the answer the task belongs to the connection that broke"
        },
    }
)
"""Findings that come with that of a rule in its first breaking history: the other rule, and why it speaks."""
