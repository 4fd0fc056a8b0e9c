"""Conformance cases for iSCSI targets and initiators, their runner and their reports."""
