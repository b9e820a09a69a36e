"""The pages of releases, rollouts and exposure."""
