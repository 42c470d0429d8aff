"""The systems that ReFINe++ is compared with, one file each."""
