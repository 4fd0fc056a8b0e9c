"""What an event of a Windows event log, or of our own, says: its record, its PDU, its meaning, and the cases about it."""
