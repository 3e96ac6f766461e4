"""What pip installs beside the code itself: pyproject.toml puts each module of this folder into site-packages."""
