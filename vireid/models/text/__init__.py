"""CLIP text encoders behind one interface: captions in, one feature each out."""
