"""Objects by URI, on local disk or in any store that fsspec knows. The only package that imports fsspec.

objects    Storage: all that the rest of Rookery asks of a store
├── listings, patterns      what a URI names, and what lies there
├── local                   files of this machine
├── remote                  objects of a store
├── s3                      s3fs with an end to every request
├── hub, checkpoint_copies  checkpoints of other places, on this machine's disk
├── retries                 waiting for a store that does not answer
└── store_errors            what stores raise, as errors that say what to do
"""
