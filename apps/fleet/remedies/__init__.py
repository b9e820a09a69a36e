"""What mends more than a restart does: other workers, another place, room on the disk, a command of the release."""
