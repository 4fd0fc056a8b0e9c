"""Where targets are found, and what is known of each: SendTargets, static targets, adapters, and the merging of options
(guide, "Discovery mechanisms" and "How targets are organized").
"""
