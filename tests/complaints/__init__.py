"""The register of complaints."""
