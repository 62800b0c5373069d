"""What a call costs: measured against a minimal server and raw boto3 in the same run, as ratios."""
