"""`bash deploy/gpu.sh`: all that only a GPU can show, in steps of minutes, into one folder. See docs/gpu.md.

__main__       the command: runs the steps           steps       which there are, and how long each may take
one_step       one of them, in a process of its own  scope       how much is measured
result_page    what came of them, as files           issue_bars  what the figures should reach
step_process   that process, from outside            models      who is measured
gpu_idle       how long a device waits               feeder      a process that reads and packs
device_memory  how much is taken, how little is left

kernel_tests · parity · speed_by_length · share_of_floor · job_feeding · training_step · pack_budgets · little_memory ·
eight_bits: a step each. A step is a function that yields rows, so that what was measured stays when it is cut off.

It needs torch, triton, transformers, safetensors, sentencepiece, pyarrow and pytest: neither Ray nor pydantic. Without
a GPU the kernels run in Triton's interpreter, at sizes of seconds: a test that every line runs.
"""

ResultRow = tuple[str, dict[str, float]]  # its name, and figures by theirs
