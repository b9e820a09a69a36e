"""What is really served, whether it is good, and its renewal."""
