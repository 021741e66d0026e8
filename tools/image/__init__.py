"""Build the image without Docker, look into it, run processes of it, and push it: `make image`, `make image-push`."""
