"""Ratings as events in time, and items as semantic IDs."""
