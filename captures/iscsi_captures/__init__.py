"""Captures of iSCSI connections: read, dissected, followed and judged."""
