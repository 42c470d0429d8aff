"""Refinement: a language model sorts each user's 2s and 3s into liked and confirmed negatives."""
