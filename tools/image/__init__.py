"""Build the image without Docker, look into it, and run processes of it: `make image`."""
