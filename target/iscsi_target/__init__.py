"""An iSCSI target: a sans-IO engine, its portal and its logical units."""
