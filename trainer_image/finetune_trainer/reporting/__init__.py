"""What a run tells when it is over: Report, full report, page, card and pictures."""
