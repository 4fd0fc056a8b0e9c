"""Cases about iSNS servers and clients (RFC 4171)."""

from __future__ import annotations
