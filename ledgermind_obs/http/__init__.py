"""HTTP: where it goes, and the client that talks."""
