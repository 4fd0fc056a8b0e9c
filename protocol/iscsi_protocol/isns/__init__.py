"""iSNS, the Internet Storage Name Service (RFC 4171), as far as iSCSI uses it: PDUs, attributes, messages.

Bytes in, objects out and back; there is no server and no client here.
"""

from __future__ import annotations
