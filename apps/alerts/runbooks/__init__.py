"""Named lists of steps, as readable definitions: read, kept in versions, run as operations of the engine."""
