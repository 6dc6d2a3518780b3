"""What KANs may be made of: names and largest sizes, for those who check before anything is built."""

#: Base functions of an edge, in pykan's words.
BASES = ("silu", "identity", "zero")
#: Largest degree, grid, nodes of a layer and layers: far beyond what a curve needs, and still a second's work.
MOST_DEGREE, MOST_CELLS, MOST_NODES, MOST_LAYERS = 15, 10_000, 1000, 16
