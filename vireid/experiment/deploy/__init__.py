"""A run on devices: exported, quantised and bundled files, and the accuracy of those very files."""
