"""How the initiator learns of targets."""

from __future__ import annotations
