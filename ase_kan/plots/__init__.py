"""Figures: each function returns a matplotlib `Figure`, `save` writes it. No pyplot, no global state."""
