"""Negotiation of text keys (RFC 7143 chapters 6, 12 and 13)."""
