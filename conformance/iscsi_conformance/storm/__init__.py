"""Storms over the initiator: random work over several connections while the target's side of the wire loses, damages, holds,
repeats and forges; every byte is held against a model, and every event against an injected fault.
"""
