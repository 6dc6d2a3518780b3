"""Sums of a pair potential over the atoms of a structure: by autograd, by the compiled kernel, or in batches."""
