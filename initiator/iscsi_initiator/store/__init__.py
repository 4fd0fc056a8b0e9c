"""What outlives the initiator service: versioned, replaced atomically, with secrets sealed."""
