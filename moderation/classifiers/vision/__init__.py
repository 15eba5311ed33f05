"""Image-text models that the house installs: files, towers, prompts, encoder and classifier."""
