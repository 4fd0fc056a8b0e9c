"""The iSCSI wire of RFC 7143, described once and without input or output."""
