"""What a fit learns from: curves of pair energies, structures with labels, and the files that hold them."""
