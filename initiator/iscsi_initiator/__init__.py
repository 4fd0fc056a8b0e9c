"""An iSCSI initiator: a sans-IO engine, its client and its event log."""
