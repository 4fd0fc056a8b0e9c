"""Cases that judge an initiator."""
