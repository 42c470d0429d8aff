"""Language models: loading them, prompts as tokens, a server, answers on disk.  Nothing here knows of ratings."""
