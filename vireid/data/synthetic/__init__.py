"""The procedural renderer: people, cameras and the three dataset layouts."""
