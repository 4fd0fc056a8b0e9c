"""Certifying somebody else's initiator: the suite is the target, and the verdict comes from the wire alone.

Each case listens under a target name of its own, with its own faults; the product is started for it, or its operator is told
which name to log in to. The rule book and the case judge what came over the wire by clauses of the RFCs.
"""
