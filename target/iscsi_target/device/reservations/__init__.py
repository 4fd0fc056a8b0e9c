"""Reservations of a logical unit: RESERVE and RELEASE (SPC-2) and persistent reservations (SPC-4 5.12)."""
