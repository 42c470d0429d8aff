"""CoNRec: a recommender of negatives, which predicts what a user will dislike next."""
