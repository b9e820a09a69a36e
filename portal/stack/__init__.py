"""What installs, starts, supervises and stops the portal on one machine. Nothing of the domain lives here."""
