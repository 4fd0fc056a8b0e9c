"""Accepts what should be refused."""

from __future__ import annotations

from iscsi_target.personalities.model import Personality, Quirk

_HISTORY = "https://github.com/TalAloni/iSCSIConsole/blob/master/ISCSI/RevisionHistory.txt"

PERSONALITY = Personality(
    name="lenient",
    says="Takes what other targets refuse.",
    quirks=(
        Quirk(
            says="Data-Out is taken with any LUN and any offset.",
            sources=(
                "https://github.com/spdk/spdk/commit/855633a597",
                "https://github.com/SCST-project/scst/commit/82e07ddb7",
            ),
            faults=("dataout.places-ignored",),
        ),
        Quirk(
            says="Data-Out is taken with any DataSN.",
            sources=(
                "https://github.com/openebs/openebs/issues/1319",
                "https://github.com/sahlberg/libiscsi/issues/269",
            ),
            faults=("dataout.numbers-ignored",),
        ),
        Quirk(
            says="Any amount of data is taken, solicited or not, agreed on or not.",
            sources=("https://github.com/sahlberg/libiscsi/issues/144",),
            faults=("dataout.amount-ignored", "unsolicited.accepted", "unsolicited.amount-ignored"),
        ),
        Quirk(
            says="Commands are carried out as they come, ahead of missing ones.",
            sources=("https://github.com/SCST-project/scst/commit/e81948631",),
            faults=("numbering.delivers-across-gap",),
        ),
        Quirk(
            says="A login with a TSIH that no session has makes a new session.",
            sources=("https://github.com/sebastiangraf/jSCSI/issues/24",),
            faults=("identity.joins-what-is-not-there",),
        ),
        Quirk(
            says="PDUs that have no place before or within a login are passed over.",
            sources=("https://github.com/spdk/spdk/issues/2291", _HISTORY),
            faults=("login.forgives-other-pdus", "login.waits-for-a-login"),
        ),
        Quirk(
            says="A login that leaves out the security stage gets in although CHAP is required.",
            sources=("https://github.com/open-iscsi/tcmu-runner/issues/354", _HISTORY),
            faults=("chap.optional-after-all",),
        ),
        Quirk(
            says="Keys are known by their names in any case, and answered so.",
            sources=("https://github.com/spdk/spdk/blob/master/test/iscsi_tgt/calsoft/calsoft.py",),
            policy={"fold_key_names": True},
        ),
        Quirk(
            says="PDUs with a wrong data digest are taken, and their data stored.",
            sources=("https://github.com/SCST-project/scst/commit/0007914f1",),
            faults=("digest.data-error-ignored",),
        ),
        Quirk(
            says="An unknown CID is good enough for a logout.",
            sources=("https://github.com/spdk/spdk/commit/d2b0b15406",),
            faults=("logout.any-cid-will-do",),
        ),
    ),
)
