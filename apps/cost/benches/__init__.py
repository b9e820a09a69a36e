"""Figures that the money's road promises."""
