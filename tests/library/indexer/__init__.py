"""A world for the indexer: real blocks, recorded once, told again by nodes that misbehave."""
