"""Builds the container images without a container engine: `make image`, python -m tools.image.

In goes this clone, the pinned packages of `requirements/run.txt` and Debian's of the base (or a tar of another base);
out comes one OCI archive in `dist/` with two images that share layers, and a bill of materials of each: one that runs
everything, and a slim one without the compiler and Arrow, which only tree nodes and checks of import files need. The
same input makes the same digest: entries are sorted and owned by root, those of the project of the last commit's time,
all others of one time for ever, so that a new commit is one new layer of some megabytes.

What takes long is kept in `~/.cache/ha-fasttree/image`, each under a key of what it is made of: the base, the
packages, and the compiled kernels, which are made by the image's own Python in the image's own root.
"""
