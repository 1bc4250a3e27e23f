"""Reports on deployment: what runs where, how fast, how accurately, and which artefact to take."""
