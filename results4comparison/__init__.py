"""Published figures and kept runs, and the tables and pictures made of them."""
