"""What an event of a Windows event log, or of our own, says: its record, the PDU in it, what it means, and how to see it again."""
