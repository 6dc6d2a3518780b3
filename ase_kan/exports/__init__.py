"""Pair potentials for other programs."""
