import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.ray
def test_the_quick_start_shows_a_summary_ten_predictions_and_the_accuracy(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-m", "jobs.quickstart"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Published out/sample" in result.stderr
    assert "500: 500 predictions, 0 errors" in result.stderr
    predictions = re.findall(r"^ .+ ([a-z]+) +\d\.\d{3} +([a-z]+) +[\d,]+ *$", result.stdout, re.M)
    assert len(predictions) == 10
    accuracy = re.search(r"^ test +100 +\d+ +(\d\.\d{3})", result.stdout, re.M)
    assert accuracy, result.stdout
    assert float(accuracy[1]) >= 0.95
