"""Effects of a study's toggles: which a design can identify, their estimates, and sentences about them."""
