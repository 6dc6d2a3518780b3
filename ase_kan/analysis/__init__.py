"""What can be said of a potential besides its energies."""
