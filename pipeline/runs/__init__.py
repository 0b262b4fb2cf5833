"""What a run is and was: progress, costs and budget while it lives; its summary, for whoever asks afterwards."""
