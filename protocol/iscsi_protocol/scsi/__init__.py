"""SCSI as a block device and its users speak it: SPC-4 and SBC-3 over RFC 7143."""
