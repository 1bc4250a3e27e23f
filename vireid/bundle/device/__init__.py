"""What runs on the device: standard library (Python 3.9), NumPy and ONNX Runtime alone.

This folder is copied into a bundle as it is, in the same place beside ``core/processor.py``, ``evaluation/gallery.py``,
``profiling/sampling.py`` and ``profiling/sensors``, which it imports by relative path; of the suite's other modules it
may import none.
"""
