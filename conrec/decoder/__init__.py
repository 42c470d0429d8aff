"""The language model that reads events and writes semantic IDs."""
