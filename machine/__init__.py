"""The machine: the device and its memory, several processes of one run, the shell, the network."""
