"""Management data: the guide's management classes as instances with properties and methods (guide, "WMI" and
"Perfmon/Sysmon"), a subscription to the failures that some of them tell of, and the counters for Prometheus.

`table.CLASSES` has a row for each class. Where the guide says no more than a class's name, names and types of properties
are those of the public MSiSCSI management classes of Windows.
"""
