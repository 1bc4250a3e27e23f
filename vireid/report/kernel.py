"""The process that executes a page's notebook: an IPython kernel whose collector of cycles comes seldom.

It lives for seconds, and most of what it makes (modules, records, figures) stays: at Python's usual pace a fifth of its
time went into looking through all of that again and again.
"""

import gc

from ipykernel import kernelapp

ALLOCATIONS = 50_000  # more objects made than freed, between two collections of the young

if __name__ == "__main__":
    gc.set_threshold(ALLOCATIONS)
    kernelapp.launch_new_instance()
