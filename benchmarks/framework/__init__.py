"""What every benchmark uses: samples and their spread, rounds in turn, processes, cleaning up, the regression guard."""
