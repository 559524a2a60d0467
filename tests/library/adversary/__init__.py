"""What attacks the outbox: a simulated node, a network without manners, a fault proxy before a real node.

Everything that the simulation does follows from one seed: the same seed, the same run.
"""
