"""Collecting what lies on indices."""
