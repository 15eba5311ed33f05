"""Backups in a folder: snapshots of the database, and each stored file once, by its name.

loupe-backup.json          marks the folder, so that nothing else is written into or pruned
snapshots/<time>/          database, settings without secrets, manifest: written last, then renamed
files/                     files of images as in the storage; files.sha256 names their hashes
models/                    models of classifiers; models.sha256
purges/                    lists of removed images, of all times
"""

from __future__ import annotations
