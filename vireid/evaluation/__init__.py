"""The only CMC, mAP and mINP; protocols as data; re-ranking; feature extraction."""

# Part of an evaluation's identity, as a component's version is of a fit's: raised when a change alters metrics.
VERSION = "1"
