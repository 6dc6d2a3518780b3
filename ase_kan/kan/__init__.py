"""Kolmogorov-Arnold networks: splines, edges, layers. Nothing here knows of atoms or distances."""
