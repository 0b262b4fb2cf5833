"""Python imports this first where this folder is on its PYTHONPATH: in a job and in every process of its Ray."""

from tests.hooks import deadly_documents, named_steps, slow_units

deadly_documents.install()
named_steps.install()
slow_units.install()
