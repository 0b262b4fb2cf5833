import resource
import subprocess
import sys

PROGRAM = """
import resource, torch
from pipeline.inference.memory import keep_freed_memory
{call}
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):  # the heap grows a few times first: small blocks come between
    torch.ones(2**24)
before = faults()
for _ in range(20):
    torch.ones(2**24)  # 64 MiB, freed at once
print(faults() - before)
"""


def faults(call: str) -> int:
    program = PROGRAM.format(call=call)
    run = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    return int(run.stdout)


def test_freed_memory_is_used_again():
    pages = 20 * 2**26 // resource.getpagesize()
    assert faults("") > pages / 2
    assert faults("assert keep_freed_memory()") < pages / 10
