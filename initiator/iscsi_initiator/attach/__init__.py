"""Devices of the initiator for other programs: sessions below a multipath device, NBD exports above it."""
