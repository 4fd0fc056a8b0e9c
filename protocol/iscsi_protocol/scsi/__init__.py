"""SCSI as the user of an iSCSI disk meets it: SPC-4 and SBC-3 commands, sense data, parameter data, LUN structures.

The command rows themselves (READ_10, INQUIRY, ...) are in `opcodes`; layouts are declared once and both built and parsed.
"""
