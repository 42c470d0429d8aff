"""Hard negatives for HNLMRec: a vector for each train positive, made by a language model."""
