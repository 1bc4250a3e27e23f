"""The only CMC, mAP and mINP; protocols as data; re-ranking; feature extraction."""
