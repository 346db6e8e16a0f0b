"""Telling projects of their events, at their own addresses."""
