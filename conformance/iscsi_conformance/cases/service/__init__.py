"""Cases that judge the initiator's service: its status codes and its events (guide, Appendices B and D)."""
