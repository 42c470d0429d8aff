"""The trained stages: their tasks, rewards and loop, and the folders that they leave."""
