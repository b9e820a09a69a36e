"""Instances as real processes on this machine."""
