"""What of the hidden states a head gets, one row for each window or token: a file for each kind, which kinds.py names.

All in float32, whatever the encoder's dtype. Padding rows never enter.
"""
