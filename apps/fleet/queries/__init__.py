"""What the fleet's pages read, each page's questions in a room of its own."""
