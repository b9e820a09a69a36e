"""Errors of the local stack: each names what was wrong and what to do about it."""


class StackError(Exception):
    """A reason why the portal cannot start here, told to the person who typed `make up`."""


class PortTaken(StackError):
    """Another program listens on the port that was asked for."""


class DiskFull(StackError):
    """The disk under the data directory has no room for a database."""


class WrongVersion(StackError):
    """The data directory was written by another major version of PostgreSQL."""
