"""Booting by iSCSI: the firmware's table (iBFT), root paths (RFC 4173), and DHCP options 12 and 17."""

from __future__ import annotations

from iscsi_initiator.boot.judge import Finding, judge
from iscsi_initiator.boot.layout import Table
from iscsi_initiator.boot.login import EVENT, BootLogin, logins, start
from iscsi_initiator.boot.root_path import RootPath, RootPathError, build_root_path, parse_root_path, split_root_path
from iscsi_initiator.boot.table import BootTableError, assemble, decode, encode

__all__ = [
    "EVENT",
    "BootLogin",
    "BootTableError",
    "Finding",
    "RootPath",
    "RootPathError",
    "Table",
    "assemble",
    "build_root_path",
    "decode",
    "encode",
    "judge",
    "logins",
    "parse_root_path",
    "split_root_path",
    "start",
]
