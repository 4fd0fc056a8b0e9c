"""What a peer may or may not offer, so that a case can say what it needs. The probe finds out; a profile can say more."""

from __future__ import annotations

from enum import StrEnum


class Feature(StrEnum):
    """A feature by the name that profiles and reports use."""

    NORMAL_SESSION = "normal-session"
    DISCOVERY = "discovery"
    SCSI_DISK = "scsi-disk"
    WRITABLE_LUN = "writable-lun"
    HEADER_DIGEST = "header-digest"
    DATA_DIGEST = "data-digest"
    IMMEDIATE_DATA = "immediate-data"
    UNSOLICITED_DATA = "unsolicited-data"
    SMALL_BURST = "small-burst"
    TEXT_NEGOTIATION = "text-negotiation"
    CHAP = "chap"
    MUTUAL_CHAP = "mutual-chap"
    OPEN_ACCESS = "open-access"
    DENIED_TARGET = "denied-target"
    REDIRECTED_TARGET = "redirected-target"
    REMOVED_TARGET = "removed-target"
    SECOND_PORTAL = "second-portal"
    GROUP_PORTAL = "group-portal"
    LOGIN_TIME = "login-time"
    MULTIPLE_CONNECTIONS = "multiple-connections"
    ERROR_RECOVERY_LEVEL_1 = "error-recovery-level-1"
    ERROR_RECOVERY_LEVEL_2 = "error-recovery-level-2"
    RESPONSE_FENCE = "response-fence"
    FAST_ABORT = "fast-abort"
    PROTOCOL_LEVEL_2 = "protocol-level-2"
    SPC2_RESERVATIONS = "spc2-reservations"
    PERSISTENT_RESERVATIONS = "persistent-reservations"
    TARGET_WARM_RESET = "target-warm-reset"
    TARGET_COLD_RESET = "target-cold-reset"
    PROVOKED_EVENTS = "provoked-events"
