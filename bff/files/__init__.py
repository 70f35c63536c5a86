"""Files: uploads, signed links and downloads."""
