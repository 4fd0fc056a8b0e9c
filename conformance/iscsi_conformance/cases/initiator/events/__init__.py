"""Cases about the events that the initiator logs, a module a group of events."""
