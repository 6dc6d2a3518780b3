"""Pair potentials: a KAN of a feature of the distance, with core, tail, cutoff, file and table."""
