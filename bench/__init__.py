"""Measurements. Each starts what it needs on loopback, and ends it."""
