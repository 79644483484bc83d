"""The Python API; `import dcss` gives it, and imports each part when it is used."""
